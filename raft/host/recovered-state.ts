/**
 * What a core is started with: hard state, extent and terms of the log, and the configurations that
 * lie in it behind the checkpoint.
 *
 * The log is read once from the checkpoint on, in bounded pieces; its end after a crash is in the
 * page cache, because recovery has just read it. Nothing is written, and nothing is decided: a
 * range that is damaged is passed over, and the core knows that it does not know what stood there.
 * A replica that may have forgotten a vote is refused: it could vote twice in one term (Raft 5.2).
 */

import type { ConfigurationAt } from '../core/configuration.ts';
import type { LogIndex, ServerId } from '../core/ids.ts';
import type { Recovered } from '../core/options.ts';
import { RaftError } from './raft-error.ts';
import type { Disk } from './ports.ts';

export interface Standing {
  readonly index: LogIndex;
  readonly configuration: ConfigurationAt;
  readonly serveFrom: LogIndex;
  readonly isLost?: boolean;
}

const READ_BYTES = 1 << 20;

export async function recoveredState(
  disk: Disk,
  checkpoint: Standing,
  id: ServerId,
): Promise<Recovered> {
  const { start, last, termBeforeStart, terms, hardState, faulty } = disk;
  const { configuration, serveFrom, isLost: stateLost = false } = checkpoint;
  const index = stateLost ? start - 1 : checkpoint.index;
  if (index < start - 1 || index > last) {
    const words = `the checkpoint is at entry ${index}, and the log has ${start} to ${last}`;
    throw new RaftError('damaged', words);
  }
  const lastTerm = terms.at(-1)?.term ?? termBeforeStart;
  const isBehind = hardState.term < lastTerm;
  // Of a state that is lost: the log may have the very entry that it came with.
  const standing = { ...configuration, index: Math.min(configuration.index, index) };
  const configurations = [standing, ...(await configurationsBehind(disk, index))];
  if ((disk.hardStateUnsure || isBehind) && !configurations.every((each) => isAlone(each, id))) {
    throw new RaftError('vote-lost', 'the log is damaged where its last vote may have stood');
  }
  return {
    hardState: isBehind ? { term: lastTerm, vote: undefined } : hardState,
    start,
    termBeforeStart,
    last,
    terms,
    configurations,
    applied: index,
    faulty: faulty.map(({ from, through, throughTerm }) => ({ from, through, throughTerm })),
    serveFrom,
    stateLost,
  };
}

/** No other replica votes: nobody can have got a vote that was lost. */
function isAlone({ configuration: { members } }: ConfigurationAt, id: ServerId): boolean {
  return members.length === 1 && members[0]?.id === id;
}

async function configurationsBehind(disk: Disk, index: LogIndex): Promise<ConfigurationAt[]> {
  const found: ConfigurationAt[] = [];
  let next = Math.max(index + 1, disk.start);
  while (next <= disk.durable) {
    const outcome = await disk.read(next, READ_BYTES);
    if (outcome.kind === 'faulty') {
      const { through } = outcome.range;
      if (through === undefined) break;
      next = Math.max(next, through) + 1;
      continue;
    }
    if (outcome.kind === 'outside') {
      throw new RaftError('damaged', `entry ${next} of ${disk.durable} is not in the log`);
    }
    for (const entry of outcome.entries) {
      next = entry.index + 1;
      const { configuration } = entry;
      if (configuration !== undefined) found.push({ index: entry.index, configuration });
    }
  }
  return found;
}
