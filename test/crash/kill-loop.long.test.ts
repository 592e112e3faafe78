/**
 * D1: a broker process under load is killed with SIGKILL at random moments, again and again on the
 * same data; in the end every acknowledged message is there, in order, whole, and once in a single
 * drain.
 *
 * The moment of each kill is random and decides nothing: only what was acknowledged before it
 * counts.
 */

import type { MqttClient } from 'mqtt';
import { afterEach, expect, test } from 'vitest';
import { BrokerProcess } from '../support/broker-process.ts';
import { drain, Ledger, mqttClient, produce } from '../support/ledger.ts';

const KILLS = Number(process.env['CRASH_KILLS'] ?? 50);
const PRODUCERS = 4;

let broker: BrokerProcess | undefined;
afterEach(async () => {
  await broker?.remove();
  broker = undefined;
});

async function oneRound(current: BrokerProcess, round: number, ledger: Ledger): Promise<void> {
  await current.start();
  const clients: MqttClient[] = [];
  const consumer = mqttClient(current.port, `consumer-${round}`);
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
