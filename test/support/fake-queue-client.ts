/**
 * A `QueueClient` in memory, with what its port promises and no more: copies at the call, outcomes
 * in order and never during the call, groups with filters and starts, deliveries one at a time to
 * the members of a group with credit, settlements by delivery number and by id.
 *
 * Messages stay for ever; what a group has settled is known by offset. There is no backoff, no
 * limit and no time: a test says when a delivery is out of time (`expire`).
 */

import { setImmediate } from 'node:timers';

import { type Message, ownedMessage } from '../../src/broker/message.ts';
import {
  AdminError,
  type CancelReason,
  type Committed,
  type ConsumeRequest,
  type ConsumerSink,
  type EnqueueRefusal,
  type EnqueueWaiter,
  type EnqueueWish,
  type GonePublish,
  type Offset,
  type Origin,
  type PublishKey,
  type PublishPart,
  type QueueAdmin,
  type QueueClient,
  type QueueConsumer,
  type QueueDefinition,
  type QueueFreshness,
  type QueueId,
  type QueueInfo,
  type SettleAnswer,
  type SettleRequest,
  type SettleWaiter,
} from '../../src/broker/ports.ts';
import type { RetainedSource } from '../../src/broker/retained-source.ts';
import { type FakeConsumer, FakeQueue, type FakeMessage, type Stored } from './fake-queue.ts';
import { FakeSessionStore } from './fake-session-store.ts';
import { QueueList } from './queue-list.ts';

export type { FakeMessage } from './fake-queue.ts';

export interface Settlement {
  readonly queue: string;
  readonly offset: number;
  readonly outcome: SettleRequest['outcome'];
  /** Of the consumer; of a settlement by id: its group. */
  readonly clientId: string;
}

interface Waiting {
  readonly waiter: EnqueueWaiter;
  readonly tag: number;
  /** The key that it took. */
  readonly key: string | undefined;
}

export class FakeQueueClient implements QueueClient {
  leader = '';
  readonly queues = new QueueList();
  version = 1;
  isShared = false;
  freshness: QueueFreshness | undefined = undefined;
  retained: RetainedSource | undefined = undefined;
  /** Names that were looked for, in order. */
  readonly lookedUp: string[] = [];
  /** What a look finds; false: nobody could be asked. */
  look: (name: string) => Promise<boolean> = () => Promise.resolve(true);
  /** Hears of a publish whose queues are gone. */
  gone: (gone: GonePublish) => boolean = () => false;
  /** Called when something came into a queue. */
  appended: () => void = () => undefined;
  writable = true;
  readonly settlements: Settlement[] = [];
  readonly closings: { queue: string; clientId: string; how: 'lost' | 'returned' }[] = [];
  /** What was asked, in order. */
  readonly requests: ConsumeRequest[] = [];
  readonly keys: (PublishKey | undefined)[] = [];
  readonly releases: PublishKey[] = [];
  readonly declared: QueueDefinition[] = [];
  /** `manual`: outcomes of enqueues and releases come with `answer` only. */
  mode: 'at-once' | 'manual' = 'at-once';
  /** `manual`: consumers wait for `attach` or `refuse`. */
  attachMode: 'at-once' | 'manual' = 'at-once';
  /** Every settlement by id is answered so. */
  settleAnswer: SettleAnswer | undefined;
  /** Declarations wait for it, and are refused if it rejects. */
  declareGate: Promise<void> = Promise.resolve();
  readonly admin: QueueAdmin;
  readonly sessions = new FakeSessionStore(this);
  readonly #queues = new Map<QueueId, FakeQueue>();
  readonly #waiting: Waiting[] = [];
  readonly #attaching: FakeConsumer[] = [];
  readonly #writable: (() => void)[] = [];
  readonly #keys = new Set<string>();
  #nextQueueId = 1;
  #stream = 0;
  #deliveries = 0;
  #answerSoon = false;

  constructor(...names: readonly string[]) {
    this.admin = fakeAdmin(this);
    for (const name of names) this.declare(name);
  }

  declare(
    name: string,
    topics: readonly string[] = [`$queue/${name}/#`],
    set: Partial<QueueInfo> = {},
  ): void {
    const queueId = this.#nextQueueId++ as QueueId;
    const defaults = { type: 'classic', defaultGroup: 'shared', capture: 'sync' } as const;
    const info: QueueInfo = { queueId, name, topics, ...defaults, ...set };
    this.#queues.set(queueId, new FakeQueue(info));
    this.queues.list = [...this.queues.list, info];
    this.version++;
  }

  /** The queue is gone, and its consumers hear it. */
  remove(name: string): void {
    const queue = this.#named(name);
    this.cancel(name, 'queue-deleted');
    this.#queues.delete(queue.info.queueId);
    this.queues.list = this.queues.list.filter((info) => info !== queue.info);
    this.version++;
  }

