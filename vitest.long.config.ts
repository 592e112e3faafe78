/**
 * `npm run test:long`: fuzzing and long schedules, two files at a time, and where a file says so,
 * two tests. Those that compute go behind those in which brokers wait for faults and for elections.
 */
import { configDefaults, defineConfig, mergeConfig } from 'vitest/config';
import base from './vitest.config.ts';

const LONG = 'test/**/*.long.test.ts';
const WAITING = ['acceptance', 'jepsen'].map((folder) => `test/${folder}/*.long.test.ts`);

const long = mergeConfig(
  base,
  defineConfig({
    test: { testTimeout: 900_000, hookTimeout: 120_000, maxConcurrency: 2 },
  }),
);
long.test.exclude = configDefaults.exclude;
long.test.projects = [
  {
    extends: true,
    test: { name: 'waiting', include: WAITING, maxWorkers: 2, sequence: { groupOrder: 0 } },
  },
  {
    extends: true,
    test: {
      name: 'computing',
      include: [LONG],
      exclude: [...configDefaults.exclude, ...WAITING],
      maxWorkers: 2,
      sequence: { groupOrder: 1 },
    },
  },
];

export default long;
