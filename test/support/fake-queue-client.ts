/**
 * A `QueueClient` in memory for tests of the broker and of the frontends: queues with one group,
 * credit and settlement, and outcomes that the test gives when it wants to.
 *
 * Deliveries are posted with `setImmediate`, never made during a call, like those of a worker.
 */

import { setImmediate } from 'node:timers';

import { ownedMessage, type Message } from '../../src/broker/message.ts';
import type {
  Committed,
  ConsumeRequest,
  ConsumerSink,
  EnqueueRefusal,
  EnqueueWaiter,
  Offset,
  Origin,
  QueueClient,
  QueueConsumer,
  QueueId,
  QueueInfo,
  SettleOutcome,
} from '../../src/broker/ports.ts';

export interface FakeMessage {
  readonly offset: Offset;
  readonly message: Message;
  readonly origin: Origin;
  attempt: number;
  redelivered: boolean;
}

export interface Settlement {
  readonly queue: string;
  readonly offset: number;
  readonly outcome: SettleOutcome;
  readonly clientId: string;
}

class FakeQueue {
  readonly info: QueueInfo;
  readonly ready: FakeMessage[] = [];
  readonly consumers: FakeConsumer[] = [];
  nextOffset = 0;
  turn = 0;

  constructor(info: QueueInfo) {
    this.info = info;
  }
}

class FakeConsumer implements QueueConsumer {
  readonly held = new Map<number, { message: FakeMessage; number: number }>();
  readonly client: FakeQueueClient;
  readonly queue: FakeQueue;
  readonly request: ConsumeRequest;
  readonly sink: ConsumerSink;
  credit: number;
  closed: 'lost' | 'returned' | undefined;

  constructor(
    client: FakeQueueClient,
    queue: FakeQueue,
    request: ConsumeRequest,
    sink: ConsumerSink,
  ) {
    this.client = client;
    this.queue = queue;
    this.request = request;
    this.sink = sink;
    this.credit = request.credit;
  }

  grant(deliveries: number): void {
    this.credit += deliveries;
    this.client.dispatchSoon(this.queue);
  }

  settle(offset: Offset, _term: number, deliveryNumber: number, outcome: SettleOutcome): void {
    const held = this.held.get(offset);
    const { clientId } = this.request;
    this.client.settlements.push({ queue: this.queue.info.name, offset, outcome, clientId });
    if (held === undefined || held.number !== deliveryNumber) return;
    this.held.delete(offset);
    if (outcome === 'requeue') this.#back(held.message, 1);
    this.client.dispatchSoon(this.queue);
  }

  close(how: 'lost' | 'returned'): void {
    if (this.closed !== undefined) return;
    this.closed = how;
    const { queue } = this;
    queue.consumers.splice(queue.consumers.indexOf(this), 1);
    const { clientId } = this.request;
    this.client.closings.push({ queue: queue.info.name, clientId, how });
    for (const { message } of [...this.held.values()].reverse()) {
      this.#back(message, how === 'lost' ? 1 : 0);
    }
    this.held.clear();
    this.client.dispatchSoon(queue);
  }

  #back(message: FakeMessage, attempts: number): void {
    message.attempt += attempts;
    message.redelivered = true;
    this.queue.ready.unshift(message);
  }
}

interface Waiting {
  readonly waiter: EnqueueWaiter;
  readonly tag: number;
}

export class FakeQueueClient implements QueueClient {
  queues: readonly QueueInfo[] = [];
  version = 1;
  writable = true;
  readonly settlements: Settlement[] = [];
  readonly closings: { queue: string; clientId: string; how: 'lost' | 'returned' }[] = [];
  /** `manual`: outcomes come with `answer` only. */
  mode: 'at-once' | 'manual' = 'at-once';
  readonly #queues = new Map<QueueId, FakeQueue>();
  readonly #waiting: Waiting[] = [];
  readonly #writable: (() => void)[] = [];
  #stream = 0;
  #deliveries = 0;
  #answerSoon = false;

