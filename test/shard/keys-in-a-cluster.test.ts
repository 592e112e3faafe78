/**
 * Keys of QoS 2 publishes in a shard that had no leader when their session ended, on a node that
 * died before there was one: two shards on three nodes, the client of the product on each.
 */

import { expect, it } from 'vitest';
import { Random } from '../../raft/simulation/random.ts';
import type { PublishKey, SessionHandle } from '../../src/broker/ports.ts';
import type { QueueClients } from '../../src/shard/queue-clients.ts';
import { ORIGIN, messageOf } from '../support/cluster-clients.ts';
import { definition } from '../support/many-shards.ts';
import { NODES, ShardPair } from '../support/shard-pair.ts';

const REST_MS = 10 * 60_000;
/** Shorter than what makes an election. */
const STEP_MS = 250;
const LIMITS = { maxMessages: 10, maxBytes: 0, overflow: 'drop-head' } as const;
const LIFE = { user: undefined, expirySeconds: 36_000, limits: LIMITS, will: undefined };

class World {
  readonly pair = new ShardPair(new Random(1), {
    transfers: Number.MAX_SAFE_INTEGER,
    current: Number.MAX_SAFE_INTEGER,
  });

  async start(): Promise<void> {
    await this.pair.start({ checkpointIntervalMs: 1_000 });
    await this.pair.declare(1, definition('far'));
  }

  clientAt(id: string): QueueClients {
    return this.pair.join(id, this.pair.clientsAt(id) ?? expect.fail());
  }

  claim(client: QueueClients, clientId: string, cleanStart = false) {
    return this.pair.done(client.sessions.claim({ ...LIFE, clientId, cleanStart }));
  }

  /** True: it is stored, and was not there. */
  async publish(client: QueueClients, handle: SessionHandle): Promise<boolean> {
    const { incarnation: session, ownerEpoch } = handle;
    const key: PublishKey = { session, ownerEpoch, packetId: 5 };
    const depth = async (): Promise<number> => {
      return (await this.pair.done(client.admin.show('far'))).depth;
    };
    const before = await depth();
    const { queueId } = client.queues.named('far') ?? expect.fail();
    const told = new Promise((resolve) => {
      const waiter = { enqueued: (_tag: number, outcome: unknown): void => resolve(outcome) };
      client.enqueue([queueId], messageOf('m', 0), ORIGIN, waiter, 0, key);
    });
    expect(await this.pair.done(told)).toEqual(expect.any(Number));
    return (await depth()) > before;
  }

  async pass(ms: number): Promise<void> {
    for (let passed = 0; passed < ms; passed += STEP_MS) {
      await this.pair.shards[1].step(0);
      await this.pair.shards[0].step(STEP_MS);
    }
  }
}

it('keys go whose session ended while their shard had no leader, and those of others stay', async () => {
  const world = new World();
  const { pair } = world;
  await world.start();
  const client = world.clientAt('b');
  const over = (await world.claim(client, 'over')).handle;
  const kept = (await world.claim(client, 'kept')).handle;
  expect([over, kept].every(({ queueId }) => queueId < 2 ** 40)).toBe(true);
  for (const handle of [over, kept]) expect(await world.publish(client, handle)).toBe(true);
  // Shard 1 stands still, and not shard 0.
  for (const id of ['a', 'c']) pair.shards[1].isolate(id);
  await world.claim(client, 'over', true);
  for (const part of pair.partsOf('b')) part.crash();
  pair.shards[1].heal();
  for (const part of pair.partsOf('b')) await part.start();
  await pair.until('all are up', () => pair.isUp);
  const other = world.clientAt('c');
  await pair.until('the queue is known', () => other.queues.named('far') !== undefined);
  for (const handle of [over, kept]) expect(await world.publish(other, handle)).toBe(false);
  await world.pass(2 * REST_MS + 10_000);
  expect(await world.publish(other, over)).toBe(true);
  expect(await world.publish(other, kept)).toBe(false);
  expect(NODES.flatMap((id) => pair.partsOf(id)).flatMap(({ failures }) => failures)).toEqual([]);
});
