/**
 * A broker that starts while nobody leads one of the shards: it takes clients for the others, says
 * that it does without, refuses what it cannot know, and is whole when the shard is led again.
 *
 * And a shard that is made while the brokers run, which others than those that ask may have used.
 *
 * Each shard behind the first lies on one node alone, so that one dead node is enough for that.
 */

import { once } from 'node:events';
import { connect } from 'node:net';
import { afterEach, expect, it, vi } from 'vitest';
import { defaultDefinition } from '../../src/machine/default-definition.ts';
import { type QueueId, shardOf } from '../../src/machine/ids.ts';
import { withAdmin } from '../support/broker-admin.ts';
import { BrokerCluster } from '../support/broker-cluster.ts';
import type { BrokerProcess } from '../support/broker-process.ts';
import { RawClient, type ServerPacket } from '../support/mqtt-server.ts';
import { QueueUser, Refused, queueShown, until } from '../support/queue-user.ts';

vi.setConfig({ testTimeout: 180_000 });

const CLUSTER = { shards: 3, replicas: 1, start_grace: '100ms' };
const DOES_WITHOUT = 'clients are taken without shards that nobody leads';

let cluster: BrokerCluster | undefined;
const users: QueueUser[] = [];

afterEach(async () => {
  await Promise.all(users.splice(0).map((user) => user.die()));
  await cluster?.remove();
  cluster = undefined;
});

async function user(broker: BrokerProcess): Promise<QueueUser> {
  const connected = await QueueUser.connect(broker.port, `user-${users.length}`);
  users.push(connected);
  return connected;
}

/** Its session is kept, and goes on where there is one. */
async function sessionClient({ port }: BrokerProcess, clientId: string): Promise<RawClient> {
  const socket = connect(port, '127.0.0.1');
  await once(socket, 'connect');
  const client = new RawClient(socket, 5);
  const properties = { sessionExpiryInterval: 3600 };
  await client.connect({ clientId, clean: false, properties });
  return client;
}

/** Its CONNACK. */
async function session(at: BrokerProcess, clientId: string): Promise<ServerPacket | undefined> {
  const client = await sessionClient(at, clientId);
  client.send({ cmd: 'disconnect' });
  client.destroy();
  return client.connack;
}

/** What a session that goes on hears to a PUBREL. */
async function released(at: BrokerProcess, clientId: string): Promise<ServerPacket | undefined> {
  const client = await sessionClient(at, clientId);
  expect(client.connack).toMatchObject({ reasonCode: 0, sessionPresent: true });
  client.send({ cmd: 'pubrel', messageId: 5, reasonCode: 0 });
  const answer = await client.next();
  client.destroy();
  return answer;
}

async function shardBehindZero(of: BrokerProcess): Promise<number | undefined> {
  const { replicas } = await withAdmin(of, (admin) => admin.cluster.status());
  return replicas.find(({ shard }) => shard !== 0)?.shard;
}

/** Declares queues until one of them lies in that shard; gives its name. */
async function queueIn(shard: number, at: BrokerProcess): Promise<string> {
  for (let nth = 0; ; nth++) {
    const name = `q${shard}-${nth}`;
    await withAdmin(at, (admin) => admin.declare(defaultDefinition(name, 'classic')));
    const { queueId } = await queueShown(at, name);
    if (shardOf(queueId as QueueId) === shard) return name;
  }
}

it('a start goes on without a shard that nobody leads, and has it when it is led', async () => {
  cluster = await BrokerCluster.started('unled-shard', {
    cluster: CLUSTER,
    shards: { ack_timeout: '1s' },
  });
  const [one, , three] = cluster.brokers as [BrokerProcess, BrokerProcess, BrokerProcess];
  let unled: number | undefined;
  await until(async () => (unled = await shardBehindZero(three)) !== undefined);
  const far = await queueIn(unled ?? 0, one);
  const near = await queueIn(0, one);
  expect(await session(one, 'kept')).toMatchObject({ reasonCode: 0 });
  await three.kill();
  await one.kill();
  await one.start();
  expect(one.output).toContain(DOES_WITHOUT);

  const publisher = await user(one);
  await publisher.publish(`$queue/${near}`, 'while one is away');
  const consumer = await user(one);
  await consumer.consume(`$queue/${near}`);
  expect(await consumer.settleNext(1)).toEqual(['while one is away']);
  await expect(publisher.publish(`$queue/${far}`, 'x')).rejects.toThrow(Refused);
  await expect(publisher.publish('ordinary', 'x')).rejects.toThrow(Refused);
  expect(await session(one, 'kept')).toMatchObject({ reasonCode: 0x88 });
  await withAdmin(one, async (admin) => {
    await expect(admin.list('', 10)).rejects.toThrow('no leader of it is reached');
  });
  // What waits for that shard is no reason to end otherwise.
  expect(await one.stop()).toBe(0);
  await one.start();

  await three.start();
  // As soon as no shard is missing.
  await until(() =>
    withAdmin(one, (admin) => admin.list('', 10)).then(
      () => true,
      () => false,
    ),
  );
  expect(one.output).toContain('a leader of the shard is reached');
  const again = await user(one);
  await again.publish(`$queue/${far}`, 'all are there');
  await again.consume(`$queue/${far}`);
  expect(await again.settleNext(1)).toEqual(['all are there']);
  await again.publish('ordinary', 'x');
  expect(await session(one, 'kept')).toMatchObject({ reasonCode: 0, sessionPresent: true });
  const listed = await withAdmin(one, (admin) => admin.list('', 10));
  expect(listed.map(({ definition }) => definition.name)).toEqual(
    expect.arrayContaining([far, near]),
  );
});

it('a shard that is made while its only node is away is missed where all are needed', async () => {
  cluster = await BrokerCluster.started('made-shard', {
    cluster: CLUSTER,
    shards: { ack_timeout: '1s' },
  });
  const [one, two, three] = cluster.brokers as [BrokerProcess, BrokerProcess, BrokerProcess];
  const list = (): Promise<unknown> => withAdmin(three, (admin) => admin.list('', 10));
  await until(async () => {
    const shown = await withAdmin(three, (admin) => admin.cluster.status());
    return shown.replicas.length + shown.elsewhere.length === 3;
  });
  expect(await session(two, 'kept')).toMatchObject({ reasonCode: 0 });
  expect(await released(three, 'kept')).toMatchObject({ cmd: 'pubcomp' });
  await one.kill();
  // The first of the nodes founds shard 3, as the next one in turn.
  await until(async () => {
    const made = await withAdmin(two, (admin) => admin.cluster.addShard(3));
    return made.kind === 'accepted';
  });
  await expect(list()).rejects.toThrow('which queues shard 3 has is not known');
  expect(await released(three, 'kept')).toMatchObject({ cmd: 'disconnect', reasonCode: 0x83 });

  await one.start();
  await until(() =>
    list().then(
      () => true,
      () => false,
    ),
  );
  expect(await released(three, 'kept')).toMatchObject({ cmd: 'pubcomp' });
});
