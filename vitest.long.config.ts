/** `npm run test:long`: fuzzing and long schedules, one file after the other. */
import { configDefaults, defineConfig, mergeConfig } from 'vitest/config';
import base from './vitest.config.ts';

const long = mergeConfig(
  base,
  defineConfig({ test: { testTimeout: 900_000, hookTimeout: 120_000, fileParallelism: false } }),
);
long.test.include = ['test/**/*.long.test.ts'];
long.test.exclude = configDefaults.exclude;

export default long;
