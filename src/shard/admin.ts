/**
 * What operators ask of the shard. Reading loads the records that it needs and changes nothing.
 * What changes something goes through the log, as commands that each touch a bounded part, one
 * wish after the other, and is answered when it is applied.
 *
 * A purge settles all but what consumers hold, by stretches between the offsets that are held; of a
 * stream it raises the start, and nothing is kept for anybody. A move opens an intent for each
 * message that no consumer holds, and waits while the outbox is full. A wish in the middle of which
 * the process dies is half done, and can be made again.
 */

import { AdminError } from '../broker/ports.ts';
import type { GroupSummary, QueueDetail, QueueSummary } from '../broker/ports.ts';
import { MAX_MOVES, MAX_RANGE } from '../machine/command.ts';
import type { Position } from '../machine/command.ts';
import { SESSION_PREFIX } from '../machine/definitions.ts';
import type { QueueDefinition } from '../machine/definitions.ts';
import type { GroupView, RareEffect } from '../machine/effect.ts';
import type { GroupId, LogIndex, Offset, QueueId } from '../machine/ids.ts';
import type { Machine } from '../machine/machine.ts';
import { detailData, listData, peekData } from './admin-requests.ts';
import type { AdminRequest, NewGroup } from './admin-requests.ts';
import type { Alarms } from './alarms.ts';
import type { PlainCommand } from './codec.ts';
import type { Dispatcher } from './dispatcher.ts';
import type { OtherShards } from './other-shards.ts';
import type { Payloads } from './payloads.ts';
import { Peeker } from './peek.ts';
import type { PlainData } from './record-codec.ts';
import type { RecordLoader } from './record-loader.ts';

export interface AdminOptions {
  readonly machine: Machine;
  readonly loader: Pick<RecordLoader, 'until'>;
  readonly payloads: Payloads;
  readonly alarms: Pick<Alarms, 'damagedOf'>;
  readonly dispatcher: Pick<Dispatcher, 'activity' | 'consumersOf' | 'undelivered'>;
  /** Undefined: there are none. */
  readonly others: Pick<OtherShards, 'find'> | undefined;
  readonly logger: { info(fields: Record<string, unknown>, message: string): void };
  /** The index of its entry; undefined: nothing is taken any more. */
  readonly propose: (command: PlainCommand) => LogIndex | undefined;
  /** Resolves when this entry is applied; rejects when the store failed. */
  readonly applied: (index: LogIndex) => Promise<void>;
  /** `Places.fence`. */
  readonly fence: (version: number) => Promise<void>;
}

interface Queue {
  readonly queueId: QueueId;
  readonly definition: QueueDefinition;
}

type Group = Queue & { readonly group: GroupView };

/** Queues whose records are loaded at a time, and that are told in one part. */
const LIST_PART = 256;
/** Open intents above which a move waits until some are closed. */
const MOVE_OPEN_MAX = 4_096;
const OPEN_CHECK_MS = 20;

export class Admin {
  readonly #options: AdminOptions;
  readonly #peeker: Peeker;
  /** Names in order, as of this version of the definitions. */
  #names: readonly string[] = [];
  #namesVersion = -1;
  #changes: Promise<unknown> = Promise.resolve();
  #watch: ((effect: RareEffect) => void) | undefined;

  constructor(options: AdminOptions) {
    this.#options = options;
    this.#peeker = new Peeker(options);
  }

  /** What apply did: for whoever waits for it. */
  rare(effect: RareEffect): void {
    this.#watch?.(effect);
  }

  /** The body of the reply; rejects with an AdminError, or when the store failed. */
  async answer(request: AdminRequest): Promise<PlainData> {
    switch (request.kind) {
      case 'list':
        return this.#list(request.after, request.max);
      case 'show':
        return detailData(await this.#show(this.#queue(request.name)));
      case 'peek':
        return peekData(await this.#peeker.peek(this.#queue(request.name).queueId, request));
      case 'delete':
        return this.#inTurn(() => this.#delete(request.name, request.placed));
      case 'purge':
        return this.#inTurn(() => this.#purge(this.#queue(request.name), request.group));
      case 'move':
        return this.#inTurn(() => this.#move(request));
      case 'seek':
        return this.#inTurn(async () =>
          this.#seek(await this.#group(request.name, request.group), request.position),
        );
      case 'delete-group':
        return this.#inTurn(async () =>
          this.#deleteGroup(await this.#group(request.name, request.group)),
        );
      case 'make-groups':
        return this.#inTurn(() => this.#makeGroups(this.#queue(request.name), request.groups));
    }
  }

