/** Faults of a simulated machine's storage that overlap: each ends by itself. */

import { describe, expect, it } from 'vitest';

import { SimulatedDisk } from '../../../raft/simulation/disk/disk.ts';
import { callUs, HostStorage } from '../../../raft/simulation/host-storage.ts';
import { Kernel } from '../../../raft/simulation/kernel.ts';
import { Random } from '../../../raft/simulation/random.ts';
import { VirtualClock } from '../../../raft/simulation/virtual-clock.ts';

const LIMITS = {
  segmentBytes: 4096,
  prewriteBytes: 4096,
  maxWriteBytes: 4096,
  syncMode: 'fdatasync',
  copyBytes: 1,
  checkpointEntries: 10,
  keptEntries: 2,
} as const;
const CALLS = 1000;

describe('a disk that was made slow twice', () => {
  it('is as fast as before once both faults have ended, in whichever order', () => {
    const pace = { leastUs: 20, mostUs: 400, slowedBy: 0 };
    const storage = new HostStorage({
      disk: new SimulatedDisk({ seed: 1, later: () => undefined }),
      pace,
      clock: new VirtualClock(new Kernel(1), 0),
      limits: LIMITS,
      random: new Random(1),
    });
    const slowest = (): number => {
      const random = new Random(2);
      return Math.max(...Array.from({ length: CALLS }, () => callUs(pace, random)));
    };
    const [endFirst, endSecond] = [storage.break('slow'), storage.break('slow')];
    endFirst();
    expect(slowest()).toBeGreaterThan(pace.mostUs);
    endSecond();
    expect(slowest()).toBeLessThanOrEqual(pace.mostUs);
  });
});
