/** Each mutant is caught by the simulator; one that survives is a hole in the tests. */

import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

import { hunt } from './hunt.ts';
import { readMutants } from './mutant.ts';

const ROOT = join(import.meta.dirname, '../..');
const SEEDS = 400;

const mutants = await readMutants(join(ROOT, 'test/mutants/patches'));

describe('the simulator', () => {
  it.each(mutants.map((mutant) => [mutant.name, mutant] as const))(
    'catches %s',
    async (_name, mutant) => {
      const score = await hunt(mutant, { root: ROOT, first: 1, seeds: SEEDS, catches: 1 });
      expect(score.caught, `${mutant.what} (${score.ran} ${score.unit})`).toBeGreaterThan(0);
    },
  );
});
