/**
 * Which names of publish keys (`key-names.ts`) are those of nobody any more, by the records of the
 * shard in which their sessions are. A name is over when that shard has another life of the
 * session, or none; one of another shard, or that nobody can place, never is. Reads alone.
 */

import { type QueueId, shardOf } from '../machine/ids.ts';
import type { Machine } from '../machine/machine.ts';
import type { RecordKey } from '../machine/record-data.ts';
import type { WillRecord } from '../machine/session-will-record.ts';
import { keyOwnerOf } from './key-names.ts';

type SessionsOfShard = Pick<Machine, 'shard' | 'definition' | 'sessions' | 'wills'>;

/** What must be loaded for `overKeys`; ask again until it is empty. */
export function overKeysNeed(
  machine: SessionsOfShard,
  names: readonly string[],
): readonly RecordKey[] {
  const keys: RecordKey[] = [];
  for (const name of names) {
    const owner = keyOwnerOf(name);
    if (owner === undefined || !isSession(machine, owner.queueId)) continue;
    const { queueId, will } = owner;
    if (machine.sessions.need(queueId, keys) || will === undefined) continue;
    if (machine.sessions.peek(queueId)?.hasWill === true) machine.wills.need(queueId, keys);
  }
  return keys;
}

/** Of these names those that are over, now and for good. */
export function overKeys(machine: SessionsOfShard, names: readonly string[]): readonly string[] {
  return names.filter((name) => {
    const owner = keyOwnerOf(name);
    if (owner === undefined || shardOf(owner.queueId) !== machine.shard) return false;
    const { queueId, will } = owner;
    if (!isSession(machine, queueId)) return true;
    const record = machine.sessions.peek(queueId);
    if (will === undefined) return record?.incarnation !== name;
    return record?.hasWill !== true || !isKept(machine.wills.peek(queueId), will);
  });
}

function isSession(machine: SessionsOfShard, queueId: QueueId): boolean {
  return machine.definition(queueId)?.type === 'session';
}

/** It is to be published, or may have to be. */
function isKept(wills: WillRecord | undefined, number: number): boolean {
  if (wills === undefined) return false;
  return wills.armed?.number === number || wills.due.some((each) => each.number === number);
}