  /** Changes are made one after the other, so that each knows its own effects. */
  #inTurn<T>(change: () => Promise<T>): Promise<T> {
    const done = this.#changes.then(change);
    this.#changes = done.catch(() => undefined);
    return done;
  }

  // --- Reading.

  async #list(after: string, max: number): Promise<PlainData> {
    const { machine } = this.#options;
    if (this.#namesVersion !== machine.definitionsVersion) {
      this.#namesVersion = machine.definitionsVersion;
      this.#names = machine.queueNames().sort();
    }
    const names = this.#names;
    const from = firstAbove(names, after);
    const end = Math.min(from + Math.min(max, LIST_PART), names.length);
    const queues: QueueSummary[] = [];
    const listed = names.slice(from, end).flatMap((name) => machine.queueNamed(name) ?? []);
    await this.#load(listed);
    for (const queue of listed) queues.push(this.#summary(queue));
    return listData({ queues, more: end < names.length });
  }

  async #show(queue: Queue): Promise<QueueDetail> {
    await this.#load([queue]);
    const { machine, alarms } = this.#options;
    const groups = machine.groups(queue.queueId) ?? [];
    return {
      ...this.#summary(queue),
      groups: groups.map((group) => this.#groupSummary(queue, group)),
      heldBy: this.#heldBy(queue, groups),
      damaged: alarms.damagedOf(queue.queueId),
    };
  }

  #summary({ queueId, definition }: Queue): QueueSummary {
    const { machine, dispatcher } = this.#options;
    return {
      queueId,
      definition,
      start: machine.start(queueId) ?? (0 as Offset),
      next: machine.nextOffset(queueId) ?? (0 as Offset),
      depth: machine.depth(queueId) ?? 0,
      consumers: dispatcher.consumersOf(queueId),
      leaving: machine.leaving(queueId),
    };
  }

  #groupSummary({ queueId }: Queue, group: GroupView): GroupSummary {
    const { groupId, name, kind, filter, floor, depth } = group;
    const activity = this.#options.dispatcher.activity({ queueId, groupId });
    return {
      name,
      kind,
      filter,
      floor,
      depth,
      delivered: activity?.delivered ?? 0,
      consumers: activity?.consumers ?? 0,
      stuck: activity?.stuck,
      lost: lostOf(this.#options.machine, queueId, groupId),
    };
  }

  /** The group that is furthest behind; a stream keeps by its retention alone, whoever has read. */
  #heldBy({ queueId, definition }: Queue, groups: readonly GroupView[]): QueueDetail['heldBy'] {
    const next = this.#options.machine.nextOffset(queueId) ?? 0;
    if (definition.type === 'stream') return undefined;
    let held: QueueDetail['heldBy'];
    for (const { name, floor } of groups) {
      if (floor < next && (held === undefined || floor < held.offset)) {
        held = { group: name, offset: floor };
      }
    }
    return held;
  }

  // --- Changes.

  /** Nothing of the name is here afterwards, nor made for `placed`: also where it was not. */
  async #delete(name: string, placed: number | undefined): Promise<null> {
    if (placed !== undefined) await this.#options.fence(placed);
    const queue = this.#queue(name);
    const { queueId } = queue;
    await this.#load([queue]);
    const { definition, start, next, depth, consumers, leaving } = this.#summary(queue);
    const told = { queue: definition.name, queueId, start, next, depth, consumers, leaving };
    await this.#through({ kind: 'delete-queue', queueId });
    this.#options.logger.info(told, 'an operator deleted a queue');
    return null;
  }

  async #purge(queue: Queue, group: string | undefined): Promise<number> {
    const { queueId, definition } = queue;
    await this.#load([queue]);
    const { machine, logger } = this.#options;
    const to = machine.nextOffset(queueId) ?? (0 as Offset);
    let purged = 0;
    if (group === undefined && definition.type === 'stream') purged = await this.#raise(queue, to);
    else {
      const all = machine.groups(queueId) ?? [];
      const groups =
        group === undefined ? all : [(await this.#group(definition.name, group)).group];
      // What no group has a claim on is kept for the first one that comes: it begins behind it.
      if (groups.length === 0) purged = await this.#raise(queue, to);
      for (const each of groups) purged = Math.max(purged, await this.#settle(queue, each, to));
    }
    logger.info({ queue: definition.name, group, purged }, 'an operator purged a queue');
    return purged;
  }

  async #raise({ queueId }: Queue, to: Offset): Promise<number> {
    const { machine } = this.#options;
    const from = machine.start(queueId) ?? to;
    for (let start = from; start < to; start = machine.start(queueId) ?? to) {
      const next = Math.min(start + MAX_RANGE, to) as Offset;
      await this.#through({ kind: 'retain', queueId, start: next });
      if ((machine.start(queueId) ?? to) <= start) break;
    }
    return to - from;
  }

  /** All of the group below `to` that no consumer holds; how many messages that were. */
  async #settle(queue: Queue, group: GroupView, to: Offset): Promise<number> {
    const { queueId } = queue;
    const { groupId, floor, depth } = group;
    const { machine, dispatcher } = this.#options;
    const nextBefore = machine.nextOffset(queueId) ?? to;
    for (let from: number = floor; from < to; from += MAX_RANGE) {
      const end = Math.min(from + MAX_RANGE, to) as Offset;
      const stretches = dispatcher.undelivered({ queueId, groupId }, from as Offset, end);
      let index: LogIndex | undefined;
      for (const [begin, until] of stretches) {
        const of = { queueId, groupId, from: begin, to: until };
        index = this.#propose({ kind: 'settle-range', ...of, cause: 'purged' });
      }
      if (index !== undefined) await this.#options.applied(index);
    }
    if (machine.definition(queueId) === undefined) return depth;
    await this.#load([queue]);
    const after = machine.groups(queueId)?.find((each) => each.groupId === groupId)?.depth ?? 0;
    const arrived = (machine.nextOffset(queueId) ?? nextBefore) - nextBefore;
    return Math.min(depth, Math.max(0, depth - after + arrived));
  }

  async #move(request: Extract<AdminRequest, { kind: 'move' }>): Promise<number> {
    const { machine, dispatcher, logger } = this.#options;
    const { name, to, max } = request;
    const { queueId, definition, group } = await this.#group(name, request.group);
    if (definition.type === 'stream') {
      throw new AdminError('invalid', 'a stream keeps its messages: nothing is moved out of it');
    }
    if (lostOf(machine, queueId, group.groupId) !== undefined) {
      const detail = `what the group ${group.name} has settled is not known: seek it first`;
      throw new AdminError('invalid', detail);
    }
    const target = to === '' ? ('source' as const) : await this.#moveTarget(to);
    if (target === queueId) throw new AdminError('invalid', 'a queue is not moved to itself');
    const { groupId } = group;
    let moved = 0;
    this.#watch = (effect) => {
      if (effect.kind !== 'intent-opened' || effect.intent.reason !== 'moved') return;
      if (effect.intent.queueId === queueId && effect.intent.groupId === groupId) moved++;
    };
    try {
      const end = machine.nextOffset(queueId) ?? (0 as Offset);
      let from: number = group.floor;
      while (from < end && moved < max) {
        await this.#untilRoom();
        const until = Math.min(from + Math.min(MAX_MOVES, max - moved), end) as Offset;
        const of = { queueId, groupId };
        for (const [begin, last] of dispatcher.undelivered(of, from as Offset, until)) {
          await this.#through({ kind: 'move-range', ...of, from: begin, to: last, target });
        }
        from = until;
      }
    } finally {
      this.#watch = undefined;
    }
    logger.info({ queue: name, group: request.group, to, moved }, 'an operator moved messages');
    return moved;
  }

  /** A queue of this shard, or of another one. */
  async #moveTarget(name: string): Promise<QueueId> {
    const { machine, others } = this.#options;
    if (name.startsWith(SESSION_PREFIX)) {
      throw new AdminError('invalid', "nothing is moved into a session's queue");
    }
    if (others === undefined || machine.queueNamed(name) !== undefined) {
      return this.#queue(name).queueId;
    }
    const found = await others.find(name);
    if (found.kind === 'there') return found.queueId;
    if (found.kind === 'not-now') throw new AdminError('unavailable', found.detail);
    return this.#queue(name).queueId;
  }

  /** The outbox is bounded: what is on its way goes first. */
  async #untilRoom(): Promise<void> {
    while (this.#options.machine.openIntentCount >= MOVE_OPEN_MAX) {
      await new Promise((resolve) => {
        setTimeout(resolve, OPEN_CHECK_MS);
      });
    }
  }

  async #seek({ queueId, group }: Group, position: Position): Promise<number> {
    const { groupId } = group;
    const effect = await this.#effectOf({ kind: 'seek-group', queueId, groupId, position }, [
      'group-sought',
      'group-refused',
    ]);
    if (effect?.kind === 'group-sought') return effect.floor;
    throw refusalOf(effect);
  }

  async #deleteGroup({ queueId, group }: Group): Promise<null> {
    const { groupId } = group;
    const effect = await this.#effectOf({ kind: 'delete-group', queueId, groupId }, [
      'group-deleted',
      'group-refused',
    ]);
    if (effect?.kind === 'group-deleted') return null;
    throw refusalOf(effect);
  }

  async #makeGroups(queue: Queue, groups: readonly NewGroup[]): Promise<null> {
    const { machine } = this.#options;
    const { queueId } = queue;
    await this.#load([queue]);
    for (const group of groups) {
      if (machine.groupNamed(queueId, group.name) !== undefined) continue;
      await this.#through({ kind: 'create-group', queueId, groupKind: 'explicit', ...group });
    }
    return null;
  }

  // --- Through the log.

  #propose(command: PlainCommand): LogIndex {
    const index = this.#options.propose(command);
    if (index === undefined) throw new AdminError('unavailable', 'the shard has stopped');
    return index;
  }

  /** Proposes it and waits until it is applied. */
  async #through(command: PlainCommand): Promise<void> {
    await this.#options.applied(this.#propose(command));
  }

  /** The last effect of these kinds, of the command's queue, while it was applied. */
  async #effectOf<Kind extends GroupEffect['kind']>(
    command: Extract<PlainCommand, { kind: 'seek-group' | 'delete-group' }>,
    kinds: readonly Kind[],
  ): Promise<Extract<GroupEffect, { kind: Kind }> | undefined> {
    let found: Extract<GroupEffect, { kind: Kind }> | undefined;
    this.#watch = (effect) => {
      if (!isOneOf(effect, kinds) || effect.queueId !== command.queueId) return;
      if ('groupId' in effect && effect.groupId !== command.groupId) return;
      found = effect;
    };
    try {
      await this.#through(command);
    } finally {
      this.#watch = undefined;
    }
    return found;
  }

  // --- Names.

  #queue(name: string): Queue {
    const queue = this.#options.machine.queueNamed(name);
    if (queue === undefined) throw new AdminError('no-queue', `there is no queue ${name}`);
    return queue;
  }

  async #group(name: string, group: string): Promise<Group> {
    const queue = this.#queue(name);
    await this.#load([queue]);
    const found = this.#options.machine.groupNamed(queue.queueId, group);
    if (found === undefined) {
      throw new AdminError('no-group', `the queue ${name} has no group ${group}`);
    }
    return { ...queue, group: found };
  }

  async #load(queues: readonly Queue[]): Promise<void> {
    const { loader, machine } = this.#options;
    await loader.until(() => queues.flatMap(({ queueId }) => machine.queueKeys(queueId)));
  }
}

