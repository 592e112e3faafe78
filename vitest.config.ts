/** The tests that run on every change; `*.long.test.ts` have a configuration of their own. */
import { configDefaults, defineConfig } from 'vitest/config';

export default defineConfig({
  resolve: { conditions: ['source'] },
  ssr: { resolve: { conditions: ['source', 'node', 'import', 'default'] } },
  test: {
    include: ['test/**/*.test.ts'],
    exclude: [...configDefaults.exclude, 'test/**/*.long.test.ts'],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    pool: 'forks',
    // Many tests wait for processes of their own: every core has work.
    maxWorkers: '100%',
    coverage: { include: ['storage/**/*.ts', 'raft/**/*.ts', 'src/**/*.ts'] },
  },
});
