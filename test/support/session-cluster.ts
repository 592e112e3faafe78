/** Durable sessions of three nodes: their owners, and what tests ask of the nodes. */

import { expect } from 'vitest';
import type {
  ClaimedSession,
  ClaimRequest,
  Offset,
  QueueConsumer,
  SessionHandle,
  StoredSubscription,
} from '../../src/broker/ports.ts';
import type { ShardClient } from '../../src/shard/client.ts';
import type { SessionsOfAll } from '../../src/shard/session-store.ts';
import { storeOf } from './session-store-of.ts';
import { ShardCluster } from './shard-cluster.ts';
import type { ShardNode } from './shard-cluster.ts';

const NAME = '$session/c';
const LIMITS = { maxMessages: 1_000, maxBytes: 0, overflow: 'drop-head' } as const;
const origin = { clientId: 'p', protocol: 'mqtt' } as const;

export function subscription(filter: string): StoredSubscription {
  const plain = { noLocal: false, retainAsPublished: false, identifier: 0, wish: '' } as const;
  return { filter, qos: 1, ...plain, retainHandling: 0 };
}

interface Got {
  readonly text: string;
  readonly offset: Offset;
  readonly name: readonly [term: number, number: number];
  readonly redelivered: boolean;
}

/** Holds what it is given until it is told to settle. */
export class Owner {
  readonly got: Got[] = [];
  readonly consumer: QueueConsumer;
  attached = false;
  cancelled: string | undefined;

  constructor(store: SessionsOfAll, handle: SessionHandle, credit = 100) {
    this.consumer = store.consume(handle, credit, {
      attached: () => void (this.attached = true),
      batchEnd: () => undefined,
      ended: () => undefined,
      cancelled: (reason) => void (this.cancelled = reason),
      delivered: ({ message, offset, term, deliveryNumber, redelivered }) => {
        const text = Buffer.from(message.payload).toString();
        this.got.push({ text, offset, name: [term, deliveryNumber], redelivered });
      },
    });
  }

  settle(at: number): void {
    const { offset, name } = this.got[at] as Got;
    this.consumer.settle(offset, ...name, 'complete');
  }

  get texts(): string[] {
    return this.got.map(({ text }) => text);
  }
}

/** Three nodes, all of them reached. */
export class World {
  readonly cluster = new ShardCluster(undefined, { ackTimeoutMs: 1e9 });
  readonly #outcomes: unknown[] = [];

  async start(): Promise<{ leader: ShardNode; others: [ShardNode, ShardNode] }> {
    await this.cluster.start();
    const leader = await this.cluster.leading();
    for (const { id } of this.cluster.nodes) await this.cluster.routedClient(id);
    const others = this.cluster.nodes.filter((node) => node !== leader);
    return { leader, others: others as [ShardNode, ShardNode] };
  }

  client({ routed }: ShardNode): ShardClient {
    if (routed === undefined) throw new Error('its client is not open');
    return routed;
  }

  store(node: ShardNode): SessionsOfAll {
    return storeOf(this.client(node));
  }

  claim(node: ShardNode, set: Partial<ClaimRequest> = {}): Promise<ClaimedSession> {
    const plain = {
      user: undefined,
      clientId: 'c',
      cleanStart: false,
      expirySeconds: 60,
      limits: LIMITS,
      will: undefined,
    };
    return this.cluster.done(this.store(node).claim({ ...plain, ...set }));
  }

  topics(node: ShardNode): readonly string[] | undefined {
    return this.client(node).queues.named(NAME)?.topics;
  }

  async publish(node: ShardNode, texts: readonly string[]): Promise<void> {
    const client = this.client(node);
    const queueId = client.queues.named(NAME)?.queueId as never;
    const before = this.#outcomes.length;
    const waiter = { enqueued: (_: number, told: unknown): void => void this.#outcomes.push(told) };
    for (const text of texts) {
      const payload = Buffer.from(text);
      const message = {
        topic: 'a',
        payload,
        qos: 1,
        retain: false,
        properties: undefined,
      } as const;
      client.enqueue([queueId], message, origin, waiter, 1);
    }
    await this.cluster.until(() => this.#outcomes.length === before + texts.length);
    expect(this.#outcomes.every((each) => typeof each === 'number')).toBe(true);
  }

  async pass(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= 100) await this.cluster.step(100);
  }
}
