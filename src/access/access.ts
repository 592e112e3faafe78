/**
 * Who is let in, and what he may do: the files, read at the start and again when asked, and the
 * answers to protocols and broker. Knows no protocol.
 *
 * Whatever is wrong denies: a file that cannot be read at the start is an error, and later leaves
 * the policy in force; too many checks at a time are refused; a user that is not known is nobody.
 * Passwords are looked at and never kept, told or logged.
 */

import type { Logger } from '../telemetry/logger.ts';
import { type AccessCounters, Denials } from './denials.ts';
import { AccessFileError } from './lines.ts';
import { type PasswordCheckLimits, PasswordChecks } from './password-checks.ts';
import { type LoginSettings, Logins } from './logins.ts';
import { type Granted, type Identity, Policy, type PolicyFiles } from './policy.ts';
import { type Admitted, Rights, type RightsSource } from './rights.ts';
import { type Action, type OwnRule, decidingRule } from './rules.ts';
import { prepareQuery } from './saslprep.ts';
import type { ScramStep } from './scram-exchange.ts';
import { SCRAM_METHOD, ScramLogins, type ScramSettings } from './scram-logins.ts';
import { type TokenRefusal, type TokenSettings, Tokens, isToken } from './tokens.ts';
import { type VerdictSettings, Verdicts } from './verdicts.ts';

export interface AccessSettings extends PasswordCheckLimits {
  readonly files: PolicyFiles;
  /** Whether a client without a user name and a certificate comes in, for rules to judge. */
  readonly anonymous: boolean;
  /** Whether the name of a certificate is a user, who needs no password. */
  readonly certificateUsers: boolean;
  /** Undefined: there are none; else `files` names their keys. */
  readonly tokens?: TokenSettings | undefined;
  /** Undefined: there is no exchange of SCRAM. */
  readonly scram?: ScramSettings | undefined;
  /** Undefined: no service is asked; else `files` names its secrets. */
  readonly logins?: LoginSettings | undefined;
  /** Undefined: rules alone decide; else as `logins`. */
  readonly verdicts?: VerdictSettings | undefined;
  /** Milliseconds of a clock that never goes back. */
  readonly now?: () => number;
  /** Milliseconds of the wall clock, by which tokens end. */
  readonly wallNow?: () => number;
}

/** Who a client says it is. */
export interface Claim {
  readonly user: string | undefined;
  readonly password: Uint8Array | undefined;
  /** The name of a certificate that was found good. */
  readonly certificate: string | undefined;
  readonly clientId: string;
  /** Nobody waits for the answer any more. */
  readonly isGone: () => boolean;
}

export type Admission =
  | { readonly rights: Rights }
  | { readonly refused: 'bad-credentials' | 'not-authorized' | 'busy' };

/** Who a client says it is before an exchange begins. */
export type ExchangeClaim = Pick<Claim, 'user' | 'certificate' | 'clientId'>;

/** What one message of an exchange came to: a question to the client, or the end. */
export type ExchangeStep =
  | { readonly ask: Uint8Array }
  | { readonly rights: Rights; readonly data: Uint8Array }
  | { readonly refused: 'bad-credentials' | 'malformed' | 'channel-binding' };

/** Clients whose rules are kept for questions about what they published. */
const PUBLISHERS_KEPT_MAX = 1000;
/** Clients with a token that gave groups or rights, of which that is known when they are gone. */
const GRANTED_KEPT_MAX = 10_000;

export class Access implements RightsSource {
  /** Undefined: rules alone decide. */
  readonly verdicts: Verdicts | undefined;
  readonly now: () => number;
  readonly #settings: AccessSettings;
  readonly #log: Logger;
  readonly #checks: PasswordChecks;
  readonly #tokens: Tokens | undefined;
  readonly #logins: Logins | undefined;
  readonly #scram: ScramLogins | undefined;
  readonly #denials: Denials;
  readonly #listeners: (() => void)[] = [];
  /** By user and client id. */
  readonly #publishers = new Map<string, readonly OwnRule[]>();
  /** What the token of each said, by user and client id; the last ones to come in. */
  readonly #granted = new Map<string, Granted>();
  #policy: Policy;
  #version = 1;