  /** The queue takes other topics from now on. */
  retopic(name: string, topics: readonly string[]): void {
    const queue = this.#named(name);
    const before = queue.info;
    queue.info = { ...before, topics };
    this.queues.list = this.queues.list.map((each) => (each === before ? queue.info : each));
    this.version++;
  }

  /** What comes into the queue from now on was published so long ago. */
  age(name: string, ms: number): void {
    this.#named(name).olderMs = ms;
  }

  /** Settled, by whoever holds it. */
  complete(name: string, offset: Offset): void {
    const queue = this.#named(name);
    queue.complete(queue.group('default'), offset);
    this.dispatchSoon(queue);
  }

  /** Everything that was ever appended to the queue. */
  stored(name: string): readonly Stored[] {
    return this.#named(name).messages;
  }

  /** Whatever was published until now is told a number up to this one. */
  get numbersUpTo(): number {
    return this.#stream + this.#waiting.length;
  }

  /** Into one queue, without an outcome. */
  append(queueId: QueueId, message: Message, origin: Origin): void {
    const queue = this.#byId(queueId);
    queue.append(ownedMessage(message), origin);
    this.dispatchSoon(queue);
  }

  /** The one consumer of a session's queue. */
  consumeOwn(queueId: QueueId, credit: number, sink: ConsumerSink): QueueConsumer {
    const clientId = this.queues.get(queueId)?.name ?? '';
    const own = { queueId, clientId, group: undefined, filter: '', start: undefined };
    return this.#consume({ ...own, credit, manual: false }, sink);
  }

  /** What waits in a group and is not delivered now. */
  ready(name: string, group = 'default'): readonly FakeMessage[] {
    return this.#named(name).group(group).ready;
  }

  texts(name: string, group = 'default'): readonly string[] {
    return this.ready(name, group).map(({ message }) => new TextDecoder().decode(message.payload));
  }

  groups(name: string): readonly string[] {
    return [...this.#named(name).groups.keys()];
  }

  consumers(name: string): readonly { credit: number; held: number }[] {
    return this.#members(name).map(({ credit, held }) => ({ credit, held: held.size }));
  }

  get unanswered(): number {
    return this.#waiting.length;
  }

  onGone(listener: (gone: GonePublish) => boolean): void {
    this.gone = listener;
  }

  lookUp(name: string): Promise<boolean> {
    this.lookedUp.push(name);
    return this.look(name);
  }

  enqueue(
    targets: readonly QueueId[],
    message: Message,
    origin: Origin,
    waiter: EnqueueWaiter,
    tag: number,
    wanted?: EnqueueWish,
  ): void {
    const isKey = wanted !== undefined && wanted !== 'as-it-is' && !('run' in wanted);
    const key = isKey ? wanted : undefined;
    this.keys.push(key);
    const name = key === undefined ? undefined : nameOf(key);
    // A second publish of a key is told that it is stored, which it is.
    const known = name !== undefined && this.#keys.has(name);
    if (!known) this.#append(targets, message, origin);
    if (name !== undefined) this.#keys.add(name);
    this.appended();
    this.#answerLater({ waiter, tag, key: known ? undefined : name });
  }

  enqueueParts(parts: readonly PublishPart[], origin: Origin, key: PublishKey): void {
    const name = nameOf(key);
    const known = this.#keys.has(name);
    for (const { targets, message, waiter, tag } of parts) {
      this.keys.push(key);
      if (!known) this.#append(targets, message, origin);
      this.#answerLater({ waiter, tag, key: known ? undefined : name });
    }
    this.#keys.add(name);
    this.appended();
  }

  #append(targets: readonly QueueId[], message: Message, origin: Origin): void {
    const owned = ownedMessage(message);
    for (const target of new Set(targets)) {
      const queue = this.#byId(target);
      queue.append(owned, origin);
      this.dispatchSoon(queue);
    }
  }

  release(key: PublishKey, waiter: EnqueueWaiter, tag: number): void {
    this.releases.push(key);
    this.#keys.delete(nameOf(key));
    this.sessions.released(key);
    this.#answerLater({ waiter, tag, key: undefined });
  }

