/**
 * What one client may do, for as long as its connection lives: always by the rules that hold now.
 *
 * Its own rules are picked out when it first asks, and anew when there are others. What it may
 * publish is asked for each message, so some verdicts are kept: the last one, and a few by topic.
 */

import type { Granted, Policy } from './policy.ts';
import { type Action, type OwnRule, decidingRule } from './rules.ts';
import type { Token } from './tokens.ts';

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
  #verdicts: Map<string, boolean> | undefined;

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
    const allowed = action === 'publish' ? this.#mayPublish(topic) : this.allows(action, topic);
    if (!allowed) this.#source.denied(this, action, topic);
    return allowed;
  }

  /** The same, without a word. */
  allows(action: Action, topic: string): boolean {
    this.#renew();
    return decidingRule(this.#own, action, topic)?.allow === true;
  }

  #mayPublish(topic: string): boolean {
    this.#renew();
    if (topic === this.#lastTopic) return this.#lastVerdict;
    const kept = this.#verdicts?.get(topic);
    const verdict = kept ?? decidingRule(this.#own, 'publish', topic)?.allow === true;
    if (topic.length > KEPT_TOPIC_MAX) return verdict;
    this.#lastTopic = topic;
    this.#lastVerdict = verdict;
    if (kept === undefined) {
      this.#verdicts ??= new Map();
      if (this.#verdicts.size >= KEPT_MAX) this.#verdicts.clear();
      this.#verdicts.set(topic, verdict);
    }
    return verdict;
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
