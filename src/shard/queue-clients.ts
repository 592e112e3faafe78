/**
 * One `QueueClient` over two shards: the durable one, and the one whose queues live in memory.
 *
 * A queue's id tells in which it is. A publish that goes to both is told once, when both know; and
 * every outcome keeps the order of the calls, because what goes to memory has its place among what
 * goes to the log (`Pending`). A node without queues in memory pays for a look at the ids alone.
 * Nothing is stored here.
 */

import type {
  Committed,
  ConsumeRequest,
  ConsumerSink,
  EnqueueRefusal,
  EnqueueWaiter,
  Origin,
  PublishKey,
  QueueAdmin,
  QueueClient,
  QueueConsumer,
  QueueDirectory,
  SettleRequest,
  SettleWaiter,
} from '../broker/ports.ts';
import type { Message } from '../broker/message.ts';
import type { QueueId } from '../machine/ids.ts';
import { AdminOfBoth } from './admin-of-both.ts';
import type { ShardClient } from './client.ts';
import { DirectoryOfBoth } from './directory-of-both.ts';
import { isInMemory } from './volatile-ids.ts';

export class QueueClients implements QueueClient {
  readonly admin: QueueAdmin;
  readonly queues: QueueDirectory;
  readonly #durable: ShardClient;
  readonly #volatile: ShardClient;
  readonly #away: EnqueueWaiter;

  constructor(durable: ShardClient, inMemory: ShardClient) {
    this.#durable = durable;
    this.#volatile = inMemory;
    this.queues = new DirectoryOfBoth(durable.queues, inMemory.queues);
    this.admin = new AdminOfBoth(durable, inMemory);
    this.#away = {
      enqueued: (place: number, outcome: Committed | EnqueueRefusal) =>
        durable.came(place, outcome === 'disk-full' ? 'queue-full' : outcome),
    };
  }

  get leader(): string {
    return this.#durable.leader;
  }

  get version(): number {
    return this.#durable.version + this.#volatile.version;
  }

  get writable(): boolean {
    return this.#durable.writable && this.#volatile.writable;
  }

  onWritable(listener: () => void): void {
    const told = (): void => {
      if (this.writable) listener();
    };
    this.#durable.onWritable(told);
    this.#volatile.onWritable(told);
  }

  enqueue(
    targets: readonly QueueId[],
    message: Message,
    origin: Origin,
    waiter: EnqueueWaiter,
    tag: number,
    key?: PublishKey,
  ): void {
    const durable = this.#durable;
    let inMemory = 0;
    for (const target of targets) if (isInMemory(target)) inMemory++;
    if (inMemory === 0) {
      durable.enqueue(targets, message, origin, waiter, tag, key);
      return;
    }
    if (inMemory === targets.length) {
      const place = durable.away(waiter, tag);
      this.#volatile.enqueue(targets, message, origin, this.#away, place, key);
      return;
    }
    const inLog = targets.filter((target) => !isInMemory(target));
    durable.enqueue(inLog, message, origin, waiter, tag, key);
    const place = durable.alsoAway();
    this.#volatile.enqueue(targets.filter(isInMemory), message, origin, this.#away, place, key);
  }

  release(key: PublishKey, waiter: EnqueueWaiter, tag: number): void {
    this.#durable.release(key, waiter, tag);
    if (this.#volatile.queues.count === 0) return;
    this.#volatile.release(key, this.#away, this.#durable.alsoAway());
  }

  endSession(session: string): void {
    this.#durable.endSession(session);
    if (this.#volatile.queues.count > 0) this.#volatile.endSession(session);
  }

  consume(request: ConsumeRequest, sink: ConsumerSink): QueueConsumer {
    return this.#of(request.queueId).consume(request, sink);
  }

  settle(request: SettleRequest, waiter: SettleWaiter, tag: number): void {
    this.#of(request.queueId).settle(request, waiter, tag);
  }

  /** Resolves when both are closed; what is in memory is gone then. */
  async stop(): Promise<void> {
    await Promise.all([this.#durable.stop(), this.#volatile.stop()]);
  }

  close(): void {
    this.#durable.close();
    this.#volatile.close();
  }

  #of(queueId: QueueId): ShardClient {
    return isInMemory(queueId) ? this.#volatile : this.#durable;
  }
}
