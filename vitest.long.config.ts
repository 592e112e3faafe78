/**
 * `npm run test:long`: fuzzing and long schedules, one file after the other; in a file that has
 * processes of its own, two at a time.
 */
import { configDefaults, defineConfig, mergeConfig } from 'vitest/config';
import base from './vitest.config.ts';

const long = mergeConfig(
  base,
  defineConfig({
    test: {
      testTimeout: 900_000,
      hookTimeout: 120_000,
      fileParallelism: false,
      maxConcurrency: 2,
    },
  }),
);
long.test.include = ['test/**/*.long.test.ts'];
long.test.exclude = configDefaults.exclude;

export default long;
