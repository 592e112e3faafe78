/**
 * Clients whose sessions are kept and who go from node to node of a cluster, at any moment: what is
 * under way between them and a broker they know, as the standard asks of a client (MQTT 5.0 section
 * 4.4), and nothing else.
 */

import { once } from 'node:events';
import { connect } from 'node:net';
import { expect } from 'vitest';
import type { BrokerCluster } from './broker-cluster.ts';
import { RawClient, textOf } from './mqtt-server.ts';

export async function openKept(port: number, clientId: string): Promise<RawClient> {
  const socket = connect(port, '127.0.0.1');
  await once(socket, 'connect');
  const client = new RawClient(socket, 5);
  const properties = { sessionExpiryInterval: 3600, receiveMaximum: 8 };
  await client.connect({ clientId, clean: false, properties });
  return client;
}

/** What a client has between its connections, and nothing else. */
export class Wanderer {
  readonly clientId: string;
  readonly #cluster: BrokerCluster;
  readonly #random: (below: number) => number;
  #known = false;
  client: RawClient | undefined;
  moves = 0;

  constructor(clientId: string, cluster: BrokerCluster, random: (below: number) => number) {
    this.clientId = clientId;
    this.#cluster = cluster;
    this.#random = random;
  }

  /** A session that was there must be there again. */
  async connected(): Promise<RawClient> {
    for (;;) {
      const { brokers } = this.#cluster;
      const { port } = brokers[this.#random(brokers.length)] ?? { port: 0 };
      // The one before stays open mostly: the new one takes its session.
      const client = await openKept(port, this.clientId).catch(() => undefined);
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

export interface Publishing {
  readonly topic: string;
  readonly isEnough: (sent: number) => boolean;
  /** Its PUBREC said no, and it goes once more, as another one. */
  readonly refused?: (at: number) => void;
}

/** One after the other, numbered, at QoS 2. How many that were. */
export async function publishAll(
  who: Wanderer,
  { topic, isEnough, refused }: Publishing,
): Promise<number> {
  let sent = 0;
  let isReceived = false;
  let isAgain = false;
  let client = await who.connected();
  // Nothing is under way when it stops: what got its PUBREC is counted.
  while (isReceived || isAgain || !isEnough(sent)) {
    const messageId = 1 + (sent % 3);
    if (isReceived) client.send({ cmd: 'pubrel', messageId });
    else client.publish(topic, `${sent}`, { qos: 2, messageId, dup: isAgain });
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
      refused?.(sent);
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

export interface Receiving {
  readonly isAll: (got: readonly string[]) => boolean;
  /** Said again on each connection, at QoS 2. */
  readonly filters: readonly string[];
  /** At each SUBACK. */
  readonly subscribed: () => void;
}

/** Each message that is new by its packet id. */
export async function receiveAll(
  who: Wanderer,
  { isAll, filters, subscribed }: Receiving,
): Promise<string[]> {
  const got: string[] = [];
  const held = new Set<unknown>();
  const connected = async (): Promise<RawClient> => {
    const client = await who.connected();
    const subscriptions = filters.map((topic) => ({ topic, qos: 2 }));
    client.send({ cmd: 'subscribe', messageId: 1, subscriptions });
    return client;
  };
  let client = await connected();
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
    } else if (packet?.cmd === 'suback') {
      subscribed();
    } else {
      client.destroy();
      client = await connected();
    }
  }
  client.destroy();
  return got;
}
