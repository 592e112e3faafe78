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
import { type Identity, Policy, type PolicyFiles } from './policy.ts';
import { type Admitted, Rights, type RightsSource } from './rights.ts';
import { type Action, type OwnRule, decidingRule } from './rules.ts';

export interface AccessSettings extends PasswordCheckLimits {
  readonly files: PolicyFiles;
  /** Whether a client without a user name and a certificate comes in, for rules to judge. */
  readonly anonymous: boolean;
  /** Whether the name of a certificate is a user, who needs no password. */
  readonly certificateUsers: boolean;
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

/** Clients whose rules are kept for questions about what they published. */
const PUBLISHERS_KEPT_MAX = 1000;

export class Access implements RightsSource {
  readonly #settings: AccessSettings;
  readonly #log: Logger;
  readonly #checks: PasswordChecks;
  readonly #denials: Denials;
  readonly #listeners: (() => void)[] = [];
  /** By user and client id. */
  readonly #publishers = new Map<string, readonly OwnRule[]>();
  #policy: Policy;
  #version = 1;

  private constructor(settings: AccessSettings, log: Logger, policy: Policy) {
    this.#settings = settings;
    this.#log = log;
    this.#policy = policy;
    this.#checks = new PasswordChecks(settings);
    this.#denials = new Denials(log, () => performance.now());
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

  /** Password checks that wait for their turn. */
  get waiting(): number {
    return this.#checks.waiting;
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
    const { users, rules } = policy;
    this.#log.info({ users: users.size, rules: rules.length }, 'users and rules were read again');
    for (const listener of this.#listeners) listener();
  }

  /** At once, unless a password must be checked. Never rejects. */
  admit(claim: Claim): Admission | Promise<Admission> {
    const { user, certificate, clientId } = claim;
    const { certificateUsers, anonymous } = this.#settings;
    if (certificate !== undefined && certificateUsers) {
      // It speaks for one: another name beside it is nobody's.
      if (user !== undefined && user !== certificate) return this.#refuse('bad-credentials');
      return this.#admitted({ user: certificate, clientId, password: undefined });
    }
    if (user !== undefined) return this.#checkPassword(claim, user);
    if (!anonymous) return this.#refuse('not-authorized');
    return this.#admitted({ user: undefined, clientId, password: undefined });
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
    return this.#admitted({ user, clientId, password: word });
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

  /** Whether whoever published it may do so now: a retained message, a will (S6). */
  mayPublish(origin: Identity, topic: string): boolean {
    const allowed = this.#isKnown(origin) && this.#decides(origin, 'publish', topic);
    if (!allowed) this.counters.withheld++;
    return allowed;
  }

  /** Whether a queue that is not there is made for him. */
  mayDeclare(origin: Identity, queueName: string): boolean {
    const topic = `$queue/${queueName}`;
    const { user, clientId } = origin;
    const allowed = this.#isKnown(origin) && this.#decides(origin, 'declare', topic);
    if (!allowed) this.#denials.denied({ action: 'declare', topic, user, clientId });
    return allowed;
  }

  #isKnown({ user }: Identity): boolean {
    const { anonymous, certificateUsers } = this.#settings;
    if (user === undefined) return anonymous;
    return certificateUsers || this.#policy.users.has(user);
  }

  #decides({ user, clientId }: Identity, action: Action, topic: string): boolean {
    const key = JSON.stringify([user ?? null, clientId]);
    let own = this.#publishers.get(key);
    if (own === undefined) {
      if (this.#publishers.size >= PUBLISHERS_KEPT_MAX) this.#publishers.clear();
      own = this.#policy.rulesOf({ user, clientId });
      this.#publishers.set(key, own);
    }
    return decidingRule(own, action, topic)?.allow === true;
  }
}
