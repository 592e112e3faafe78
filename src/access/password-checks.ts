/**
 * Checks of passwords, few at a time: they take the thread pool, which the disk needs too, and
 * memory. So many wait as may, in order; the next is told that we are busy. One whose client is
 * gone when its turn comes is not made.
 *
 * A user that is not there costs what a wrong password costs: the check is made against a user that
 * is there, chosen by the name, and its outcome thrown away. A password that was right is known
 * again by a keyed hash, so that clients that all come back at once need not be checked anew; a
 * wrong one is checked each time.
 */

import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { Gate, type GateLimits } from './gate.ts';
import { PASSWORD_BYTES_MAX, type Verifier, isRight } from './verifier.ts';

export interface PasswordCheckLimits extends GateLimits {
  /** Passwords that are known again. */
  readonly maxRemembered: number;
}

export interface PasswordClaim {
  readonly user: string;
  readonly password: Uint8Array;
  readonly isGone: () => boolean;
}

export class PasswordChecks {
  readonly #limits: PasswordCheckLimits;
  /** Of this process: outside of it the hashes mean nothing. */
  readonly #secret = randomBytes(32);
  /** By user: of the verifier and the password. */
  readonly #remembered = new Map<string, Buffer>();
  readonly #gate: Gate;

  constructor(limits: PasswordCheckLimits) {
    this.#limits = limits;
    this.#gate = new Gate(limits);
  }

  get waiting(): number {
    return this.#gate.waiting;
  }

  /** `verifier` undefined: no such user, or one without a password; `others`: who is there. */
  async check(
    claim: PasswordClaim,
    verifier: Verifier | undefined,
    others: readonly Verifier[],
  ): Promise<'right' | 'wrong' | 'busy'> {
    const { user, password, isGone } = claim;
    if (password.length > PASSWORD_BYTES_MAX) return 'wrong';
    if (verifier !== undefined && this.#isKnown(user, verifier, password)) return 'right';
    const against = verifier ?? this.#decoy(user, others);
    if (against === undefined) return 'wrong';
    if (!(await this.#gate.enter())) return 'busy';
    try {
      if (isGone()) return 'busy';
      const isSame = await isRight(against, password);
      if (!isSame || verifier === undefined) return 'wrong';
    } catch {
      // No memory for it now.
      return 'busy';
    } finally {
      this.#gate.leave();
    }
    this.#remember(user, verifier, password);
    return 'right';
  }

  #isKnown(user: string, verifier: Verifier, password: Uint8Array): boolean {
    const known = this.#remembered.get(user);
    return known !== undefined && timingSafeEqual(known, this.#hash(verifier.word, password));
  }

  #remember(user: string, verifier: Verifier, password: Uint8Array): void {
    const { maxRemembered } = this.#limits;
    if (maxRemembered === 0) return;
    this.#remembered.delete(user);
    if (this.#remembered.size >= maxRemembered) {
      const [oldest = ''] = this.#remembered.keys();
      this.#remembered.delete(oldest);
    }
    this.#remembered.set(user, this.#hash(verifier.word, password));
  }

  #hash(word: string, password: Uint8Array): Buffer {
    return createHmac('sha256', this.#secret).update(`${word}\0`).update(password).digest();
  }

  /** The same one each time for a name, and nobody outside can tell which. */
  #decoy(user: string, others: readonly Verifier[]): Verifier | undefined {
    const hash = createHmac('sha256', this.#secret).update(user).digest();
    return others[hash.readUInt32LE(0) % others.length];
  }
}
