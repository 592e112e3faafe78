/**
 * QoS 1 publishes into a durable queue, 64 publishers, 256 B, every acknowledgement after its sync;
 * against RabbitMQ (durable queue, persistent messages, confirms) and Mosquitto (QoS 1, which syncs
 * nothing).
 */

import { declareAmqpQueue } from '../load/amqp.ts';
import { runLoad } from '../load/load.ts';
import { startFluxmq, startMosquitto, startRabbitmq } from '../peers/peers.ts';
import { fresh, type Peer } from '../peers/peer.ts';
import { median, perSecond, type Finding } from '../report.ts';
import { scaled, type Suite, type SuiteOptions } from './suite.ts';

const CONNECTIONS = 64;
const PAYLOAD_BYTES = 256;

async function measure(
  peer: Peer,
  kind: 'mqtt-publish' | 'amqp-publish',
  window: number,
  messages: number,
  options: SuiteOptions,
): Promise<number> {
  const topic = kind === 'mqtt-publish' ? '$queue/orders' : 'orders';
  const run = {
    port: peer.port,
    connections: CONNECTIONS,
    window,
    payloadBytes: PAYLOAD_BYTES,
    messages,
    topics: [topic],
    qos: 1,
  } as const;
  if (kind === 'amqp-publish') await declareAmqpQueue(peer.port, topic, 'classic');
  const result = await runLoad({ kind, run });
  const rate = perSecond(result.perSecond);
  options.progress(
    `${peer.name} window ${window}: ${rate}, p50 ${result.p50Ms} ms, p99 ${result.p99Ms} ms`,
  );
  return result.perSecond;
}

export const publishSuite: Suite = async (options) => {
  const findings: Finding[] = [];
  for (const window of [1, 20]) {
    const ours: number[] = [];
    const rabbitmq: number[] = [];
    const mosquitto: number[] = [];
    const count = scaled(window === 1 ? 300_000 : 1_500_000, options);
    for (let round = 0; round < options.rounds; round += 1) {
      const fluxmq = await fresh(
        () => startFluxmq(18830, []),
        (peer) => measure(peer, 'mqtt-publish', window, count, options),
      );
      ours.push(fluxmq);
      const mosquittoRate = await fresh(
        () => startMosquitto(18840),
        (peer) => measure(peer, 'mqtt-publish', window, count, options),
      );
      mosquitto.push(mosquittoRate);
      const rabbitRate = await fresh(
        () => startRabbitmq(18850),
        (peer) => measure(peer, 'amqp-publish', window, Math.floor(count / 10), options),
      );
      rabbitmq.push(rabbitRate);
    }
    const what = `QoS 1 publishes into a durable queue, window ${window}`;
    const mine = perSecond(median(ours));
    findings.push(
      {
        what,
        ours: mine,
        peer: `RabbitMQ ${perSecond(median(rabbitmq))}`,
        ratio: median(ours.map((value, i) => value / (rabbitmq[i] ?? 0))),
        target: { at: 'least', ratio: 3 },
      },
      {
        what,
        ours: mine,
        peer: `Mosquitto, no sync, ${perSecond(median(mosquitto))}`,
        ratio: median(ours.map((value, i) => value / (mosquitto[i] ?? 0))),
        target: { at: 'least', ratio: window === 1 ? 0.3 : 2 },
      },
    );
  }
  return findings;
};