  private constructor(settings: AccessSettings, log: Logger, policy: Policy) {
    this.#settings = settings;
    this.#log = log;
    this.#policy = policy;
    this.#checks = new PasswordChecks(settings);
    this.#tokens = settings.tokens && new Tokens(settings.tokens, settings);
    const { now = () => performance.now() } = settings;
    this.now = now;
    this.#logins = settings.logins && new Logins(settings.logins, now);
    this.verdicts = settings.verdicts && new Verdicts(settings.verdicts, now);
    this.#scram = settings.scram && new ScramLogins(settings.scram);
    this.#denials = new Denials(log, now);
    this.#tellDecoys();
  }

  /** Rejects with an `AccessFileError`. */
  static async read(settings: AccessSettings, log: Logger): Promise<Access> {
    return new Access(settings, log, await Policy.read(settings.files));
  }

  get policy(): Policy {
    return this.#policy;
  }

  /** Goes up with each policy. */
  get version(): number {
    return this.#version;
  }

  get counters(): AccessCounters {
    return this.#denials.counters;
  }

  /** Checks of passwords and tokens that wait for their turn. */
  get waiting(): number {
    return this.#checks.waiting + (this.#tokens?.waiting ?? 0);
  }

  /** Undefined: no service is asked. */
  get logins(): Logins | undefined {
    return this.#logins;
  }

  /** Tokens that were refused, by why; undefined: there are none. */
  get refusedTokens(): Readonly<Record<TokenRefusal, number>> | undefined {
    return this.#tokens?.refused;
  }

  wallNow(): number {
    return this.#settings.wallNow?.() ?? Date.now();
  }

