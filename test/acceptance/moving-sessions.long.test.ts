/**
 * Sessions that go from node to node of a cluster whose nodes are killed: a publisher and a
 * subscriber at QoS 2, both with a session that is kept, lose their connection at any moment and go
 * on at any node that answers. Each message comes once, in order (C1, Q26).
 */

import { once } from 'node:events';
import { connect } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Random } from '../../jepsen/random.ts';
import { BrokerCluster } from '../support/broker-cluster.ts';
import { RawClient, textOf } from '../support/mqtt-server.ts';

const ROUNDS = 10;
const MESSAGES_MIN = 200;

let cluster: BrokerCluster;

beforeAll(async () => {
  cluster = await BrokerCluster.started('moving-sessions', {});
});
afterAll(() => cluster.remove());

async function open(port: number, clientId: string): Promise<RawClient> {
  const socket = connect(port, '127.0.0.1');
  await once(socket, 'connect');
  const client = new RawClient(socket, 5);
  const properties = { sessionExpiryInterval: 3600, receiveMaximum: 8 };
  await client.connect({ clientId, clean: false, properties });
  return client;
}

/** What a client has between its connections, and nothing else. */
class Wanderer {
  readonly clientId: string;
  readonly #random: (below: number) => number;
  #known = false;
  client: RawClient | undefined;
  moves = 0;

  constructor(clientId: string, random: (below: number) => number) {
    this.clientId = clientId;
    this.#random = random;
  }

  /** A session that was there must be there again. */
  async connected(): Promise<RawClient> {
    for (;;) {
      const { port } = cluster.brokers[this.#random(cluster.brokers.length)] ?? { port: 0 };
      // The one before stays open mostly: the new one takes its session.
      const client = await open(port, this.clientId).catch(() => undefined);
      const code = client?.connack?.['reasonCode'];
      if (client !== undefined && code === 0) {
        if (this.#known) expect(client.connack).toMatchObject({ sessionPresent: true });
        this.#known = true;
        this.client = client;
        this.moves++;
        return client;
      }
      // Nobody leads for a moment, or that node is down.
      if (code !== undefined) expect(code).toBe(0x88);
      client?.destroy();
      await new Promise((resolve) => {
        setTimeout(resolve, 20);
      });
    }
  }
}

async function publishAll(who: Wanderer, isEnough: (sent: number) => boolean): Promise<number> {
  let sent = 0;
  let isReceived = false;
  let isAgain = false;
  let client = await who.connected();
  // Nothing is under way when it stops: what got its PUBREC is counted.
  while (isReceived || isAgain || !isEnough(sent)) {
    const messageId = 1 + (sent % 3);
    if (isReceived) client.send({ cmd: 'pubrel', messageId });
    else client.publish('wander/1', `${sent}`, { qos: 2, messageId, dup: isAgain });
    const answer = await client.next();
    const isOf = answer?.['messageId'] === messageId;
    if (answer?.cmd === 'pubrec' && isOf && Number(answer['reasonCode'] ?? 0) < 0x80) {
      isReceived = true;
    } else if (answer?.cmd === 'pubcomp' && isOf) {
      sent++;
      isReceived = false;
      isAgain = false;
    } else if (answer?.cmd === 'pubrec') {
      // Refused, and its id is free: the same once more, as a new one.
      isAgain = false;
    } else {
      isAgain = true;
      client.destroy();
      client = await who.connected();
    }
  }
  client.destroy();
  return sent;
}

async function receiveAll(who: Wanderer, isAll: (got: readonly string[]) => boolean) {
  const got: string[] = [];
  const held = new Set<unknown>();
  let client = await who.connected();
  while (!isAll(got)) {
    const packet = await client.next();
    const messageId = packet?.['messageId'];
    if (packet?.cmd === 'publish') {
      if (!held.has(messageId)) got.push(textOf(packet));
      held.add(messageId);
      client.send({ cmd: 'pubrec', messageId });
    } else if (packet?.cmd === 'pubrel') {
      held.delete(messageId);
      client.send({ cmd: 'pubcomp', messageId });
    } else {
      client.destroy();
      client = await who.connected();
    }
  }
  client.destroy();
  return got;
}

test('each message once, in order, over kills of nodes and moves of both clients', async () => {
  const numbers = new Random(20_261_127);
  const random = (below: number): number => numbers.whole(0, below - 1);
  const publisher = new Wanderer('publisher', random);
  const subscriber = new Wanderer('subscriber', random);
  let isOver = false;
  let count = -1;
  // What is published before SUBACK is nobody's.
  await (await subscriber.connected()).subscribe('wander/#', 2);
  const received = receiveAll(subscriber, (got) => count >= 0 && got.length >= count);
  const published = publishAll(publisher, (sent) => isOver && sent >= MESSAGES_MIN);
  for (let round = 0; round < ROUNDS; round++) {
    const broker = cluster.brokers[random(cluster.brokers.length)];
    await broker?.kill();
    await broker?.start();
    // Neither is told: each finds another owner, or the end of its connection.
    const moved = [publisher, subscriber][round % 2];
    moved?.client?.destroy();
  }
  isOver = true;
  count = await published;
  // It may wait for what has come already.
  subscriber.client?.destroy();
  const got = await received;
  expect(got).toEqual(Array.from({ length: count }, (_, at) => `${at}`));
  expect(publisher.moves + subscriber.moves).toBeGreaterThan(ROUNDS);
});

test('a client that connects elsewhere takes its session: the older connection is told 0x8E', async () => {
  const [one, two] = cluster.brokers;
  const first = await open(one?.port ?? 0, 'taken');
  await first.subscribe('taken', 1);
  const second = await open(two?.port ?? 0, 'taken');
  expect(second.connack).toMatchObject({ reasonCode: 0, sessionPresent: true });
  expect(await first.ended()).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x8e }]);
  const third = cluster.brokers[2];
  const other = await open(third?.port ?? 0, 'other');
  other.publish('taken', 'x', { qos: 1, messageId: 1 });
  await other.expect('puback');
  expect(textOf(await second.expect('publish'))).toBe('x');
  second.destroy();
  other.destroy();
});
