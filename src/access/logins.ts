/**
 * Who may come in, as another service says, and what it said lately. Kept is a keyed hash of the
 * question, never a password.
 */

import { createHmac, randomBytes } from 'node:crypto';
import { isUtf8 } from 'node:buffer';

import {
  Callout,
  type CalloutAnswer,
  type CalloutSecrets,
  type CalloutSettings,
} from './callout.ts';
import { Remembered, type RememberedLimits } from './remembered.ts';

export interface LoginSettings extends CalloutSettings, RememberedLimits {}

export interface LoginQuestion {
  readonly user: string;
  readonly password: Uint8Array;
  readonly clientId: string;
  readonly isGone: () => boolean;
}

/** The largest that is asked about, as of passwords in the users file. */
const PASSWORD_BYTES_MAX = 1024;
const USER_LENGTH_MAX = 256;

export class Logins {
  readonly callout: Callout;
  /** Answers from memory. */
  remembered = 0;
  readonly #secret = randomBytes(32);
  readonly #known: Remembered;

  /** `now`: milliseconds of a clock that never goes back. */
  constructor(settings: LoginSettings, now: () => number) {
    this.#known = new Remembered(settings, now);
    this.callout = new Callout(settings, now);
  }

  /** Other secrets or users hold: what was said is asked again. */
  forget(): void {
    this.#known.clear();
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
    const known = this.#known.find(key);
    if (known !== undefined) {
      this.remembered++;
      return known.answer;
    }
    const { age } = this.#known;
    const answer = await this.callout.ask(question, secrets, isGone);
    if (answer !== 'failed') this.#known.keep(key, answer, age);
    return answer;
  }
}
