/**
 * Runs one schedule on a simulated disk of its own, and says on failure which seed it was and how
 * to run it again. A schedule that comes to rest without an end is a failure too.
 */
import { SimulatedDisk } from '../../raft/simulation/disk/disk.ts';

/** The one seed to run, with a trace of the disk; from the environment. */
export const ONLY = process.env['SEED'];

const STALLED_MS = 20_000;
/** Taken before a test fakes the clock. */
const realSetTimeout = setTimeout;
const realClearTimeout = clearTimeout;

/** Seeds in order, or the one that the environment names. */
export function seedsFrom(first: number, count: number): readonly number[] {
  return ONLY === undefined
    ? Array.from({ length: count }, (_, nth) => first + nth)
    : [Number(ONLY)];
}

export async function bySeed(
  file: string,
  seed: number,
  run: (disk: SimulatedDisk) => Promise<void>,
): Promise<void> {
  const disk = new SimulatedDisk({ seed, trace: ONLY !== undefined });
  let stalled: NodeJS.Timeout | undefined;
  try {
    await Promise.race([
      run(disk),
      new Promise((_resolve, reject) => {
        stalled = realSetTimeout(() => reject(new Error('stalled')), STALLED_MS);
      }),
    ]);
  } catch (cause) {
    if (ONLY !== undefined) process.stderr.write(`${disk.trace.join('\n')}\n`);
    const what = `seed ${seed}: ${String(cause)}`;
    throw new Error(`${what}\nagain with: SEED=${seed} npx vitest run ${file}`, { cause });
  } finally {
    realClearTimeout(stalled);
  }
}
