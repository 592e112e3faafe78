/**
 * D1: a broker process under load is killed with SIGKILL at random moments, again and again on the same data;
 * in the end every acknowledged message is there, in order, whole, and once in a single drain.
 *
 * The moment of each kill is random and decides nothing: only what was acknowledged before it counts.
 */

import { crc32 } from 'node:zlib';
import mqtt, { type MqttClient } from 'mqtt';
import { afterEach, expect, test } from 'vitest';
import { BrokerProcess } from '../support/broker-process.ts';

const KILLS = Number(process.env['CRASH_KILLS'] ?? 50);
const PRODUCERS = 4;
const IN_FLIGHT = 40;

let broker: BrokerProcess | undefined;
afterEach(async () => {
  await broker?.remove();
  broker = undefined;
});

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

function client(port: number, clientId: string): MqttClient {
  const made = mqtt.connect({ host: '127.0.0.1', port, clientId, reconnectPeriod: 0 });
  made.on('error', () => {
    // Killed brokers reset connections: that is the point of the test.
  });
  return made;
}

/** Publishes until the broker is gone; tells each acknowledged sequence. */
function produce(port: number, name: string, acknowledged: (sequence: number) => void): MqttClient {
  const producer = client(port, name);
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

class Ledger {
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

async function oneRound(current: BrokerProcess, round: number, ledger: Ledger): Promise<void> {
  await current.start();
  const clients: MqttClient[] = [];
  const consumer = client(current.port, `consumer-${round}`);
  clients.push(consumer);
  consumer.on('message', (_topic, payload) => ledger.receive(payload));
  // In a third of the rounds nobody consumes, so that a backlog is left for the next ones.
  if (round % 3 !== 0) {
    consumer.on('connect', () => consumer.subscribe('$queue/orders', { qos: 1 }));
  }
  let count = 0;
  await new Promise<void>((resolve) => {
    const killAt = 20 + Math.floor(Math.random() * 400);
    for (let i = 0; i < PRODUCERS; i += 1) {
      const name = `r${round}p${i}`;
      const producer = produce(current.port, name, (sequence) => {
        ledger.acknowledge(name, sequence);
        count += 1;
        if (count === killAt) resolve();
      });
      clients.push(producer);
    }
  });
  await current.kill();
  await Promise.all(clients.map((one) => one.endAsync(true)));
}

/** One consumer drains the queue up to a marker that was published last: order decides, not time. */
async function drain(current: BrokerProcess, ledger: Ledger): Promise<void> {
  await current.start();
  const lastSeen = new Map<string, number>();
  const consumer = client(current.port, 'drain');
  const marker = client(current.port, 'marker');
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
      consumer.subscribe('$queue/orders', { qos: 1 });
    });
  });
  await Promise.all([consumer.endAsync(), marker.endAsync()]);
}

test(
  `D1: after ${KILLS} SIGKILLs under load every acknowledged message is there, in order and whole`,
  { timeout: 300_000 },
  async () => {
    broker = await BrokerProcess.prepare('kill-loop', {
      args: ['--set', 'storage.segment_size=1MiB', '--set', 'log.level=error'],
    });
    const ledger = new Ledger();
    for (let round = 0; round < KILLS; round += 1) await oneRound(broker, round, ledger);
    await drain(broker, ledger);
    expect(ledger.missing()).toEqual([]);
    expect(await broker.stop()).toBe(0);
  },
);
