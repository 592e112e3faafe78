/**
 * A user of queues for the acceptance tests: MQTT.js, unchanged, with the words of this broker as
 * functions, and a broker process with the queues that a test wants.
 *
 * Nothing here waits for a time: `take` resolves when a delivery comes, and what must not come is
 * shown by something that comes behind it.
 */

import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import mqtt, { type IClientOptions, type IPublishPacket, type MqttClient } from 'mqtt';
import { BrokerProcess, scratchDirectory } from './broker-process.ts';

export interface Taken {
  readonly topic: string;
  readonly text: string;
  readonly user: Readonly<Record<string, string>>;
  readonly packet: IPublishPacket;
  /** Answers the delivery: 0 settles it, 0x80 hands it back. */
  answer(reasonCode: number): void;
}

export interface ConsumeWishes {
  readonly group?: string;
  readonly manual?: boolean;
  readonly offset?: string;
  readonly qos?: 0 | 1 | 2;
}

export type Settle = 'ack' | 'nack' | 'reject' | 'commit';

/** A broker whose queues stand in a configuration file of its own. */
export async function brokerWith(
  name: string,
  queues: readonly object[],
  more: object = {},
): Promise<BrokerProcess> {
  const directory = await scratchDirectory(name);
  const file = join(directory, 'broker.yaml');
  await mkdir(dirname(file), { recursive: true });
  // YAML reads JSON.
  await writeFile(file, JSON.stringify({ log: { level: 'warn' }, queues, ...more }));
  return BrokerProcess.started(name, {
    dataDirectory: join(directory, 'data'),
    args: ['--config', file],
  });
}

export class QueueUser {
  readonly client: MqttClient;
  readonly #here: Taken[] = [];
  readonly #waiting: ((taken: Taken) => void)[] = [];

  private constructor(client: MqttClient) {
    this.client = client;
  }

  static async connect(
    port: number,
    clientId: string,
    options: IClientOptions = {},
  ): Promise<QueueUser> {
    let user: QueueUser | undefined;
    const client = mqtt.connect({
      host: '127.0.0.1',
      port,
      clientId,
      protocolVersion: 5,
      reconnectPeriod: 0,
      customHandleAcks: (topic, payload, packet, done) => {
        user?.arrived(topic, payload, packet as IPublishPacket, (code) => done(code));
      },
      ...options,
    });
    client.on('error', () => {
      // Brokers of these tests are stopped and killed under their clients.
    });
    user = new QueueUser(client);
    await new Promise<void>((resolve, reject) => {
      client.once('connect', () => resolve());
      client.once('close', () => reject(new Error(`${clientId} was not let in`)));
    });
    return user;
  }

  arrived(
    topic: string,
    payload: Buffer,
    packet: IPublishPacket,
    answer: (reasonCode: number) => void,
  ): void {
    const user = packet.properties?.userProperties ?? {};
    const taken: Taken = {
      topic,
      text: payload.toString(),
      user: user as Record<string, string>,
      packet,
      answer,
    };
    const waiting = this.#waiting.shift();
    if (waiting === undefined) this.#here.push(taken);
    else waiting(taken);
  }

  async publish(
    topic: string,
    text: string,
    wishes: { readonly user?: Record<string, string>; readonly expiry?: number } = {},
  ): Promise<void> {
    await this.client.publishAsync(topic, text, {
      qos: 1,
      properties: {
        ...(wishes.user === undefined ? {} : { userProperties: wishes.user }),
        ...(wishes.expiry === undefined ? {} : { messageExpiryInterval: wishes.expiry }),
      },
    });
  }

  /** Rejects with the broker's words when it does not grant it. */
  async consume(topic: string, wishes: ConsumeWishes = {}): Promise<void> {
    const userProperties = {
      ...(wishes.group === undefined ? {} : { 'consumer-group': wishes.group }),
      ...(wishes.manual === true ? { ack: 'manual' } : {}),
      ...(wishes.offset === undefined ? {} : { 'x-stream-offset': wishes.offset }),
    };
    await this.client.subscribeAsync(topic, {
      qos: wishes.qos ?? 1,
      ...(this.client.options.protocolVersion === 5 ? { properties: { userProperties } } : {}),
    });
  }

  /** The next delivery. */
  take(): Promise<Taken> {
    const here = this.#here.shift();
    if (here !== undefined) return Promise.resolve(here);
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** The next `count` deliveries, each settled by its PUBACK. */
  async settleNext(count: number): Promise<string[]> {
    const texts: string[] = [];
    for (let i = 0; i < count; i += 1) {
      const taken = await this.take();
      texts.push(taken.text);
      taken.answer(0);
    }
    return texts;
  }

  /** Deliveries that came and nobody asked for. */
  get untaken(): number {
    return this.#here.length;
  }

  /** Settles by publishing; resolves when the broker says that it is done. */
  async settle(how: Settle, { user }: Pick<Taken, 'user'>, queue = user['queue']): Promise<void> {
    await this.client.publishAsync(`$queue/${queue ?? ''}/$${how}`, '', {
      qos: 1,
      properties: {
        userProperties: {
          'message-id': user['message-id'] ?? '',
          'group-id': user['group-id'] ?? '',
        },
      },
    });
  }

  /** Its connection breaks: no DISCONNECT. */
  async die(): Promise<void> {
    const closed = new Promise<void>((resolve) => {
      this.client.once('close', () => resolve());
    });
    this.client.stream.destroy();
    await closed;
    await this.client.endAsync(true);
  }

  async leave(): Promise<void> {
    await this.client.endAsync();
  }
}
