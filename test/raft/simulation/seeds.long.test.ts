/** Hundreds of seeds, and the gate that each is one run only. */

import { describe, expect, it } from 'vitest';

import { runSeed } from '../../../raft/simulation/run-seed.ts';
import { queues } from '../../simulate/queue-machine.ts';
import { allHold } from './seeds.ts';

const SEEDS = 300;
const GATE_SEEDS = 10;
const QUEUE_SEEDS = 60;

describe('the simulator', () => {
  it(`finds no violation in ${SEEDS} seeds of the whole host, and installs what it asks for`, async () => {
    const { missing, table, counters } = await allHold(1, SEEDS);
    expect(missing, table).toEqual([]);
    for (const seen of ['catch-ups', 'membership changes', 'partial partitions']) {
      expect(counters.get(seen), seen).toBeGreaterThan(0);
    }
  });

  it(`finds no violation in ${SEEDS} seeds of the core alone`, async () => {
    const { missing, table } = await allHold(1, SEEDS, { level: 'core' });
    expect(missing, table).toEqual([]);
  });

  it(`finds no violation in ${QUEUE_SEEDS} seeds with the queues of the product on top`, async () => {
    await allHold(2000, QUEUE_SEEDS, {}, queues);
  });

  it('has one trace for each seed', async () => {
    for (let seed = 1000; seed < 1000 + GATE_SEEDS; seed += 1) {
      const [one, again] = [await runSeed(seed), await runSeed(seed)];
      expect(again.traceHash, `seed ${seed}`).toBe(one.traceHash);
    }
  });
});
