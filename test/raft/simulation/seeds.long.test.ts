/** Hundreds of seeds, and the gate that each is one run only. */

import { describe, expect, it } from 'vitest';

import { FIRST_MOVING } from '../../../raft/simulation/moving-clock.ts';
import { manySeeds } from './seeds.ts';

const JOBS = 2;
const GATE_SEEDS = 5;
const MOVING = { first: FIRST_MOVING, level: 'host', machine: 'ledger' } as const;

describe('the simulator', () => {
  it.each([
    ['the whole host', 240, { first: 1, level: 'host', machine: 'ledger' }],
    ['the whole host by moving clocks', 30, MOVING],
    ['the core alone', 60, { first: 1, level: 'core', machine: 'ledger' }],
    ['the queues of the product', 30, { first: 2000, level: 'host', machine: 'queues' }],
  ] as const)(
    'finds no violation in %s in %i seeds, and has one trace for each',
    async (...given) => {
      const [, count, many] = given;
      const { failures, missing, table, counters } = await manySeeds({
        ...many,
        count,
        jobs: JOBS,
        twice: GATE_SEEDS,
      });
      expect(failures).toEqual([]);
      expect(missing, table).toEqual([]);
      for (const seen of ['catch-ups', 'membership changes', 'elections', 'reads']) {
        expect(counters.get(seen), seen).toBeGreaterThan(0);
      }
    },
  );
});
