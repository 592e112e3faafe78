/**
 * A `QueueAdmin` in memory for tests of the admin socket and of the command line: queues with
 * groups and messages that the test makes, refusals as a broker would give them, a record of what
 * was asked, and a gate that holds answers back.
 */

import type { Message } from '../../src/broker/message.ts';
import {
  AdminError,
  type GroupSummary,
  type MoveWish,
  type Offset,
  type PeekedMessage,
  type Position,
  type QueueAdmin,
  type QueueDefinition,
  type QueueDetail,
  type QueueId,
  type QueueSummary,
} from '../../src/broker/ports.ts';
import { DEFAULT_LIMITS, definitionProblem, sameLimits } from '../../src/machine/definitions.ts';

interface FakeGroup {
  readonly name: string;
  kind: GroupSummary['kind'];
  filter: string;
  floor: number;
  delivered: number;
  consumers: number;
  stuck: number | undefined;
  lost?: readonly [number, number];
}

export interface FakeQueue {
  readonly queueId: number;
  definition: QueueDefinition;
  readonly messages: PeekedMessage[];
  readonly groups: FakeGroup[];
  heldBy: QueueDetail['heldBy'];
  damaged: readonly (readonly [Offset, Offset])[];
}

export function fakeDefinition(name: string, rest: Partial<QueueDefinition> = {}): QueueDefinition {
  return { name, type: 'classic', topics: [`$queue/${name}/#`], limits: DEFAULT_LIMITS, ...rest };
}

export class FakeQueueAdmin implements QueueAdmin {
  readonly queues = new Map<string, FakeQueue>();
  /** Every call, as `name: arguments`. */
  readonly asked: string[] = [];
  /** Called before each answer; rejects or waits as the test wants. */
  gate: () => Promise<void> = () => Promise.resolve();
  #nextId = 1;

  add(definition: QueueDefinition, groups: readonly Partial<FakeGroup>[] = [{}]): FakeQueue {
    const queue: FakeQueue = {
      queueId: this.#nextId,
      definition,
      messages: [],
      groups: groups.map((group) => fakeGroup(group)),
      heldBy: undefined,
      damaged: [],
    };
    this.#nextId += 1;
    this.queues.set(definition.name, queue);
    return queue;
  }

  publish(name: string, payload: string | Uint8Array, more: Partial<Message> = {}): void {
    const queue = this.queues.get(name);
    if (queue === undefined) throw new Error(`no queue ${name}`);
    const bytes = typeof payload === 'string' ? Buffer.from(payload) : payload;
    queue.messages.push({
      offset: queue.messages.length as Offset,
      // Every other one is somebody's.
      origin: {
        clientId: 'till-1',
        protocol: 'mqtt',
        ...(queue.messages.length % 2 === 0 && { user: 'ann' }),
      },
      publishedAtMs: Date.UTC(2026, 0, 2, 3, 4, 5, 678),
      message: {
        topic: `$queue/${name}`,
        payload: bytes,
        qos: 1,
        retain: false,
        properties: undefined,
        ...more,
      },
    });
  }

