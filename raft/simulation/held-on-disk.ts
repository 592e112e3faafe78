/**
 * What the disk of a replica holds when it starts: every entry of its log, as far as it can be
 * read. For the checks; the replica itself reads what it needs.
 */

import type { LogDisk } from '../host/log-disk.ts';
import type { Entry } from '../raft.ts';
import { UNKNOWN_TERM } from './log-mirror.ts';
import type { MirrorEntry } from './log-mirror.ts';

const READ_BYTES = 1 << 20;

interface Held {
  /** The index alone where it cannot be read. */
  readonly entries: readonly (Entry | number)[];
  readonly damaged: readonly number[];
}

export async function heldOn(disk: LogDisk): Promise<Held> {
  const entries: (Entry | number)[] = [];
  const damaged: number[] = [];
  for (let next = disk.start; next <= disk.last;) {
    const read = await disk.read(next, READ_BYTES);
    if (read.kind === 'outside') throw new Error(`entry ${next} of ${disk.last} is not there`);
    if (read.kind === 'entries') {
      entries.push(...read.entries);
      next += read.entries.length;
      continue;
    }
    const through = read.range.through ?? disk.last;
    for (; next <= through; next += 1) {
      entries.push(next);
      damaged.push(next);
    }
  }
  return { entries, damaged };
}

export function lost(index: number): MirrorEntry {
  return { index, term: UNKNOWN_TERM, digest: 0 };
}
