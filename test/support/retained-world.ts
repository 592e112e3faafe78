/**
 * A queue of retained messages as several nodes see it: one log of appends and settlements, which
 * each node applies as far as the test lets it. Numbers, offsets and settlements are as the shard
 * gives them; who does not lead is refused to settle.
 */

import { setImmediate as turn } from 'node:timers/promises';
import { MemoryBroker } from '../../src/broker/broker.ts';
import type { Message } from '../../src/broker/message.ts';
import type {
  Committed,
  EnqueueRefusal,
  EnqueueWaiter,
  Origin,
  QueueId,
} from '../../src/broker/ports.ts';
import type {
  OffsetRange,
  RetainedPart,
  RetainedSource,
  StoredRetained,
} from '../../src/broker/retained-source.ts';
import { ownedMessage } from '../../src/broker/message.ts';
import { FakeQueueClient } from './fake-queue-client.ts';
import { TestClock } from './mqtt-server.ts';

type Entry =
  | { readonly kind: 'append'; readonly from: RetainedNode; readonly number: number }
  | { readonly kind: 'settle'; readonly ranges: readonly OffsetRange[] };

const PART_MAX = 3;
const TURNS = 30;

interface Sent {
  readonly message: Message;
  readonly origin: Origin;
  readonly waiter: EnqueueWaiter;
  readonly tag: number;
}

/** Of one node: what is published waits for the test. */
class Client extends FakeQueueClient {
  override isShared = true;
  readonly sent: Sent[] = [];

  override enqueue(
    _targets: readonly QueueId[],
    message: Message,
    origin: Origin,
    waiter: EnqueueWaiter,
    tag: number,
  ): void {
    this.sent.push({ message: ownedMessage(message), origin, waiter, tag });
  }
}

/** One process; a restart makes another one. */
export class RetainedNode implements RetainedSource {
  readonly queues = new Client('orders');
  readonly clock = new TestClock();
  readonly broker: MemoryBroker;
  isClosed = false;
  applied = 0;
  readonly #world: RetainedWorld;
  readonly #stored: StoredRetained[] = [];
  readonly #settled = new Set<number>();
  #numbers = 0;
  #ownUpTo = 0;
  #waiting: (() => void)[] = [];

  constructor(world: RetainedWorld, limits: { maxRetainedMessages?: number }) {
    this.#world = world;
    this.queues.retained = this;
    this.broker = new MemoryBroker(this.queues, this.clock, limits);
  }

  get isLeading(): boolean {
    return this.#world.leader === this;
  }

  /** What is kept, as far as it is applied here. */
  get keptOffsets(): number[] {
    return this.#stored.flatMap(({ offset }) => (this.#settled.has(offset) ? [] : [offset]));
  }

  get sent(): Sent[] {
    return this.queues.sent;
  }

  /** The oldest that is under way is committed, or refused. */
  answer(refusal?: EnqueueRefusal): void {
    const sent = this.sent.shift();
    if (sent === undefined) return;
    const number = ++this.#numbers;
    if (refusal === undefined) {
      this.#world.messages.push(sent);
      this.#world.entries.push({ kind: 'append', from: this, number });
    }
    sent.waiter.enqueued(sent.tag, refusal ?? (number as Committed));
  }

  /** Applies so many entries more. */
  apply(count = Number.POSITIVE_INFINITY): void {
    const { entries, messages } = this.#world;
    for (let left = count; left > 0 && this.applied < entries.length; left--) {
      const entry = entries[this.applied++] as Entry;
      if (entry.kind === 'append') {
        const offset = this.#stored.length;
        const { message, origin } = messages[offset] as Sent;
        this.#stored.push({ offset, message, origin, ageMs: 0 });
        if (entry.from === this) this.#ownUpTo = entry.number;
      } else {
        for (const [from, to] of entry.ranges) {
          for (let at = from; at < to; at++) this.#settled.add(at);
        }
      }
    }
    for (const wake of this.#waiting.splice(0)) wake();
  }

  /** The process is gone: nobody hears anything more. */
  die(): void {
    this.isClosed = true;
    this.broker.stop();
    for (const wake of this.#waiting.splice(0)) wake();
  }

  open(): Promise<QueueId> {
    return Promise.resolve(1 as QueueId);
  }

  end(): Promise<number> {
    this.#world.leader.apply();
    return Promise.resolve(this.#world.messages.length);
  }

  async read(from: number, until: number): Promise<RetainedPart> {
    if (this.#stored.length < until) this.apply();
    while (this.#stored.length <= from && !this.isClosed) {
      await new Promise<void>((wake) => {
        this.#waiting.push(wake);
      });
    }
    const left = this.#stored.slice(from).filter(({ offset }) => !this.#settled.has(offset));
    const messages = left.slice(0, PART_MAX);
    const isCut = left.length > PART_MAX;
    const next = isCut ? (messages.at(-1)?.offset ?? from) + 1 : this.#stored.length;
    const ownUpTo = isCut ? 0 : this.#ownUpTo;
    return { from, next, messages, ownUpTo, leads: this.isLeading };
  }

  kept(from: number, to: number): Promise<{ end: number; ranges: OffsetRange[] }> {
    const wanted = this.keptOffsets.filter((at) => at >= from && at < to);
    return Promise.resolve({ end: to, ranges: wanted.map((at) => [at, at + 1] as const) });
  }

  settle(ranges: readonly OffsetRange[]): Promise<void> {
    if (!this.isLeading) return Promise.reject(new Error('another node leads'));
    this.#world.entries.push({ kind: 'settle', ranges });
    return Promise.resolve();
  }
}

export class RetainedWorld {
  readonly entries: Entry[] = [];
  readonly messages: Sent[] = [];
  readonly nodes: RetainedNode[] = [];
  leader: RetainedNode;
  readonly #limits: { maxRetainedMessages?: number };

  constructor(count: number, limits: { maxRetainedMessages?: number } = {}) {
    this.#limits = limits;
    for (let at = 0; at < count; at++) this.nodes.push(new RetainedNode(this, limits));
    this.leader = this.nodes[0] as RetainedNode;
  }

  async load(): Promise<void> {
    await Promise.all(this.nodes.map(({ broker }) => broker.load()));
  }

  /** Another process in its place, which has all of the log that the former had. */
  async restart(at: number): Promise<void> {
    const former = this.nodes[at] as RetainedNode;
    former.die();
    const node = new RetainedNode(this, this.#limits);
    this.nodes[at] = node;
    if (this.leader === former) this.leader = node;
    node.apply(former.applied);
    await node.broker.load();
  }

  /** Everything that is under way is done, and everything is applied everywhere. */
  async rest(): Promise<void> {
    for (const node of this.nodes) while (node.sent.length > 0) node.answer();
    await this.quiet();
    for (const node of this.nodes) node.broker.tick();
    await this.quiet();
  }

  /** Everybody has read what there is. */
  async quiet(): Promise<void> {
    for (const node of this.nodes) node.apply();
    await turns();
    for (const node of this.nodes) node.apply();
    await turns();
  }
}

export async function turns(count = TURNS): Promise<void> {
  for (let left = count; left > 0; left--) await turn();
}

/** What a SUBSCRIBE to `#` gets: text by topic. */
export function shownBy({ broker }: RetainedNode): Map<string, string> {
  const cursor = broker.retained('#');
  const shown = new Map<string, string>();
  for (;;) {
    const found = cursor?.advance(100) ?? 'done';
    if (found === 'done') return shown;
    if (found === 'more') continue;
    const { topic, payload } = found.message;
    shown.set(topic, Buffer.from(payload).toString());
  }
}
