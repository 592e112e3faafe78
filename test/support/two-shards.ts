/**
 * Shards 0 and 1 in one thread, each with a log and records of its own that outlive it, and each
 * with a client of the product to the other: what is sent between them goes as it does between
 * nodes, and either of them may crash while it is on its way.
 */

import { onTestFinished } from 'vitest';
import type { Message } from '../../src/broker/message.ts';
import type { Offset } from '../../src/machine/ids.ts';
import type { QueueLimits } from '../../src/machine/definitions.ts';
import { peekPartIn } from '../../src/shard/admin-requests.ts';
import { ShardClient } from '../../src/shard/client.ts';
import { LeaderRoute } from '../../src/shard/leader-route.ts';
import { loopback } from '../../src/shard/port.ts';
import { decodeBody, encodeStats } from '../../src/shard/requests.ts';
import { ShardToShard } from '../../src/shard/shard-to-shard.ts';
import { StoredMessageView } from '../../src/shard/stored-message.ts';
import { type PlainClient, ShardWorld, queue, turn, until } from './shard-world.ts';

const SILENT = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};
const TURNS_BETWEEN = 6;

type Mode = 'auto' | 'by-hand';

/** One of them. */
class Side {
  readonly number: number;
  readonly world = new ShardWorld();
  readonly route: LeaderRoute;
  readonly opening: Promise<ShardClient>;
  /** Speaks its frames plainly. */
  client!: PlainClient;
  /** Of the other shard, and of tests. */
  routed: ShardClient | undefined;

  constructor(number: number) {
    this.number = number;
    const [near, far] = loopback();
    const { world } = this;
    this.route = new LeaderRoute({
      node: 'node-2',
      port: far,
      serve: (session) => world.shard?.serve(session) === true,
      link: () => undefined,
      answer: () => Promise.resolve(encodeStats(new Map())),
      after: (_ms, action) => {
        const later = setImmediate(action);
        return { cancel: () => clearImmediate(later) };
      },
    });
    const node = 'node-2';
    this.opening = ShardClient.open({ port: near, node, logger: SILENT, isRouted: true });
  }
}

export class TwoShards {
  readonly zero = new Side(0);
  readonly one = new Side(1);

  /** Both, empty. */
  async start(): Promise<void> {
    for (const side of [this.zero, this.one]) {
      await this.open(side);
      side.routed = await side.opening;
      onTestFinished(() => side.routed?.close());
    }
    await this.zero.routed?.places.addShard(1, ['node-1']);
  }

  /** Nothing is durable any more but by `step`. */
  async byHand(): Promise<void> {
    for (const side of [this.zero, this.one]) {
      await side.world.stop();
      side.route.leads({ kind: 'nobody' });
      await this.open(side, 'by-hand');
    }
  }

  async open(side: Side, mode: Mode = 'auto'): Promise<void> {
    const others = new ShardToShard({
      own: side.number,
      client: (shard) => [this.zero, this.one][shard]?.routed,
    });
    side.client = await side.world.open({ number: side.number, queues: [], others, mode });
    side.route.leads({ kind: 'here' });
  }

  /** The power goes. */
  async crash(side: Side): Promise<void> {
    side.world.crash();
    side.route.leads({ kind: 'nobody' });
    for (let turns = 0; turns < TURNS_BETWEEN; turns++) await turn();
  }

  /** As the product does it: placed by shard 0, declared in that shard. Its id. */
  async declare(name: string, shard: number, limits: Partial<QueueLimits> = {}): Promise<number> {
    const [zero, side] = [this.zero.routed, shard === 0 ? this.zero : this.one];
    const place = await zero?.places.place(name, [shard], '');
    const placed = shard === 0 ? undefined : place?.version;
    await side.routed?.admin.declare({ ...queue(name, limits), placed });
    await until(() => side.client.queues.has(name));
    return side.client.queues.get(name) ?? 0;
  }

  /** Publishes these, and rejects them. */
  async reject(side: Side, queueId: number, texts: readonly string[]): Promise<void> {
    const { client } = side;
    for (const text of texts) {
      client.enqueue([queueId], text, { message: { topic: '$queue/orders/eu/1' } });
    }
    const from = client.deliveries.length;
    client.consume(1, queueId, texts.length);
    client.send();
    await this.until(() => client.deliveries.length === from + texts.length);
    for (const delivery of client.deliveries.slice(from)) client.settle(delivery, 'discard');
    client.send();
  }

  /** What is done so far becomes durable, in both. */
  async step(): Promise<void> {
    for (const { world } of [this.zero, this.one]) {
      world.log?.sync();
      for (let turns = 0; turns < TURNS_BETWEEN; turns++) await turn();
    }
  }

  /** Lets both work until it holds, and time pass for what waits. */
  async until(holds: () => boolean): Promise<void> {
    for (let steps = 0; steps < STEPS_MAX; steps++) {
      if (holds()) return;
      await this.step();
      if (steps % 8 !== 7) continue;
      for (const { world, client } of [this.zero, this.one]) {
        world.monotonicMs += 1_000;
        // A question is a turn of the shard, in which it sees how late it is.
        if (client.failed === undefined) await client.stats();
      }
    }
    throw new Error(`it never came to hold: ${holds.toString()}`);
  }

  stat(side: Side, name: string): number | undefined {
    return side.world.shard?.stats().get(name);
  }

  /** All that is kept of a queue; nothing where there is none. */
  async peek(side: Side, name: string): Promise<Message[]> {
    if (side.world.shard?.queueType(name) === undefined) return [];
    const request = { kind: 'peek', name, from: 0 as Offset, max: 1_000 } as const;
    const { messages } = peekPartIn(decodeBody(await side.client.request(request)));
    return messages.map(({ stored }) => new StoredMessageView(stored, 0, stored.length));
  }

  async texts(side: Side, name: string): Promise<string[]> {
    const messages = await this.peek(side, name);
    return messages.map(({ payload }) => Buffer.from(payload).toString());
  }
}

const STEPS_MAX = 4_000;
