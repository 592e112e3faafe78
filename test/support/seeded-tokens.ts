/**
 * What the product draws from `node:crypto` for names and tokens, from a seed: their bytes go into
 * logs, and how long those are decides what happens when. Whoever uses it puts it in the place of
 * that module.
 */

import { Random } from '../../raft/simulation/random.ts';

let random = new Random(0);

/** From now on. */
export function drawTokensFrom(stream: Random): void {
  random = stream;
}

export const seededTokens = {
  randomBytes: (size: number): Buffer => Buffer.from(random.bytes(size)),
  randomInt: (limit: number): number => random.below(limit),
  randomUUID: (): string => {
    const hex = Buffer.from(random.bytes(16)).toString('hex');
    return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
  },
} as const;
