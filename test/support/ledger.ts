/**
 * What crash tests know of each message: which were acknowledged, which came back, and that each is
 * whole and in its producer's order. MQTT.js is the client, unchanged.
 */

import { crc32 } from 'node:zlib';
import mqtt, { type MqttClient } from 'mqtt';
import { expect } from 'vitest';
import type { BrokerProcess } from './broker-process.ts';

const IN_FLIGHT = 40;

/** `producer|sequence|padding|checksum`, of 40 to 2,100 bytes. */
function body(producer: string, sequence: number): string {
  const text = `${producer}|${sequence}|${'x'.repeat((sequence * 37) % 2048)}`;
  return `${text}|${crc32(text)}`;
}

function parseBody(payload: string): { producer: string; sequence: number } {
  const cut = payload.lastIndexOf('|');
  expect(Number(payload.slice(cut + 1)), 'payload checksum').toBe(crc32(payload.slice(0, cut)));
  const [producer = '', sequence = ''] = payload.split('|');
  return { producer, sequence: Number(sequence) };
}

export function mqttClient(port: number, clientId: string): MqttClient {
  const made = mqtt.connect({ host: '127.0.0.1', port, clientId, reconnectPeriod: 0 });
  made.on('error', () => {
    // Killed brokers reset connections: that is the point of the test.
  });
  return made;
}

/** Publishes until the broker is gone; tells each acknowledged sequence. */
export function produce(
  port: number,
  name: string,
  acknowledged: (sequence: number) => void,
): MqttClient {
  const producer = mqttClient(port, name);
  let next = 0;
  const send = (): void => {
    const sequence = next;
    next += 1;
    producer.publish('$queue/orders', body(name, sequence), { qos: 1 }, (error) => {
      if (error) return;
      acknowledged(sequence);
      send();
    });
  };
  producer.on('connect', () => {
    for (let i = 0; i < IN_FLIGHT; i += 1) send();
  });
  return producer;
}

export class Ledger {
  readonly acknowledged = new Map<string, number[]>();
  readonly received = new Map<string, Set<number>>();

  acknowledge(producer: string, sequence: number): void {
    const list = this.acknowledged.get(producer);
    if (list === undefined) this.acknowledged.set(producer, [sequence]);
    else list.push(sequence);
  }

  receive(payload: Buffer): { producer: string; sequence: number } {
    const one = parseBody(payload.toString());
    const seen = this.received.get(one.producer);
    if (seen === undefined) this.received.set(one.producer, new Set([one.sequence]));
    else seen.add(one.sequence);
    return one;
  }

  missing(): string[] {
    const out: string[] = [];
    for (const [producer, sequences] of this.acknowledged) {
      const seen = this.received.get(producer);
      for (const sequence of sequences) {
        if (seen?.has(sequence) !== true) out.push(`${producer}|${sequence}`);
      }
    }
    return out;
  }
}

/**
 * One consumer drains the queue up to a marker that was published last: order decides, not time.
 * `filter` names the queue, and the group if it is not the default one.
 */
export async function drain(
  current: BrokerProcess,
  ledger: Ledger,
  filter = '$queue/orders',
): Promise<void> {
  if (current.pid === 0) await current.start();
  const lastSeen = new Map<string, number>();
  const consumer = mqttClient(current.port, 'drain');
  const marker = mqttClient(current.port, 'marker');
  await new Promise<void>((resolve, reject) => {
    consumer.on('message', (_topic, payload) => {
      try {
        if (payload.toString() === 'the end') {
          resolve();
          return;
        }
        const { producer, sequence } = ledger.receive(payload);
        const before = lastSeen.get(producer) ?? -1;
        expect(sequence, `order of ${producer} in the drain`).toBeGreaterThan(before);
        lastSeen.set(producer, sequence);
      } catch (error) {
        reject(error as Error);
      }
    });
    marker.publish('$queue/orders', 'the end', { qos: 1 }, () => {
      consumer.subscribe(filter, { qos: 1 });
    });
  });
  await Promise.all([consumer.endAsync(), marker.endAsync()]);
}
