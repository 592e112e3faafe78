/** The queue of retained messages over the fake queues, of one node that leads. */

import type { QueueId } from '../../src/broker/ports.ts';
import type {
  OffsetRange,
  RetainedPart,
  RetainedSource,
} from '../../src/broker/retained-source.ts';
import { FakeQueueClient } from './fake-queue-client.ts';

const NAME = '$retained';

class FakeRetained implements RetainedSource {
  readonly isClosed = false;
  readonly #queues: FakeQueueClient;
  readonly #settled = new Set<number>();
  #waiting: (() => void)[] = [];

  constructor(queues: FakeQueueClient) {
    this.#queues = queues;
    queues.retained = this;
    queues.appended = () => {
      for (const wake of this.#waiting.splice(0)) wake();
    };
  }

  open(): Promise<QueueId> {
    const { queues } = this.#queues;
    if (queues.named(NAME) === undefined) this.#queues.declare(NAME);
    return Promise.resolve(queues.named(NAME)?.queueId as QueueId);
  }

  end(): Promise<number> {
    return Promise.resolve(this.#queues.stored(NAME).length);
  }

  async read(from: number): Promise<RetainedPart> {
    const stored = this.#queues.stored(NAME);
    if (stored.length <= from) await new Promise<void>((wake) => this.#waiting.push(wake));
    const messages = stored
      .slice(from)
      .filter(({ offset }) => !this.#settled.has(offset))
      .map(({ offset, message, origin }) => ({ offset, message, origin, ageMs: 0 }));
    const ownUpTo = this.#queues.numbersUpTo;
    return { from, next: stored.length, messages, ownUpTo, leads: true };
  }

  async kept(from: number, to: number): Promise<{ end: number; ranges: OffsetRange[] }> {
    const end = Math.min(to, await this.end());
    const ranges: OffsetRange[] = [];
    for (let at = from; at < end; at++) if (!this.#settled.has(at)) ranges.push([at, at + 1]);
    return { end, ranges };
  }

  settle(ranges: readonly OffsetRange[]): Promise<void> {
    for (const [from, to] of ranges) for (let at = from; at < to; at++) this.#settled.add(at);
    return Promise.resolve();
  }
}

/** Queues that keep retained messages too. */
export function withRetained(...names: readonly string[]): FakeQueueClient {
  const queues = new FakeQueueClient(...names);
  void new FakeRetained(queues);
  return queues;
}
