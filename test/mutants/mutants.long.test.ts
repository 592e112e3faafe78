/**
 * Each mutant is caught; one that survives is a hole in the tests. The seed that caught it before
 * is tried first, and if that one does not, as many as it takes.
 */

import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

import { hunt } from './hunt.ts';
import { readMutants } from './mutant.ts';
import { readProven } from './proven.ts';

const ROOT = join(import.meta.dirname, '../..');
const SEEDS = 400;

const mutants = await readMutants(join(ROOT, 'test/mutants/patches'));
const proven = await readProven(ROOT);

describe.concurrent('the simulator', () => {
  it.each(mutants.map((mutant) => [mutant.name, mutant] as const))(
    'catches %s',
    async (name, mutant) => {
      const options = { root: ROOT, first: 1, seeds: SEEDS, catches: 1 };
      const score = await hunt(mutant, { ...options, proven: proven[name]?.seed });
      expect(score.caught, `${mutant.what} (${score.ran} ${score.unit})`).toBeGreaterThan(0);
    },
  );
});
