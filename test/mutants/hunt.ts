/** Looks for one mutant: by the tests that it names, or else by the simulator. */

import type { Mutant } from './mutant.ts';
import type { Hunt, Score } from './score.ts';
import { huntBySeeds } from './seed-hunt.ts';
import { huntByTests } from './test-hunt.ts';

export function hunt(mutant: Mutant, options: Hunt): Promise<Score> {
  return mutant.by.length > 0 ? huntByTests(mutant, options.root) : huntBySeeds(mutant, options);
}
