/**
 * fast-check, with one seed for each property of a run: what a commit was found good by is found
 * again. `PROPERTY_SEED=random npm test` looks at other cases; a failure names its seed, and
 * `PROPERTY_SEED=<seed>` repeats it.
 *
 * Tests take `fc` from here and not from the package (held by test/ground).
 */
import * as fc from 'fast-check';

const DEFAULT_SEED = 20_261_127;

const asked = process.env['PROPERTY_SEED'] ?? String(DEFAULT_SEED);
const seed = asked === 'random' ? Date.now() % 2 ** 31 : Number(asked);
if (!Number.isSafeInteger(seed)) {
  throw new Error(`PROPERTY_SEED: "${asked}" is neither a whole number nor "random"`);
}
fc.configureGlobal({ seed });

export { fc };
