/**
 * C19, on three brokers as three processes: what one of them has answered is true on the others at
 * once, for queues too. Nothing here waits for a time, or tries again.
 */

import { join } from 'node:path';
import { afterEach, expect, it, vi } from 'vitest';
import { AdminClient } from '../../src/admin/client.ts';
import { defaultDefinition } from '../../src/machine/default-definition.ts';
import { shardOf } from '../../src/machine/ids.ts';
import { BrokerCluster } from '../support/broker-cluster.ts';
import { QueueUser } from '../support/queue-user.ts';

const QUEUES = 60;
const ADMIN_TIMEOUT_MS = 30_000;

// Three processes start: on a busy machine that takes a while.
vi.setConfig({ testTimeout: 180_000 });

let cluster: BrokerCluster | undefined;
const ends: (() => unknown)[] = [];

afterEach(async () => {
  await Promise.all(ends.splice(0).map((end) => end()));
  await cluster?.remove();
  cluster = undefined;
});

interface Place {
  readonly admin: AdminClient;
  readonly user: QueueUser;
}

/** Each broker with its operator and a client. */
async function three(shards: number): Promise<readonly Place[]> {
  cluster = await BrokerCluster.started('unknown-queues', { cluster: { shards } });
  return Promise.all(
    cluster.brokers.map(async ({ dataDirectory, port }, at) => {
      const admin = await AdminClient.open(join(dataDirectory, 'admin.sock'), ADMIN_TIMEOUT_MS);
      const user = await QueueUser.connect(port, `user-${at}`);
      ends.push(
        () => admin.close(),
        () => user.die(),
      );
      return { admin, user };
    }),
  );
}

/** All of them, beginning with another one for each queue. */
function turned(places: readonly Place[], at: number): [Place, Place, Place] {
  const [a, b, c] = [0, 1, 2].map((step) => places[(at + step) % places.length]);
  return [a, b, c] as [Place, Place, Place];
}

const ONE_AND_MORE = [1, 3];

it.each(ONE_AND_MORE)(
  'declared on one of three, a queue takes publishes on the others at once (shards: %i)',
  async (shards) => {
    const places = await three(shards);
    const names = Array.from({ length: QUEUES }, (_none, at) => `orders-${at}`);
    for (const [at, name] of names.entries()) {
      const [here, there, elsewhere] = turned(places, at);
      await here.admin.declare(defaultDefinition(name, 'classic'));
      await Promise.all([
        there.user.publish(`$queue/${name}`, 'there'),
        elsewhere.user.publish(`$queue/${name}/eu`, 'elsewhere'),
      ]);
    }
    const [{ admin }] = turned(places, 0);
    const listed = await admin.list('', 1_000);
    const depths = new Map(listed.map(({ definition, next }) => [definition.name, next]));
    expect(new Set(listed.map(({ queueId }) => shardOf(queueId))).size).toBe(shards);
    expect(names.filter((name) => depths.get(name) !== 2)).toEqual([]);
    // None went astray to the queue that takes what no other has.
    expect(depths.get('mqtt')).toBe(0);
  },
);

it('and consumers and operators; what is in no shard goes to the queue of all others', async () => {
  const places = await three(3);
  for (let at = 0; at < QUEUES; at++) {
    const name = `orders-${at}`;
    const [here, there, elsewhere] = turned(places, at);
    await here.admin.declare(defaultDefinition(name, 'classic'));
    const [shown] = await Promise.all([
      there.admin.show(name),
      elsewhere.user.consume(`$queue/${name}`),
    ]);
    expect(shown.definition.name).toBe(name);
  }
  const [one, two, last] = turned(places, 0);
  await expect(one.user.consume('$queue/nowhere')).rejects.toThrow('there is no such queue');
  await expect(two.admin.show('nowhere')).rejects.toThrow('there is no queue nowhere');
  await last.user.publish('$queue/nowhere', 'astray');
  expect(await two.admin.show('mqtt')).toMatchObject({ next: 1 });
});