  /** Hears of each new policy. */
  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  /** Reads the files again; undefined, and told in the log: they do not do. */
  async readAgain(): Promise<Policy | undefined> {
    try {
      return await Policy.read(this.#settings.files);
    } catch (error) {
      if (!(error instanceof AccessFileError)) throw error;
      const text = `users and rules were not taken, the old ones stay: ${error.message}`;
      this.#log.error({ setting: error.key }, text);
      return undefined;
    }
  }

  take(policy: Policy): void {
    this.#policy = policy;
    this.#version++;
    this.#publishers.clear();
    this.#logins?.forget();
    this.verdicts?.forget();
    const { users, rules } = policy;
    this.#log.info({ users: users.size, rules: rules.length }, 'users and rules were read again');
    this.#tellDecoys();
    for (const listener of this.#listeners) listener();
  }

  #tellDecoys(): void {
    if (this.#scram === undefined || this.#policy.decoyKey !== undefined) return;
    const text = 'no line %decoys in the users file: SCRAM shows other salts after a restart';
    this.#log.warn({ setting: 'access.users_file' }, text);
  }

  /**
   * The first source that is about the claim decides alone: a certificate, a token, the users file,
   * a service, no name at all. At once, unless something must be computed or asked. Never rejects.
   */
  admit(claim: Claim): Admission | Promise<Admission> {
    const { user, certificate, clientId } = claim;
    const { certificateUsers, anonymous } = this.#settings;
    if (certificate !== undefined && certificateUsers) {
      // It speaks for one: another name beside it is nobody's.
      if (user !== undefined && user !== certificate) return this.#refuse('bad-credentials');
      return this.#admitted({ user: certificate, clientId, proof: undefined });
    }
    const token = this.#tokens && tokenOf(claim, this.#tokens.settings);
    if (token !== undefined) return this.#checkToken(claim, token);
    if (user !== undefined) {
      const isKnown = this.#logins === undefined || this.#policy.users.has(user);
      return isKnown ? this.#checkPassword(claim, user) : this.#askService(claim, user);
    }
    if (!anonymous) return this.#refuse('not-authorized');
    return this.#admitted({ user: undefined, clientId, proof: undefined });
  }

  async #checkPassword(
    { clientId, password = new Uint8Array(0), isGone }: Claim,
    user: string,
  ): Promise<Admission> {
    const verifier = this.#policy.users.get(user)?.password;
    const claim = { user, password, isGone };
    const answer = await this.#checks.check(claim, verifier, this.#policy.verifiers);
    if (answer === 'busy') return this.#refuse('busy');
    // There may be another policy by now.
    const word = this.#policy.users.get(user)?.password?.word;
    if (answer === 'wrong' || word === undefined || word !== verifier?.word) {
      return this.#refuse('bad-credentials');
    }
    return this.#admitted({ user, clientId, proof: { kind: 'password', word } });
  }

  async #askService(
    { clientId, password = new Uint8Array(0), isGone }: Claim,
    user: string,
  ): Promise<Admission> {
    const { calloutSecrets } = this.#policy;
    if (this.#logins === undefined || calloutSecrets === undefined) return this.#refuse('busy');
    const answer = await this.#logins.ask({ user, password, clientId, isGone }, calloutSecrets);
    if (answer === 'failed') return this.#refuse('busy');
    // The users file may have it by now, and comes first.
    if (answer.result !== 'allow' || this.#policy.users.has(user)) {
      return this.#refuse('bad-credentials');
    }
    const granted = { groups: answer.groups, rules: [] };
    this.#keepGranted({ user, clientId }, granted);
    return this.#admitted({ user, clientId, proof: { kind: 'service', granted } });
  }

  async #checkToken(claim: Claim, text: string): Promise<Admission> {
    const { tokenKeys } = this.#policy;
    if (this.#tokens === undefined || tokenKeys === undefined) return this.#refuse('busy');
    const { clientId, isGone } = claim;
    const token = await this.#tokens.judge(text, tokenKeys, { nowMs: this.wallNow(), isGone });
    if (token === 'busy') return this.#refuse('busy');
    if (token === 'wrong') return this.#refuse('bad-credentials');
    const { from, checkUserName } = this.#tokens.settings;
    const other = from === 'password' && checkUserName ? claim.user : undefined;
    // There may be other keys by now.
    const isKnown = this.#policy.tokenKeys?.has(token.keyId) === true;
    if (!isKnown || (other !== undefined && other !== token.user)) {
      return this.#refuse('bad-credentials');
    }
    this.#keepGranted({ user: token.user, clientId }, token);
    return this.#admitted({ user: token.user, clientId, proof: { kind: 'token', token } });
  }

  /**
   * The users file alone decides, at once. A user name or a certificate that comes beside the
   * exchange has to be of the same user. Undefined: there is no such method.
   */
  exchange(
    method: string,
    claim: ExchangeClaim,
  ): { readonly next: (data: Uint8Array) => ExchangeStep } | undefined {
    if (this.#scram === undefined || method !== SCRAM_METHOD) return undefined;
    const exchange = this.#scram.begin(this.#policy);
    return { next: (data) => this.#exchanged(claim, exchange.next(data)) };
  }

  #exchanged({ user: said, certificate, clientId }: ExchangeClaim, step: ScramStep): ExchangeStep {
    if (step.kind === 'ask') return { ask: step.data };
    if (step.kind === 'failed') {
      this.counters.badCredentials++;
      return { refused: step.why === 'wrong' ? 'bad-credentials' : step.why };
    }
    const { user, keys, data } = step;
    const shown = this.#settings.certificateUsers ? certificate : undefined;
    const isSame = said === undefined || prepareQuery(said) === user;
    const { word } = keys;
    // There may be another policy by now.
    const isThere = this.#policy.users.get(user)?.scram?.word === word;
    if (!isSame || !isThere || (shown !== undefined && shown !== user)) {
      this.counters.badCredentials++;
      return { refused: 'bad-credentials' };
    }
    return { rights: new Rights(this, { user, clientId, proof: { kind: 'scram', word } }), data };
  }

  /** For questions about what it published, when it may be gone. */
  #keepGranted(identity: Identity, granted: Granted): void {
    const key = identityKey(identity);
    this.#publishers.delete(key);
    this.#granted.delete(key);
    if (this.#granted.size >= GRANTED_KEPT_MAX) {
      const [oldest = ''] = this.#granted.keys();
      this.#granted.delete(oldest);
    }
    const { groups, rules } = granted;
    if (groups.size > 0 || rules.length > 0) this.#granted.set(key, { groups, rules });
  }

  #admitted(admitted: Admitted): Admission {
    return { rights: new Rights(this, admitted) };
  }