  /** Gives the outcome of the oldest `count` enqueues and releases. */
  answer(count: number, outcome: 'committed' | EnqueueRefusal = 'committed'): void {
    for (const { waiter, tag, key } of this.#waiting.splice(0, count)) {
      // What was refused for certain took no key.
      if (outcome !== 'committed' && outcome !== 'timeout') this.#keys.delete(key ?? '');
      waiter.enqueued(tag, outcome === 'committed' ? (++this.#stream as Committed) : outcome);
    }
  }

  onWritable(listener: () => void): void {
    this.#writable.push(listener);
  }

  setWritable(writable: boolean): void {
    this.writable = writable;
    if (writable) for (const listener of this.#writable) listener();
  }

  consume(request: ConsumeRequest, sink: ConsumerSink): QueueConsumer {
    this.requests.push(request);
    return this.#consume(request, sink);
  }

  #consume(request: ConsumeRequest, sink: ConsumerSink): QueueConsumer {
    const queue = this.#queues.get(request.queueId);
    if (queue === undefined) {
      setImmediate(() => sink.cancelled('queue-deleted', 'there is no such queue'));
      return { grant: () => {}, settle: () => {}, close: () => {} };
    }
    const consumer = queue.consumer(request, sink, {
      settled: (offset, outcome) => {
        const { clientId } = request;
        this.settlements.push({ queue: queue.info.name, offset, outcome, clientId });
      },
      closed: (how) => {
        this.closings.push({ queue: queue.info.name, clientId: request.clientId, how });
      },
      dispatch: () => this.dispatchSoon(queue),
    });
    this.#attaching.push(consumer);
    if (this.attachMode === 'at-once') setImmediate(() => this.attach());
    return consumer;
  }

  /** Those that wait to be members are. */
  attach(): void {
    for (const consumer of this.#attaching.splice(0)) {
      if (consumer.closed !== undefined) continue;
      consumer.join();
      this.dispatchSoon(consumer.queue);
    }
  }

  /** Those that wait to be members are not. */
  refuse(reason: CancelReason, detail: string): void {
    for (const consumer of this.#attaching.splice(0)) {
      if (consumer.closed === undefined) consumer.sink.cancelled(reason, detail);
    }
  }

  settle(request: SettleRequest, waiter: SettleWaiter, tag: number): void {
    const queue = this.#queues.get(request.queueId);
    const { offset, outcome, group } = request;
    const name = queue?.info.name ?? '';
    this.settlements.push({ queue: name, offset, outcome, clientId: group });
    setImmediate(() => {
      const answer = this.settleAnswer ?? queue?.settle(request) ?? 'no-queue';
      if (queue !== undefined) this.dispatchSoon(queue);
      waiter.settled(tag, answer);
    });
  }

  /** Everything that consumers of the queue hold is out of time. */
  expire(name: string): void {
    const queue = this.#named(name);
    for (const consumer of this.#members(name)) consumer.expire();
    this.dispatchSoon(queue);
  }

  cancel(name: string, reason: CancelReason, detail = 'as the test says'): void {
    for (const consumer of this.#members(name)) {
      consumer.leave();
      consumer.sink.cancelled(reason, detail);
    }
  }

  dispatchSoon(queue: FakeQueue): void {
    setImmediate(() => queue.dispatch(() => ++this.#deliveries));
  }

  #answerLater(waiting: Waiting): void {
    this.#waiting.push(waiting);
    if (this.mode === 'manual' || this.#answerSoon) return;
    this.#answerSoon = true;
    setImmediate(() => {
      this.#answerSoon = false;
      this.answer(this.#waiting.length);
    });
  }

  #members(name: string): readonly FakeConsumer[] {
    return [...this.#named(name).groups.values()].flatMap(({ consumers }) => [...consumers]);
  }

  #byId(queueId: QueueId): FakeQueue {
    const queue = this.#queues.get(queueId);
    if (queue === undefined) throw new Error(`no queue ${queueId}`);
    return queue;
  }

  #named(name: string): FakeQueue {
    for (const queue of this.#queues.values()) if (queue.info.name === name) return queue;
    throw new Error(`no queue ${name}`);
  }
}

function nameOf({ session, packetId }: PublishKey): string {
  return `${session}/${packetId}`;
}

/** Declares and deletes; the rest is no matter of those who use this double. */
function fakeAdmin(client: FakeQueueClient): QueueAdmin {
  const none = (): Promise<never> =>
    Promise.reject(new AdminError('unavailable', 'the double does not do this'));
  const exists = (name: string): boolean => client.queues.named(name) !== undefined;
  return {
    declare: async (definition) => {
      client.declared.push(definition);
      await client.declareGate;
      const { name, topics, type, limits } = definition;
      if (exists(name)) return 'same';
      const { defaultGroup, capture } = limits;
      client.declare(name, topics, { type, defaultGroup, capture });
      return 'created';
    },
    delete: (name) => {
      if (!exists(name)) return Promise.reject(new AdminError('no-queue', 'no such queue'));
      client.remove(name);
      return Promise.resolve();
    },
    list: none,
    show: none,
    purge: none,
    peek: none,
    move: none,
    seek: none,
    deleteGroup: none,
  };
}
