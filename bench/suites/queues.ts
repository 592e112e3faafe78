/**
 * 10,000 queues written round robin against one queue: the same publishers, the same broker
 * settings.
 */

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runLoad } from '../load/load.ts';
import { startFluxmq } from '../peers/peers.ts';
import { scratchDirectory } from '../peers/peer.ts';
import { median, perSecond } from '../report.ts';
import { scaled, type Suite } from './suite.ts';

export const queuesSuite: Suite = async (options) => {
  const names = Array.from({ length: 10_000 }, (_, i) => `q${i}`);
  const directory = await scratchDirectory('queues');
  const file = join(directory, 'queues.yaml');
  await writeFile(file, `queues:\n${names.map((name) => `  - name: ${name}\n`).join('')}`);
  const messages = scaled(1_500_000, options);
  const rates = new Map<number, number[]>([
    [1, []],
    [10_000, []],
  ]);
  for (let round = 0; round < options.rounds; round += 1) {
    for (const [count, list] of rates) {
      const peer = await startFluxmq(18830, ['--config', file]);
      try {
        const topics = names.slice(0, count).map((name) => `$queue/${name}`);
        const result = await runLoad({
          kind: 'mqtt-publish',
          run: {
            port: peer.port,
            connections: 64,
            window: 20,
            payloadBytes: 256,
            messages,
            topics,
            qos: 1,
          },
        });
        options.progress(`${count} queues: ${perSecond(result.perSecond)}`);
        list.push(result.perSecond);
      } finally {
        await peer.stop();
      }
    }
  }
  const one = rates.get(1) ?? [];
  const many = rates.get(10_000) ?? [];
  return [
    {
      what: '10,000 queues written round robin, against one queue',
      ours: perSecond(median(many)),
      peer: `one queue ${perSecond(median(one))}`,
      ratio: median(many.map((value, i) => value / (one[i] ?? 0))),
      target: { at: 'least', ratio: 0.67 },
    },
  ];
};
