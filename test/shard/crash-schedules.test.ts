/**
 * A whole shard under power cuts: real log on the simulated disk, records that keep or lose a
 * checkpoint under way. One again:  SEED=123 npx vitest run test/shard/crash-schedules.test.ts
 */
import { describe, expect, test } from 'vitest';

import { bySeed, ONLY } from '../support/by-seed.ts';
import { SEEN, type Seen, ShardSchedule } from '../support/shard-schedule.ts';
import { Random } from '../../raft/simulation/random.ts';
import type { SimulatedDisk } from '../../raft/simulation/disk/disk.ts';

const FILE = 'test/shard/crash-schedules.test.ts';
const FIRST = Number(process.env['FIRST'] ?? 0);
const SCHEDULES = Number(process.env['SCHEDULES'] ?? 120);

async function powerCuts(
  disk: SimulatedDisk,
  seed: number,
  coverage: Map<Seen, number>,
): Promise<void> {
  const random = new Random(seed).stream('shard');
  const schedule = new ShardSchedule(disk, random, coverage);
  await schedule.makeFolder();
  for (let lives = random.between(1, 4); lives > 0; lives -= 1) {
    disk.cutPowerAfter(random.below(random.pick([20, 80, 400])));
    const opened = await disk.run(schedule.open());
    if (opened.cut) {
      schedule.saw('cut in recovery');
      schedule.crashed();
      continue;
    }
    disk.cutPowerAfter(random.below(random.pick([30, 200, 800])));
    const worked = await disk.run(schedule.work(random.between(5, 60)));
    if (worked.cut) schedule.saw('cut');
    else if (random.chance(0.5)) {
      const stopped = await disk.run(schedule.stop());
      if (!stopped.cut) disk.cutPower();
    } else disk.cutPower();
    schedule.crashed();
  }
  await schedule.open();
  await schedule.check();
  await schedule.stop();
}

describe('a shard after power cuts at any instant', () => {
  const coverage = new Map<Seen, number>();

  test('D1 D6: confirmed is there, in order, once; surely settled never comes again', async () => {
    const seeds = ONLY === undefined ? SCHEDULES : 1;
    for (let at = 0; at < seeds; at += 1) {
      const seed = Number(ONLY ?? FIRST + at);
      await bySeed(FILE, seed, (disk) => powerCuts(disk, seed, coverage));
    }
  });

  test.runIf(ONLY === undefined)('the schedules saw what they are for', () => {
    expect(SEEN.filter((what) => !coverage.has(what))).toEqual([]);
  });
});
