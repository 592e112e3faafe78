/** One round of a kill loop: producers and one consumer at work, then SIGKILL to the broker. */

import type { MqttClient } from 'mqtt';
import type { BrokerProcess } from './broker-process.ts';
import { mqttClient, produce, type Ledger } from './ledger.ts';

const PRODUCERS = 4;

export interface KillRound {
  readonly number: number;
  readonly ledger: Ledger;
  /** What is consumed meanwhile; without it a backlog is left for the next rounds. */
  readonly filter?: string;
  /** After so many acknowledged publishes. */
  readonly killAt: number;
}

/** The broker is up; it is dead afterwards, and its clients are gone. */
export async function killUnderLoad(broker: BrokerProcess, round: KillRound): Promise<void> {
  const { number, ledger, filter, killAt } = round;
  const clients: MqttClient[] = [];
  if (filter !== undefined) {
    const consumer = mqttClient(broker.port, `consumer-${number}`);
    clients.push(consumer);
    consumer.on('message', (_topic, payload) => ledger.receive(payload));
    consumer.on('connect', () => consumer.subscribe(filter, { qos: 1 }));
  }
  let count = 0;
  await new Promise<void>((resolve) => {
    for (let i = 0; i < PRODUCERS; i += 1) {
      const name = `r${number}p${i}`;
      const producer = produce(broker.port, name, (sequence) => {
        ledger.acknowledge(name, sequence);
        count += 1;
        if (count === killAt) resolve();
      });
      clients.push(producer);
    }
  });
  await broker.kill();
  await Promise.all(clients.map((one) => one.endAsync(true)));
}
