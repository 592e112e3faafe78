/**
 * The clients of the soak: MQTT.js, unchanged. Publishers keep a window of unacknowledged messages,
 * so that the load is as much as the broker takes; workers settle by hand or by PUBACK.
 */

import mqtt, { type IPublishPacket, type MqttClient } from 'mqtt';

const WINDOW = 40;
const PUBLISHERS = 4;
const REJECT_EVERY = 997;
const NACK_EVERY = 101;
const EMPTY_DLQ_MS = 60_000;
const SIZES = [64, 256, 1024, 4096];
export const MEAN_BYTES = SIZES.reduce((sum, size) => sum + size, 0) / SIZES.length;
const STREAM_TOPIC = '$queue/events/soak';

type Properties = Record<string, string>;

export class Mix {
  published = 0;
  settled = 0;
  refused = 0;
  /** Payload published to the stream. */
  streamBytes = 0;
  readonly #port: number;
  readonly #clients: MqttClient[] = [];
  #stopped = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(port: number) {
    this.#port = port;
  }

  async start(): Promise<void> {
    for (const group of ['first', 'second']) {
      await this.#work(`${group}-1`, group);
      await this.#work(`${group}-2`, group);
    }
    await this.#read('events-1', '$queue/events');
    await this.#read('later-1', '$queue/later');
    for (let i = 0; i < PUBLISHERS; i += 1) await this.#publish(`publisher-${i}`, i);
    this.#timer = setInterval(() => void this.#emptyDeadLetters(), EMPTY_DLQ_MS);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearInterval(this.#timer);
    await Promise.all(this.#clients.map((client) => client.endAsync(true)));
  }

  async #client(clientId: string): Promise<MqttClient> {
    const client = await mqtt.connectAsync({
      host: '127.0.0.1',
      port: this.#port,
      clientId,
      protocolVersion: 5,
      reconnectPeriod: 0,
    });
    client.on('close', () => {
      if (!this.#stopped) throw new Error(`${clientId} lost its connection`);
    });
    this.#clients.push(client);
    return client;
  }

  /** Where the message in place `n` goes, and what it asks for. */
  async #publish(name: string, seed: number): Promise<void> {
    const client = await this.#client(name);
    const payloads = SIZES.map((size) => Buffer.alloc(size, 'x'));
    let n = seed;
    const send = (): void => {
      if (this.#stopped) return;
      n += 1;
      const { topic, properties } = destination(n);
      const payload = payloads[n % payloads.length] as Buffer;
      client.publish(topic, payload, { qos: 1, properties }, (error) => {
        if (error) this.refused += 1;
        else {
          this.published += 1;
          if (topic === STREAM_TOPIC) this.streamBytes += payload.length;
        }
        send();
      });
    };
    for (let i = 0; i < WINDOW; i += 1) send();
  }

  async #work(clientId: string, group: string): Promise<void> {
    const client = await this.#client(clientId);
    let n = 0;
    client.on('message', (_topic, _payload, packet) => {
      n += 1;
      let how = 'ack';
      if (n % REJECT_EVERY === 0) how = 'reject';
      else if (n % NACK_EVERY === 0) how = 'nack';
      const told = (packet.properties?.userProperties ?? {}) as Properties;
      const userProperties = {
        'message-id': told['message-id'] ?? '',
        'group-id': told['group-id'] ?? '',
      };
      client.publish(
        `$queue/work/$${how}`,
        '',
        { qos: 1, properties: { userProperties } },
        (error) => {
          if (!error && how !== 'nack') this.settled += 1;
        },
      );
    });
    const userProperties = { 'consumer-group': group, ack: 'manual' };
    await client.subscribeAsync('$queue/work', { qos: 1, properties: { userProperties } });
  }

  async #read(clientId: string, topic: string): Promise<void> {
    const client = await this.#client(clientId);
    client.on('packetsend', (packet) => {
      if (packet.cmd === 'puback') this.settled += 1;
    });
    client.on('message', (_topic: string, _payload: Buffer, _packet: IPublishPacket) => undefined);
    await client.subscribeAsync(topic, { qos: 1 });
  }

  async #leave(client: MqttClient): Promise<void> {
    this.#clients.splice(this.#clients.indexOf(client), 1);
    client.removeAllListeners('close');
    await client.endAsync();
  }

  async #emptyDeadLetters(): Promise<void> {
    if (this.#stopped) return;
    const client = await this.#client(`undertaker-${Date.now()}`);
    client.on('message', () => {
      this.settled += 1;
    });
    await client.subscribeAsync('$queue/$dlq/work', { qos: 1 });
    setTimeout(() => void this.#leave(client), 5_000).unref();
  }
}

interface Destination {
  readonly topic: string;
  readonly properties: {
    readonly userProperties?: Properties;
    readonly messageExpiryInterval?: number;
  };
}

/** Seven of ten to the groups, one each to the stream, the stale and the delayed ones. */
function destination(n: number): Destination {
  switch (n % 10) {
    case 7:
      return { topic: STREAM_TOPIC, properties: {} };
    case 8:
      return { topic: '$queue/stale', properties: { messageExpiryInterval: 3 } };
    case 9: {
      const delay = String(1000 + (n % 20) * 500);
      return { topic: '$queue/later', properties: { userProperties: { 'x-delay': delay } } };
    }
    default:
      return { topic: `$queue/work/${n % 3}`, properties: {} };
  }
}
