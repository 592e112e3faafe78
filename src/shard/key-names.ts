/**
 * The names under which shards keep the keys of QoS 2 publishes (`machine/publish-keys.ts`), made
 * so that any shard can tell whom to ask whether the publisher lives:
 *
 * ```
 *  <queueId>/<uuid>           one life, an incarnation, of the session that has this queue
 *  will/<queueId>/<number>    one will of that session
 *  <uuid>                     an incarnation of before: whose it is, its name does not tell
 * ```
 *
 * To all else a name is a text. One that is over never comes again.
 */

import { randomUUID } from 'node:crypto';
import { type QueueId, shardOf } from '../machine/ids.ts';

const NAME = /^(will\/)?(\d{1,16})\/([^/]+)$/;

export interface KeyOwner {
  readonly queueId: QueueId;
  /** Undefined: the key is of a life of the session itself. */
  readonly will: number | undefined;
}

export function newIncarnation(queueId: QueueId): string {
  return `${queueId}/${randomUUID()}`;
}

export function willKeyName(queueId: QueueId, number: number): string {
  return `will/${queueId}/${number}`;
}

/** Undefined: nobody can be asked. */
export function keyOwnerOf(name: string): KeyOwner | undefined {
  const [, isWill, id, rest] = NAME.exec(name) ?? [];
  const queueId = Number(id);
  const will = isWill === undefined ? undefined : Number(rest);
  if (!Number.isSafeInteger(queueId) || Number.isNaN(will)) return undefined;
  return { queueId: queueId as QueueId, will };
}

/** By the shard in which their owner is; those whose owner nobody can name are left out. */
export function keyNamesByShard(names: Iterable<string>): ReadonlyMap<number, readonly string[]> {
  const found = new Map<number, string[]>();
  for (const name of names) {
    const owner = keyOwnerOf(name);
    if (owner === undefined) continue;
    const shard = shardOf(owner.queueId);
    const here = found.get(shard);
    if (here === undefined) found.set(shard, [name]);
    else here.push(name);
  }
  return found;
}
