/**
 * What one client may do, for as long as its connection lives: always by the rules that hold now.
 *
 * Its own rules are picked out when it first asks, and anew when there are others. What it may
 * publish is asked for each message, so some verdicts are kept: the last one, and a few by topic.
 *
 * Where a service is asked about what no rule decides, a packet is prepared for: `forget`, then
 * `knows` for each thing that it is about, and `ask` for what is not known; then `may` has all.
 */

import type { Granted, Policy } from './policy.ts';
import { type Action, type OwnRule, decidingRule } from './rules.ts';
import type { Token } from './tokens.ts';
import type { AskedAction, Verdicts } from './verdicts.ts';

/** Topics whose verdict is kept, for a connection. */
const KEPT_MAX = 64;
/** A longer topic is not kept: a connection pins little. */
const KEPT_TOPIC_MAX = 128;

/** What all rights come from. */
export interface RightsSource {
  readonly policy: Policy;
  /** Milliseconds of the wall clock. */
  wallNow(): number;
  denied(rights: Rights, action: Action, topic: string): void;
  /** Undefined: rules alone decide. */
  readonly verdicts: Verdicts | undefined;
  /** Milliseconds of the clock that `verdicts` goes by. */
  now(): number;
}

export interface Asked {
  readonly action: AskedAction;
  readonly topic: string;
}

export interface Admitted {
  readonly user: string | undefined;
  readonly clientId: string;
  /** By what it came in; undefined: by a certificate, or by nothing. */
  readonly proof: Proof | undefined;
}

export type Proof =
  | {
      readonly kind: 'password';
      /** As in the users file. */
      readonly word: string;
    }
  | {
      readonly kind: 'scram';
      /** The same. */
      readonly word: string;
    }
  | { readonly kind: 'token'; readonly token: Token }
  | { readonly kind: 'service'; readonly granted: Granted };

export class Rights {
  readonly user: string | undefined;
  readonly clientId: string;
  readonly #source: RightsSource;
  readonly #proof: Proof | undefined;
  #policy: Policy | undefined;
  #own: readonly OwnRule[] = [];
  #lastTopic = '';
  #lastVerdict = false;
  /** Of a verdict of the service; of a rule for ever. */
  #lastUntilMs = 0;
  #verdicts: Map<string, boolean> | undefined;
  /** What the service says of the packet in hand. */
  readonly #answers = new Map<string, boolean>();
  #isUnanswered = false;

  constructor(source: RightsSource, { user, clientId, proof }: Admitted) {
    this.user = user;
    this.clientId = clientId;
    this.#source = source;
    this.#proof = proof;
  }

  /** What its token or a service says beside the files. */
  get granted(): Granted | undefined {
    switch (this.#proof?.kind) {
      case 'token':
        return this.#proof.token;
      case 'service':
        return this.#proof.granted;
      default:
        return undefined;
    }
  }

  /**
   * It would not be let in as it was: its user is gone or has another password, or the key of its
   * token is gone.
   */
  get isRevoked(): boolean {
    const { policy } = this.#source;
    const proof = this.#proof;
    if (proof === undefined || this.user === undefined) return false;
    if (proof.kind === 'token') return policy.tokenKeys?.has(proof.token.keyId) !== true;
    // The users file comes before the service.
    if (proof.kind === 'service') return policy.users.has(this.user);
    const user = policy.users.get(this.user);
    return user?.[proof.kind]?.word !== proof.word;
  }

  /** The time of its token is over. */
  get hasEnded(): boolean {
    const proof = this.#proof;
    return proof?.kind === 'token' && this.#source.wallNow() >= proof.token.endsAtMs;
  }

  /** A denial is counted and told. `topic` of `consume` and `declare` is `$queue/<name>`. */
  may(action: Action, topic: string): boolean {
    this.#isUnanswered = false;
    const allowed = action === 'publish' ? this.#mayPublish(topic) : this.#judge(action, topic);
    if (!allowed) this.#source.denied(this, action, topic);
    return allowed;
  }

  /** The last `may` denied what the service did not answer about: to try again may help. */
  get isUnanswered(): boolean {
    return this.#isUnanswered;
  }