  constructor(...names: readonly string[]) {
    for (const name of names) this.declare(name);
  }

  declare(name: string, topics: readonly string[] = [`$queue/${name}/#`]): void {
    const queueId = (this.#queues.size + 1) as QueueId;
    const info: QueueInfo = { queueId, name, type: 'classic', topics };
    this.#queues.set(queueId, new FakeQueue(info));
    this.queues = [...this.queues, info];
    this.version++;
  }

  /** What lies in a queue and is not delivered now. */
  ready(name: string): readonly FakeMessage[] {
    return this.#named(name).ready;
  }

  texts(name: string): readonly string[] {
    return this.ready(name).map(({ message }) => new TextDecoder().decode(message.payload));
  }

  consumers(name: string): readonly { credit: number; held: number }[] {
    return this.#named(name).consumers.map(({ credit, held }) => ({ credit, held: held.size }));
  }

  get unanswered(): number {
    return this.#waiting.length;
  }

  enqueue(
    targets: readonly QueueId[],
    message: Message,
    origin: Origin,
    waiter: EnqueueWaiter,
    tag: number,
  ): void {
    const owned = ownedMessage(message);
    for (const target of targets) {
      const queue = this.#byId(target);
      const offset = queue.nextOffset++ as Offset;
      queue.ready.push({ offset, message: owned, origin, attempt: 1, redelivered: false });
      this.dispatchSoon(queue);
    }
    this.#waiting.push({ waiter, tag });
    if (this.mode === 'manual' || this.#answerSoon) return;
    this.#answerSoon = true;
    setImmediate(() => {
      this.#answerSoon = false;
      this.answer(this.#waiting.length);
    });
  }

  /** Gives the outcome of the oldest `count` enqueues. */
  answer(count: number, outcome: 'committed' | EnqueueRefusal = 'committed'): void {
    for (const { waiter, tag } of this.#waiting.splice(0, count)) {
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
    const queue = this.#byId(request.queueId);
    const consumer = new FakeConsumer(this, queue, request, sink);
    queue.consumers.push(consumer);
    this.dispatchSoon(queue);
    return consumer;
  }

  cancel(name: string, reason: 'queue-deleted' | 'unavailable'): void {
    for (const consumer of this.#named(name).consumers.splice(0)) consumer.sink.cancelled(reason);
  }

  dispatchSoon(queue: FakeQueue): void {
    setImmediate(() => this.#dispatch(queue));
  }

  /** Round robin over the consumers with credit. */
  #dispatch(queue: FakeQueue): void {
    const touched = new Set<FakeConsumer>();
    while (queue.ready.length > 0) {
      const count = queue.consumers.length;
      let chosen: FakeConsumer | undefined;
      for (let step = 0; step < count && chosen === undefined; step++) {
        const consumer = queue.consumers[(queue.turn + step) % count];
        if (consumer === undefined || consumer.credit === 0) continue;
        chosen = consumer;
        queue.turn = (queue.turn + step + 1) % count;
      }
      const message = chosen === undefined ? undefined : queue.ready.shift();
      if (chosen === undefined || message === undefined) break;
      this.#deliver(queue, chosen, message);
      touched.add(chosen);
    }
    for (const consumer of touched) consumer.sink.batchEnd();
  }

  #deliver(queue: FakeQueue, consumer: FakeConsumer, message: FakeMessage): void {
    const number = ++this.#deliveries;
    consumer.credit--;
    consumer.held.set(message.offset, { message, number });
    // A view that is wrong after the call, as that of a receive buffer would be.
    const payload = new Uint8Array(message.message.payload);
    consumer.sink.delivered({
      queueId: queue.info.queueId,
      queueName: queue.info.name,
      groupName: 'default',
      offset: message.offset,
      term: 1,
      deliveryNumber: number,
      attempt: message.attempt,
      redelivered: message.redelivered,
      origin: message.origin,
      publishedAtMs: Date.now(),
      message: { ...message.message, payload },
    });
    payload.fill(0xee);
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
