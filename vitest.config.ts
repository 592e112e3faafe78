/**
 * The tests that run on every change; `*.long.test.ts` have a configuration of their own.
 *
 * Those of the folders `TOGETHER` use nothing but what they make, and leave nothing behind: many
 * files of theirs share a process, and what they import is loaded once. The others start processes,
 * listen on ports or look at files of the repository: each file has a process of its own.
 */
import { availableParallelism } from 'node:os';
import { configDefaults, defineConfig } from 'vitest/config';

const TOGETHER = [
  'broker',
  'config',
  'conformance',
  'contract',
  'machine',
  'protocol',
  'raft/core',
  'storage/log',
  'storage/records',
  'storage/runs',
  'telemetry',
].map((folder) => `test/${folder}/**/*.test.ts`);
const LONG = 'test/**/*.long.test.ts';

export default defineConfig({
  resolve: { conditions: ['source'] },
  // Not 'import': the `require` of packages would take it too.
  ssr: { resolve: { conditions: ['source', 'node'] } },
  test: {
    exclude: [...configDefaults.exclude, LONG],
    // Against what hangs; a property takes minutes where other work has the cores.
    testTimeout: 180_000,
    hookTimeout: 60_000,
    pool: 'forks',
    // Many tests wait, for processes of their own or for an election: every core has work.
    maxWorkers: availableParallelism() + 1,
    coverage: { include: ['storage/**/*.ts', 'raft/**/*.ts', 'src/**/*.ts'] },
    projects: [
      { extends: true, test: { name: 'apart', include: ['test/**/*.test.ts'], exclude: TOGETHER } },
      { extends: true, test: { name: 'together', include: TOGETHER, isolate: false } },
    ],
  },
});
