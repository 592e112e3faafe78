/**
 * What each call of proto/admin.proto does with the ports `QueueAdmin` and `ClusterAdmin`. Lists
 * and messages go out in pages that end early when they have grown large, so that no reply passes
 * its limit: whoever wants all asks again from behind the last one.
 */

import { AdminError, type Offset, type PeekedMessage, type QueueAdmin } from '../broker/ports.ts';
import { changeOf, wireAnswer, wireNode } from './cluster-convert.ts';
import type { ClusterAdmin } from './cluster-port.ts';
import { definitionOf, positionOf, wholeOf, wireDetail, wireMessage } from './convert.ts';
import { LIST_MAX, PAGE_BYTES, PEEK_MAX } from './limits.ts';
import type { ClusterCalls } from './cluster-messages.ts';
import type { AdminCall, AdminCalls, WireMessage, WireSummary } from './messages.ts';

type HandlersOf<Names extends AdminCall> = {
  readonly [Name in Names]: (
    request: AdminCalls[Name]['request'],
  ) => Promise<AdminCalls[Name]['reply']>;
};

export type Handlers = HandlersOf<AdminCall>;

/** Queues that the port is asked for at once: their topics may be long. */
const LIST_STEP = 100;
/** Messages that the port is asked for at first, when nobody knows how large they are. */
const PEEK_STEP = 4;
/** What a summary takes beside its texts, and a message beside its bytes; generously. */
const ENTRY_BYTES = 512;

export interface AdminPorts {
  /** Throws an AdminError where there is none yet. */
  readonly queues: () => QueueAdmin;
  readonly cluster: ClusterAdmin;
}

export function handlersOf({ queues, cluster }: AdminPorts): Handlers {
  return { ...queueHandlers(queues), ...clusterHandlers(cluster) };
}

function clusterHandlers(cluster: ClusterAdmin): HandlersOf<keyof ClusterCalls> {
  return {
    Status: async () => wireNode(await cluster.status()),
    ChangeMembers: async (wish) => {
      const shard = wholeOf(wish.shard, 'shard');
      return wireAnswer(await cluster.change(shard, changeOf(wish)));
    },
    TransferLead: async ({ shard, to }) =>
      wireAnswer(await cluster.transfer(wholeOf(shard, 'shard'), to)),
    Rescue: async ({ shard, by, giveUp, evenIfShorter }) => {
      const wish = { by, giveUp, evenIfShorter };
      return wireAnswer(await cluster.rescue(wholeOf(shard, 'shard'), wish));
    },
    AddShard: async ({ shard }) => wireAnswer(await cluster.addShard(wholeOf(shard, 'shard'))),
    HostShard: async ({ shard, node, isHost }) =>
      wireAnswer(await cluster.host(wholeOf(shard, 'shard'), node, isHost)),
  };
}

function queueHandlers(
  admin: () => QueueAdmin,
): HandlersOf<Exclude<AdminCall, keyof ClusterCalls>> {
  return {
    List: ({ after, max }) => list(admin(), after, ranged(max, LIST_MAX)),
    Show: async ({ name }) => wireDetail(await admin().show(name)),
    Declare: async (definition) => ({ outcome: await admin().declare(definitionOf(definition)) }),
    Delete: async ({ name }) => {
      await admin().delete(name);
      return {};
    },
    Purge: async ({ name, group }) => ({ count: await admin().purge(name, group) }),
    Peek: async ({ name, from, max }) => {
      const start = wholeOf(from, 'from') as Offset;
      return { messages: await peek(admin(), { name, from: start, max: ranged(max, PEEK_MAX) }) };
    },
    Move: async (wish) => {
      atLeastOne(wholeOf(wish.max, 'max'));
      return { count: await admin().move(wish) };
    },
    Seek: async ({ name, group, ...position }) => ({
      floor: await admin().seek(name, group, positionOf({ name, group, ...position })),
    }),
    DeleteGroup: async ({ name, group }) => {
      await admin().deleteGroup(name, group);
      return {};
    },
  };
}

function ranged(max: number, most: number): number {
  if (max >= 1 && max <= most) return max;
  throw new AdminError('invalid', `max is not within 1 to ${most}`);
}

function atLeastOne(max: number): void {
  if (max < 1) throw new AdminError('invalid', 'max is 0: nothing would be done');
}

async function list(
  admin: QueueAdmin,
  after: string,
  max: number,
): Promise<AdminCalls['List']['reply']> {
  const queues: WireSummary[] = [];
  let bytes = 0;
  let last = after;
  while (queues.length < max) {
    const step = Math.min(LIST_STEP, max - queues.length);
    const page = await admin.list(last, step);
    for (const summary of page) {
      const { name, topics } = summary.definition;
      bytes += ENTRY_BYTES + 3 * topics.reduce((sum, { length }) => sum + length, name.length);
      queues.push(summary);
      last = name;
      // One entry is always there, so whoever asks again gets on.
      if (bytes >= PAGE_BYTES) return { queues, end: false };
    }
    if (page.length < step) return { queues, end: true };
  }
  return { queues, end: false };
}

interface PeekWish {
  readonly name: string;
  readonly from: Offset;
  readonly max: number;
}

async function peek(admin: QueueAdmin, { name, from, max }: PeekWish): Promise<WireMessage[]> {
  const messages: WireMessage[] = [];
  let bytes = 0;
  let next: number = from;
  while (messages.length < max && bytes < PAGE_BYTES) {
    const step = Math.min(max - messages.length, fitting(messages.length, bytes));
    const some = await admin.peek(name, next as Offset, step);
    const last = some.at(-1);
    if (last === undefined) break;
    for (const each of some) {
      bytes += sizeOf(each);
      messages.push(wireMessage(each));
      if (bytes >= PAGE_BYTES) return messages;
    }
    next = last.offset + 1;
  }
  return messages;
}

/** How many more are about to fit, by the size of those before. */
function fitting(count: number, bytes: number): number {
  if (count === 0) return PEEK_STEP;
  const average = bytes / count;
  return Math.max(1, Math.min(PEEK_STEP * count, Math.ceil((PAGE_BYTES - bytes) / average)));
}

function sizeOf({ message }: PeekedMessage): number {
  const { topic, payload, properties } = message;
  const texts = [topic, properties?.contentType ?? '', properties?.replyTo ?? ''];
  for (const [name, value] of properties?.userProperties ?? []) texts.push(name, value);
  const characters = texts.reduce((sum, { length }) => sum + length, 0);
  return ENTRY_BYTES + payload.length + 3 * characters;
}
