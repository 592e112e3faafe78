/**
 * What SCRAM shows of users who are not there, or have no keys of it: a salt and iterations as
 * others have them, the same ones each time. Without that, one message tells who is a user.
 *
 * They come from a key that is in the users file (`%decoys`), so they are the same after a restart
 * and on each node that has the file. Which of the numbers of the file a name gets changes only for
 * few names when a user comes or goes.
 */

import { createHmac } from 'node:crypto';

import { SCRAM_KEY_BYTES, type ScramKeys } from './scram-keys.ts';

/** What the server tells whoever says a name, and how many users have it so. */
export interface ScramShare {
  readonly iterations: number;
  readonly saltBytes: number;
  readonly users: number;
}

export class ScramDecoys {
  readonly #key: Buffer;
  readonly #shares: readonly ScramShare[];
  readonly #users: number;

  /** `shares`: at least one, as `ScramShares` gives them. */
  constructor(key: Buffer, shares: readonly ScramShare[]) {
    this.#key = key;
    this.#shares = shares;
    this.#users = shares.reduce((sum, { users }) => sum + users, 0);
  }

  of(name: string): ScramKeys {
    const { iterations, saltBytes } = this.#shareOf(this.#hash('cost', name));
    const keys = this.#hash('keys', name);
    return {
      word: '',
      iterations,
      salt: this.#hash('salt', name).subarray(0, saltBytes),
      storedKey: keys.subarray(0, SCRAM_KEY_BYTES),
      serverKey: keys.subarray(SCRAM_KEY_BYTES),
    };
  }

  #shareOf(hash: Buffer): ScramShare {
    let place = (hash.readUInt32LE(0) / 2 ** 32) * this.#users;
    for (const share of this.#shares) {
      if (place < share.users) return share;
      place -= share.users;
    }
    return this.#shares.at(-1) as ScramShare;
  }

  /** 64 bytes. */
  #hash(what: string, name: string): Buffer {
    return createHmac('sha512', this.#key).update(`${what}\0${name}`).digest();
  }
}

/** Counts the users of a file by what the server tells of them. */
export class ScramShares {
  readonly #counted = new Map<
    string,
    { -readonly [field in keyof ScramShare]: ScramShare[field] }
  >();

  count({ iterations, salt }: ScramKeys): void {
    const name = `${iterations}:${salt.length}`;
    const share = this.#counted.get(name);
    if (share !== undefined) share.users++;
    else this.#counted.set(name, { iterations, saltBytes: salt.length, users: 1 });
  }

  /** The dearest last: in an order that users who come and go do not change. */
  all(): readonly ScramShare[] {
    return [...this.#counted.values()].sort(
      (a, b) => a.iterations - b.iterations || a.saltBytes - b.saltBytes,
    );
  }
}