  async list(after: string, max: number): Promise<readonly QueueSummary[]> {
    await this.#enter('list', after, max);
    const names = [...this.queues.keys()].filter((name) => name > after).sort();
    return names.slice(0, max).map((name) => summaryOf(this.#queue(name)));
  }

  async show(name: string): Promise<QueueDetail> {
    await this.#enter('show', name);
    const queue = this.#queue(name);
    const { heldBy, damaged } = queue;
    return { ...summaryOf(queue), groups: queue.groups.map(groupOf(queue)), heldBy, damaged };
  }

  async declare(definition: QueueDefinition): Promise<'created' | 'same' | 'updated'> {
    await this.#enter('declare', definition.name);
    const problem = definitionProblem(definition);
    if (problem !== undefined) throw new AdminError('invalid', problem);
    const there = this.queues.get(definition.name);
    if (there === undefined) {
      this.add(definition);
      return 'created';
    }
    if (there.definition.type !== definition.type) {
      throw new AdminError('exists', `${definition.name} is of the type ${there.definition.type}`);
    }
    const same = sameLimits(there.definition.limits, definition.limits);
    there.definition = definition;
    return same ? 'same' : 'updated';
  }

  async delete(name: string): Promise<void> {
    await this.#enter('delete', name);
    this.#queue(name);
    this.queues.delete(name);
  }

  async purge(name: string, group: string | undefined): Promise<number> {
    await this.#enter('purge', name, group);
    const queue = this.#queue(name);
    const groups = group === undefined ? queue.groups : [this.#group(queue, group)];
    const end = queue.messages.length;
    const depths = groups.map(({ floor }) => end - floor);
    for (const each of groups) each.floor = end;
    return Math.max(0, ...depths);
  }

  async peek(name: string, from: Offset, max: number): Promise<readonly PeekedMessage[]> {
    await this.#enter('peek', name, from, max);
    return this.#queue(name)
      .messages.filter(({ offset }) => offset >= from)
      .slice(0, max);
  }

  async move({ name, group, to, max }: MoveWish): Promise<number> {
    await this.#enter('move', name, group, to, max);
    const queue = this.#queue(name);
    const from = this.#group(queue, group);
    if (to !== '') this.#queue(to);
    const count = Math.min(max, queue.messages.length - from.floor);
    from.floor += count;
    return count;
  }

  async seek(name: string, group: string, position: Position): Promise<Offset> {
    await this.#enter('seek', name, group, JSON.stringify(position));
    const queue = this.#queue(name);
    const moved = this.#group(queue, group);
    const end = queue.messages.length;
    const target = targetOf(position, queue);
    if (target < moved.floor && queue.definition.type !== 'stream') {
      throw new AdminError('invalid', `${name} is ${queue.definition.type}: only forward`);
    }
    moved.floor = Math.min(target, end);
    return moved.floor as Offset;
  }

  async deleteGroup(name: string, group: string): Promise<void> {
    await this.#enter('deleteGroup', name, group);
    const queue = this.#queue(name);
    const found = this.#group(queue, group);
    queue.groups.splice(queue.groups.indexOf(found), 1);
  }

  async #enter(call: string, ...given: readonly unknown[]): Promise<void> {
    this.asked.push(`${call}: ${given.map(String).join(' ')}`);
    await this.gate();
  }

  #queue(name: string): FakeQueue {
    const queue = this.queues.get(name);
    if (queue === undefined) throw new AdminError('no-queue', `there is no queue ${name}`);
    return queue;
  }

  #group(queue: FakeQueue, name: string): FakeGroup {
    const group = queue.groups.find((each) => each.name === name);
    if (group !== undefined) return group;
    throw new AdminError('no-group', `${queue.definition.name} has no group ${name}`);
  }
}

function fakeGroup(group: Partial<FakeGroup>): FakeGroup {
  const rest = { filter: '', floor: 0, delivered: 0, consumers: 0, stuck: undefined };
  return { name: 'default', kind: 'explicit', ...rest, ...group };
}

function targetOf(position: Position, { messages }: FakeQueue): number {
  switch (position.kind) {
    case 'first':
      return 0;
    case 'last':
      return Math.max(0, messages.length - 1);
    case 'next':
      return messages.length;
    case 'offset':
      return position.offset;
    case 'time': {
      const at = messages.findIndex(({ publishedAtMs }) => publishedAtMs >= position.ms);
      return at < 0 ? messages.length : at;
    }
  }
}

function groupOf({ messages }: FakeQueue): (group: FakeGroup) => GroupSummary {
  return (group) => ({
    ...group,
    floor: group.floor as Offset,
    stuck: group.stuck as Offset | undefined,
    lost: group.lost as GroupSummary['lost'],
    depth: messages.length - group.floor,
  });
}

function summaryOf(queue: FakeQueue): QueueSummary {
  const { groups, messages } = queue;
  return {
    queueId: queue.queueId as QueueId,
    definition: queue.definition,
    start: 0 as Offset,
    next: messages.length as Offset,
    depth: Math.max(0, ...groups.map(({ floor }) => messages.length - floor)),
    consumers: groups.reduce((sum, { consumers }) => sum + consumers, 0),
    leaving: 0,
  };
}
