/** Tests with one mutant in their sources: `FLUXMQ_MUTANT` names it (test/mutants). */
import { readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { defineConfig, mergeConfig } from 'vitest/config';
import base from './vitest.config.ts';
import { applyMutant, parseMutant } from './test/mutants/mutant.ts';

const name = process.env['FLUXMQ_MUTANT'] ?? '';
const path = join(import.meta.dirname, 'test/mutants/patches', `${name}.txt`);
const mutant = parseMutant(name, readFileSync(path, 'utf8'));

const mutated = mergeConfig(
  base,
  defineConfig({
    plugins: [
      {
        name: 'mutant',
        enforce: 'pre',
        transform: (code: string, id: string) =>
          applyMutant(mutant, relative(import.meta.dirname, id), code),
      },
    ],
  }),
);
delete mutated.test.projects;
mutated.test.include = ['test/**/*.test.ts'];
// One that fails is enough.
mutated.test.bail = 1;

export default mutated;