  /**
   * Whether what was allowed may stay, without a word. What no rule decides does where a service
   * decides: it is not asked again about what it granted.
   */
  allows(action: Action, topic: string): boolean {
    this.#renew();
    const isAsked = action !== 'declare' && this.#source.verdicts !== undefined;
    return decidingRule(this.#own, action, topic)?.allow ?? isAsked;
  }

  /** A service is asked about what no rule decides. */
  get asks(): boolean {
    return this.#source.verdicts !== undefined;
  }

  /** Answers are for one packet. */
  forget(): void {
    if (this.#answers.size > 0) this.#answers.clear();
  }

  /** `may` knows it until the next `forget`, and nobody has to be asked. */
  knows(action: AskedAction, topic: string): boolean {
    const { verdicts } = this.#source;
    this.#renew();
    if (verdicts === undefined) return true;
    const isPublish = action === 'publish';
    if (isPublish && topic === this.#lastTopic) {
      if (this.#source.now() < this.#lastUntilMs) return true;
      this.#lastTopic = '';
    }
    if (decidingRule(this.#own, action, topic) !== undefined) return true;
    const { user, clientId } = this;
    const known = verdicts.known({ user, clientId, action, topic });
    if (known === undefined) return false;
    verdicts.remembered++;
    const isAllowed = known.answer.result === 'allow';
    if (isPublish && topic.length <= KEPT_TOPIC_MAX)
      this.#keepLast(topic, isAllowed, known.untilMs);
    else this.#answers.set(answerKey(action, topic), isAllowed);
    return true;
  }

  /**
   * Asks the service, one question after the other; behind one that it does not answer, none. Never
   * rejects.
   */
  async ask(questions: readonly Asked[], isGone: () => boolean): Promise<void> {
    const { user, clientId } = this;
    for (const { action, topic } of questions) {
      const { verdicts, policy } = this.#source;
      if (verdicts === undefined || policy.calloutSecrets === undefined) return;
      const question = { user, clientId, action, topic };
      const answer = await verdicts.ask(question, policy.calloutSecrets, isGone);
      if (answer === 'failed') return;
      this.#answers.set(answerKey(action, topic), answer);
    }
  }

  #judge(action: Action, topic: string): boolean {
    this.#renew();
    const ruled = decidingRule(this.#own, action, topic)?.allow;
    if (ruled !== undefined) return ruled;
    if (this.#source.verdicts === undefined) return false;
    const answer = this.#answers.get(answerKey(action, topic));
    this.#isUnanswered = answer === undefined;
    return answer === true;
  }

  #mayPublish(topic: string): boolean {
    this.#renew();
    if (topic === this.#lastTopic) return this.#lastVerdict;
    const kept = this.#verdicts?.get(topic);
    const ruled = kept ?? decidingRule(this.#own, 'publish', topic)?.allow;
    const verdict = ruled ?? this.#judge('publish', topic);
    // What the service said is kept by `knows`, which looks at the time.
    const isRuled = ruled !== undefined || this.#source.verdicts === undefined;
    if (topic.length > KEPT_TOPIC_MAX || !isRuled) return verdict;
    this.#keepLast(topic, verdict, Number.POSITIVE_INFINITY);
    if (kept === undefined) {
      this.#verdicts ??= new Map();
      if (this.#verdicts.size >= KEPT_MAX) this.#verdicts.clear();
      this.#verdicts.set(topic, verdict);
    }
    return verdict;
  }

  #keepLast(topic: string, verdict: boolean, untilMs: number): void {
    this.#lastTopic = topic;
    this.#lastVerdict = verdict;
    this.#lastUntilMs = untilMs;
  }

  #renew(): void {
    const { policy } = this.#source;
    if (policy === this.#policy) return;
    this.#policy = policy;
    this.#own = policy.rulesOf(this);
    this.#lastTopic = '';
    this.#lastVerdict = false;
    this.#verdicts = undefined;
  }
}

function answerKey(action: Action, topic: string): string {
  return `${action} ${topic}`;
}
