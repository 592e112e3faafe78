/** A pair of clients that means well, beside others that do not (bench/load/hostile-peers.ts). */

import mqtt from 'mqtt';
import { eventually } from '../../bench/load/hostile-peers.ts';

const BETWEEN_MS = 2;

/** Publishes one after the other at QoS 1, and hears each: MQTT.js, which says when it is cut. */
export class GoodPair {
  readonly heard = new Set<number>();
  sent = 0;
  cut = 0;
  #stopped = false;
  #done: Promise<void> = Promise.resolve();
  readonly #clients: mqtt.MqttClient[] = [];

  async start(port: number): Promise<void> {
    const one = (clientId: string): Promise<mqtt.MqttClient> =>
      mqtt.connectAsync(`mqtt://127.0.0.1:${port}`, { clientId, protocolVersion: 5 });
    const [publisher, subscriber] = [await one('good-publisher'), await one('good-subscriber')];
    this.#clients.push(publisher, subscriber);
    for (const client of this.#clients) client.on('close', () => this.cut++);
    subscriber.on('message', (_topic, payload) => this.heard.add(Number(payload.toString())));
    await subscriber.subscribeAsync('good/pair', { qos: 1 });
    this.#done = this.#publishOn(publisher);
  }

  async #publishOn(publisher: mqtt.MqttClient): Promise<void> {
    while (!this.#stopped) {
      await publisher.publishAsync('good/pair', String(this.sent), { qos: 1 });
      this.sent++;
      await new Promise((done) => {
        setTimeout(done, BETWEEN_MS);
      });
    }
  }

  /** Resolves when all that it sent is heard. */
  async finish(): Promise<void> {
    this.#stopped = true;
    await this.#done;
    await eventually('the pair has heard all', () => this.heard.size === this.sent);
  }

  async end(): Promise<void> {
    this.#stopped = true;
    // Where the test failed, a publish may be under way.
    this.#done.catch(() => undefined);
    for (const client of this.#clients) await client.endAsync(true);
  }
}
