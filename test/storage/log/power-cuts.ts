/**
 * The log under power cuts: schedules on the simulated disk, each decided by its seed.
 *
 * A few of them run on every change, all with `npm run test:long`.
 */
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';

import { bySeed, ONLY } from '../../support/by-seed.ts';
import { type Coverage, LogSchedule, SEEN } from '../../support/log-schedule.ts';
import { Random } from '../../../raft/simulation/random.ts';
import type { SimulatedDisk } from '../../../raft/simulation/disk/disk.ts';

const FILE = 'test/storage/log/crash-schedules.test.ts';
const GROUPS = 10;
/** Of each case that the schedules are for. */
const SEEN_LEAST = 20;

async function powerCuts(disk: SimulatedDisk, seed: number, coverage: Coverage): Promise<void> {
  const random = new Random(seed).stream('schedule');
  const schedule = new LogSchedule(disk, random, coverage);
  await schedule.makeFolder();
  for (let boots = random.between(2, 5); boots > 0; boots -= 1) {
    disk.cutPowerAfter(random.below(random.pick([10, 60, 300])));
    const opened = await disk.run(schedule.open());
    if (opened.cut) {
      schedule.saw('cut in recovery');
      continue;
    }
    const log = opened.value;
    // So that writes are copied, and the power goes, while a sync is under way.
    const slow = { kind: 'slow', on: 'sync', path: /\.log$/, times: 1000 } as const;
    if (random.chance(0.7)) disk.inject({ ...slow, steps: random.between(10, 60) });
    disk.cutPowerAfter(random.below(random.pick([30, 150, 600])));
    const worked = await disk.run(schedule.work(log, random.between(3, 25)));
    if (worked.cut) {
      schedule.sawCut();
      continue;
    }
    const closed = await disk.run(log.close());
    if (!closed.cut) {
      schedule.saw('closed in order');
      schedule.closedInOrder = true;
      disk.cutPower();
    }
  }
  const log = await schedule.open();
  await schedule.goesOn(log);
  await log.close();
}

export function describePowerCuts(first: number, schedules: number): void {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  describe('after power cuts at any instant, also within recovery', () => {
    const coverage: Coverage = new Map();
    const size = Math.ceil(schedules / GROUPS);

    test.each(Array.from({ length: ONLY === undefined ? GROUPS : 1 }, (_, group) => group))(
      'D8: what was durable is there, nothing torn is seen, the log goes on (group %i)',
      async (group) => {
        const from = first + group * size;
        const seeds = Array.from({ length: size }, (_, nth) => from + nth);
        for (const seed of ONLY === undefined ? seeds : [Number(ONLY)]) {
          await bySeed(FILE, seed, (disk) => powerCuts(disk, seed, coverage));
        }
      },
    );

    test.skipIf(ONLY !== undefined)('the schedules have met every case that they are for', () => {
      expect(SEEN.filter((what) => (coverage.get(what) ?? 0) < SEEN_LEAST)).toEqual([]);
    });
  });
}
