/**
 * Exchanges of SCRAM-SHA-256 against the users file: the keys of who is in it, decoys for all
 * others, and the same way to the end for both.
 */

import { randomBytes } from 'node:crypto';

import type { Policy } from './policy.ts';
import { ScramDecoys } from './scram-decoys.ts';
import { ScramExchange } from './scram-exchange.ts';
import { SCRAM_SALT_BYTES } from './scram-keys.ts';
import { DECOY_KEY_BYTES } from './users.ts';

/** As CONNECT names it; that with channel binding ("-PLUS") is another one, and not offered. */
export const SCRAM_METHOD = 'SCRAM-SHA-256';

export interface ScramSettings {
  /** Those that decoys have where nobody in the file has keys. */
  readonly iterations: number;
}

export class ScramLogins {
  readonly #settings: ScramSettings;
  /** In place of that of the file: good for this process and this node only. */
  readonly #ownKey = randomBytes(DECOY_KEY_BYTES);
  #policy: Policy | undefined;
  #decoys: ScramDecoys | undefined;

  constructor(settings: ScramSettings) {
    this.#settings = settings;
  }

  begin(policy: Policy): ScramExchange {
    const decoys = this.#decoysOf(policy);
    return new ScramExchange({
      keysOf: (user) => {
        // Made for everybody: what takes longer would tell.
        const decoy = decoys.of(user);
        return policy.users.get(user)?.scram ?? decoy;
      },
    });
  }

  #decoysOf(policy: Policy): ScramDecoys {
    if (this.#decoys !== undefined && this.#policy === policy) return this.#decoys;
    const { iterations } = this.#settings;
    const shares =
      policy.scramShares.length > 0
        ? policy.scramShares
        : [{ iterations, saltBytes: SCRAM_SALT_BYTES, users: 1 }];
    this.#policy = policy;
    this.#decoys = new ScramDecoys(policy.decoyKey ?? this.#ownKey, shares);
    return this.#decoys;
  }
}
