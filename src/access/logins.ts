/**
 * Who may come in, as another service says, and what it said lately. Kept is a keyed hash of the
 * question, never a password; what was allowed and what was denied are kept apart, so that guesses
 * do not push out those who were let in.
 */

import { createHmac, randomBytes } from 'node:crypto';
import { isUtf8 } from 'node:buffer';

import {
  Callout,
  type CalloutAnswer,
  type CalloutSecrets,
  type CalloutSettings,
} from './callout.ts';

export interface LoginSettings extends CalloutSettings {
  /** For how long `allow` holds for others that ask the same; 0: not at all. */
  readonly allowedMs: number;
  /** The same of `deny` and `ignore`. */
  readonly deniedMs: number;
  /** Of each of the two. */
  readonly maxKept: number;
}

export interface LoginQuestion {
  readonly user: string;
  readonly password: Uint8Array;
  readonly clientId: string;
  readonly isGone: () => boolean;
}

interface Kept {
  readonly answer: CalloutAnswer;
  readonly untilMs: number;
}

/** The largest that is asked about, as of passwords in the users file. */
const PASSWORD_BYTES_MAX = 1024;
const USER_LENGTH_MAX = 256;

export class Logins {
  readonly callout: Callout;
  /** Answers from memory. */
  remembered = 0;
  readonly #settings: LoginSettings;
  readonly #now: () => number;
  readonly #secret = randomBytes(32);
  readonly #allowed = new Map<string, Kept>();
  readonly #denied = new Map<string, Kept>();

  /** `now`: milliseconds of a clock that never goes back. */
  constructor(settings: LoginSettings, now: () => number) {
    this.#settings = settings;
    this.#now = now;
    this.callout = new Callout(settings, now);
  }

  /** Other secrets or users hold: what was said is asked again. */
  forget(): void {
    this.#allowed.clear();
    this.#denied.clear();
  }

  /** Never rejects. */
  async ask(
    { user, password, clientId, isGone }: LoginQuestion,
    secrets: CalloutSecrets,
  ): Promise<CalloutAnswer | 'failed'> {
    if (password.length > PASSWORD_BYTES_MAX || user.length > USER_LENGTH_MAX) {
      return { result: 'deny' };
    }
    const written = isUtf8(password)
      ? { password: Buffer.from(password).toString() }
      : { password_base64: Buffer.from(password).toString('base64') };
    const question = { version: 1, action: 'login', user, client_id: clientId, ...written };
    const hash = createHmac('sha256', this.#secret).update(JSON.stringify(question));
    const key = hash.digest('base64');
    const known = this.#known(key);
    if (known !== undefined) {
      this.remembered++;
      return known;
    }
    const answer = await this.callout.ask(question, secrets, isGone);
    if (answer !== 'failed') this.#keep(key, answer);
    return answer;
  }

  #known(key: string): CalloutAnswer | undefined {
    for (const kept of [this.#allowed, this.#denied]) {
      const found = kept.get(key);
      if (found === undefined) continue;
      if (this.#now() < found.untilMs) return found.answer;
      kept.delete(key);
    }
    return undefined;
  }

  #keep(key: string, answer: CalloutAnswer): void {
    const { allowedMs, deniedMs, maxKept } = this.#settings;
    const isAllowed = answer.result === 'allow';
    const [kept, ms] = isAllowed ? [this.#allowed, allowedMs] : [this.#denied, deniedMs];
    if (ms === 0 || maxKept === 0) return;
    if (kept.size >= maxKept) {
      const [oldest = ''] = kept.keys();
      kept.delete(oldest);
    }
    kept.set(key, { answer, untilMs: this.#now() + ms });
  }
}