  #refuse(refused: 'bad-credentials' | 'not-authorized' | 'busy'): Admission {
    const { counters } = this.#denials;
    if (refused === 'bad-credentials') counters.badCredentials++;
    else if (refused === 'not-authorized') counters.notAuthorized++;
    else counters.busy++;
    return { refused };
  }

  denied({ user, clientId }: Rights, action: Action, topic: string): void {
    this.#denials.denied({ action, topic, user, clientId });
  }

  /**
   * Whether whoever published it may do so now: a retained message (S6). What a service allowed
   * then stays, unless a rule denies it.
   */
  mayPublish(origin: Identity, topic: string): boolean {
    const isOpen = this.verdicts !== undefined;
    const allowed = this.#isKnown(origin) && (this.#decides(origin, 'publish', topic) ?? isOpen);
    if (!allowed) this.counters.withheld++;
    return allowed;
  }

  /**
   * Whether what CONNECT allowed, here or on another node, is not allowed now. What a token or the
   * callout granted is known for a time on the node of its client: where it is not known, and where
   * a service decides about topics, only a rule that denies takes it back.
   */
  isTakenBack(origin: Identity, topic: string): boolean {
    const { user } = origin;
    const isOfFile = user === undefined || this.#policy.users.has(user);
    const isUnknown = !isOfFile && this.#hasOtherSources && !this.#granted.has(identityKey(origin));
    const isOpen = isUnknown || this.verdicts !== undefined;
    const allowed = this.#isKnown(origin) && (this.#decides(origin, 'publish', topic) ?? isOpen);
    if (!allowed) this.counters.withheld++;
    return !allowed;
  }

  /** Whether a queue that is not there is made for him. */
  mayDeclare(origin: Identity, queueName: string): boolean {
    const topic = `$queue/${queueName}`;
    const { user, clientId } = origin;
    const allowed = this.#isKnown(origin) && this.#decides(origin, 'declare', topic) === true;
    if (!allowed) this.#denials.denied({ action: 'declare', topic, user, clientId });
    return allowed;
  }

  /** Users and rights come from tokens, or from the callout, too. */
  get #hasOtherSources(): boolean {
    return this.#tokens !== undefined || this.#logins !== undefined;
  }

  #isKnown({ user }: Identity): boolean {
    const { anonymous, certificateUsers } = this.#settings;
    if (user === undefined) return anonymous;
    return certificateUsers || this.#hasOtherSources || this.#policy.users.has(user);
  }

  /** Undefined: no rule does. */
  #decides({ user, clientId }: Identity, action: Action, topic: string): boolean | undefined {
    const key = identityKey({ user, clientId });
    let own = this.#publishers.get(key);
    if (own === undefined) {
      if (this.#publishers.size >= PUBLISHERS_KEPT_MAX) this.#publishers.clear();
      own = this.#policy.rulesOf({ user, clientId, granted: this.#granted.get(key) });
      this.#publishers.set(key, own);
    }
    return decidingRule(own, action, topic)?.allow;
  }
}

function identityKey({ user, clientId }: Identity): string {
  return JSON.stringify([user ?? null, clientId]);
}

/** Undefined: it has none, and is judged by what else it has. */
function tokenOf({ user, password }: Claim, { from }: TokenSettings): string | undefined {
  const text = from === 'user_name' ? user : password && Buffer.from(password).toString('latin1');
  return text !== undefined && isToken(text) ? text : undefined;
}