type GroupEffect = Extract<
  RareEffect,
  { readonly kind: 'group-sought' | 'group-deleted' | 'group-refused' }
>;

function isOneOf<Kind extends GroupEffect['kind']>(
  effect: RareEffect,
  kinds: readonly Kind[],
): effect is Extract<GroupEffect, { kind: Kind }> {
  return (kinds as readonly string[]).includes(effect.kind);
}

function refusalOf(effect: GroupEffect | undefined): AdminError {
  if (effect?.kind !== 'group-refused') {
    return new AdminError('no-group', 'the group, or its queue, is gone');
  }
  const isGone = effect.reason === 'no-group' || effect.reason === 'no-queue';
  return new AdminError(isGone ? effect.reason : 'invalid', effect.detail);
}

/** Offsets of which it is not known what the group has settled, both ends included. */
function lostOf(machine: Machine, queueId: QueueId, groupId: GroupId): GroupSummary['lost'] {
  const lost = machine.lostGroup(queueId, groupId);
  return lost === undefined ? undefined : [lost.from, (lost.through - 1) as Offset];
}

/** The first name above this one in a sorted list. */
function firstAbove(names: readonly string[], name: string): number {
  let low = 0;
  let high = names.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((names[middle] as string) <= name) low = middle + 1;
    else high = middle;
  }
  return low;
}
