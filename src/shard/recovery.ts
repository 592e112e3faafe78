/**
 * How a shard comes back: the last checkpoint, checked against the log, then every entry behind it.
 *
 * | records and log                                | decision                                   |
 * |------------------------------------------------|--------------------------------------------|
 * | no checkpoint, log begins at 1                 | replay all                                 |
 * | checkpoint at i, start - 1 <= i <= last        | replay from i + 1                          |
 * | no checkpoint, log begins later; i < start - 1 | damaged: entries between are gone; refuse  |
 * | i > last                                       | damaged: the log has lost its end; refuse  |
 * | the checkpoint names another log               | refuse                                     |
 * | a faulty range that reaches behind i, alone    | refuse, with the range and what to do      |
 * | the same, with other nodes                     | start; they give them back; an alarm       |
 * | a faulty range at or below i                   | start; its messages are missing, an alarm  |
 *
 * Nothing is written here, so that a refused start changes nothing, and a crash in it is harmless.
 */

import { StorageError } from '#storage';
import type { Checkpoint, RecordStore } from '#storage';
import type { LogIndex } from '../machine/ids.ts';
import { decodeNote } from './checkpoint.ts';
import type { DeliveryMarks } from './checkpoint.ts';
import type { FaultyRange, ShardLog } from './shard-log.ts';

export interface RecoveryPoint {
  /** Replay begins behind it. */
  readonly index: LogIndex;
  readonly term: number;
  /** Damage that the checkpoint covers, in words; empty when there is none. */
  readonly damage: readonly string[];
  /** Of a clean stop: what may have been delivered, unless something stands behind `index`. */
  readonly marks: DeliveryMarks | undefined;
}

/** What may have been delivered before a term whose entries begin at `first`. */
export function marksBefore(first: LogIndex, point: RecoveryPoint): DeliveryMarks {
  const inheritedThrough = first - 1;
  if (point.marks !== undefined && inheritedThrough === point.index) return point.marks;
  return { inheritedThrough, seenBelow: new Map() };
}

export const SALVAGE =
  'nothing was changed. `fluxmq segment-dump --verify` on the log folder shows what is damaged; ' +
  'restore the data directory from a copy, or move it away and start with an empty one (its ' +
  'messages are lost then)';

/** Why these records cannot be the state before this log; undefined: they can. */
export function misfitOf(
  log: { readonly id: string; readonly start: number },
  { checkpoint }: Pick<RecordStore, 'checkpoint'>,
): string | undefined {
  const index = checkpoint?.index ?? 0;
  if (index < log.start - 1) {
    const from =
      index === 0 ? 'no checkpoint is in the record store' : `the checkpoint is at entry ${index}`;
    return `${from}, but the log begins at entry ${log.start}: what lies between is gone`;
  }
  const note = checkpoint === undefined ? undefined : decodeNote(checkpoint.data);
  if (checkpoint === undefined || note?.logId === log.id) return undefined;
  return `the record store belongs to log ${note?.logId ?? '?'}, not to ${log.id}`;
}

/** Where to begin; throws StorageError `damaged` with words for the operator. */
export function recoveryPoint(
  log: Pick<ShardLog, 'id' | 'alone' | 'start' | 'last' | 'faulty'>,
  records: Pick<RecordStore, 'checkpoint'>,
): RecoveryPoint {
  const { checkpoint } = records;
  const index = checkpoint?.index ?? 0;
  const misfit = misfitOf(log, records) ?? lostEnd(log, checkpoint);
  if (misfit !== undefined) throw notStarted(misfit);
  const damage: string[] = [];
  for (const range of log.faulty) {
    const words = wordsOf(range);
    if (range.through > index && log.alone) {
      throw notStarted(`${words}; the last checkpoint, at entry ${index}, does not cover them`);
    }
    damage.push(words);
  }
  return {
    index: index as LogIndex,
    term: checkpoint?.term ?? 0,
    damage,
    marks: checkpoint && decodeNote(checkpoint.data)?.marks,
  };
}

function wordsOf({ from, through, detail }: FaultyRange): string {
  if (through < from) return `damage behind entry ${through}: ${detail}`;
  const end = through === Number.MAX_SAFE_INTEGER ? 'the end' : String(through);
  return `entries ${from} to ${end} cannot be read: ${detail}`;
}

/** Why the log has less than it had; undefined: it has not. */
export function lostEnd(
  log: { readonly last: number },
  checkpoint: Pick<Checkpoint, 'index'> | undefined,
): string | undefined {
  const index = checkpoint?.index ?? 0;
  if (index <= log.last) return undefined;
  return `the checkpoint is at entry ${index}, but the log ends at entry ${log.last}`;
}

/** For a start that is refused. */
export function notStarted(what: string): StorageError {
  return new StorageError('damaged', `${what}. The broker does not start; ${SALVAGE}.`);
}
