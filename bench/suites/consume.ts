/** Delivery from a durable queue and acknowledgement one by one, 8 consumers; against RabbitMQ. */

import { declareAmqpQueue } from '../load/amqp.ts';
import { runLoad } from '../load/load.ts';
import { startFluxmq, startRabbitmq } from '../peers/peers.ts';
import { median, perSecond } from '../report.ts';
import { scaled, type Suite } from './suite.ts';

export const consumeSuite: Suite = async (options) => {
  const ours: number[] = [];
  const theirs: number[] = [];
  const messages = scaled(640_000, options);
  const fill = { connections: 64, window: 20, payloadBytes: 256, qos: 1 } as const;
  for (let round = 0; round < options.rounds; round += 1) {
    const fluxmq = await startFluxmq(18830, []);
    try {
      const run = { ...fill, port: fluxmq.port, messages, topics: ['$queue/orders'] };
      await runLoad({ kind: 'mqtt-publish', run });
      const result = await runLoad({
        kind: 'mqtt-consume',
        run: { port: fluxmq.port, consumers: 8, messages, filter: '$queue/orders' },
      });
      options.progress(`fluxmq consume: ${perSecond(result.perSecond)}`);
      ours.push(result.perSecond);
    } finally {
      await fluxmq.stop();
    }
    const rabbitmq = await startRabbitmq(18850);
    try {
      const less = Math.floor(messages / 4 / 64) * 64;
      const run = { ...fill, port: rabbitmq.port, messages: less, topics: ['orders'] };
      await declareAmqpQueue(rabbitmq.port, 'orders', 'classic');
      await runLoad({ kind: 'amqp-publish', run });
      const result = await runLoad({
        kind: 'amqp-consume',
        run: { port: rabbitmq.port, consumers: 8, messages: less, filter: 'orders' },
      });
      options.progress(`rabbitmq consume: ${perSecond(result.perSecond)}`);
      theirs.push(result.perSecond);
    } finally {
      await rabbitmq.stop();
    }
  }
  return [
    {
      what: 'delivery from a queue and ack, 8 consumers',
      ours: perSecond(median(ours)),
      peer: `RabbitMQ ${perSecond(median(theirs))}`,
      ratio: median(ours.map((value, i) => value / (theirs[i] ?? 0))),
      target: { at: 'least', ratio: 2 },
    },
  ];
};
