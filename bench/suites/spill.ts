/**
 * The p99 of a publish while payloads are spilled into runs and runs are rewritten, against the
 * same load inside the window.
 */

import { runLoad } from '../load/load.ts';
import { startFluxmq } from '../peers/peers.ts';
import { median } from '../report.ts';
import { scaled, type Suite, type SuiteOptions } from './suite.ts';

const PORT = 18830;
/** Many small spills, so that one is under way nearly all the time. */
const BUSY = ['--set', 'storage.window=16MiB', '--set', 'storage.segment_size=8MiB'];

async function p99(settings: readonly string[], options: SuiteOptions): Promise<number> {
  const messages = scaled(600_000, options);
  const peer = await startFluxmq(PORT, settings);
  try {
    const run = {
      port: PORT,
      connections: 16,
      window: 4,
      payloadBytes: 1024,
      messages,
      topics: ['$queue/orders', '$queue/mqtt'],
      qos: 1,
    } as const;
    // Half of it is taken again, so that runs lose what they hold and are rewritten.
    const consume = { port: PORT, consumers: 2, messages: Math.floor(messages / 4) };
    const taking = runLoad({ kind: 'mqtt-consume', run: { ...consume, filter: '$queue/orders' } });
    const { p99Ms } = await runLoad({ kind: 'mqtt-publish', run });
    await taking;
    return p99Ms;
  } finally {
    await peer.stop();
  }
}

export const spillSuite: Suite = async (options) => {
  const busy: number[] = [];
  const calm: number[] = [];
  for (let round = 0; round < options.rounds; round += 1) {
    calm.push(await p99([], options));
    busy.push(await p99(BUSY, options));
    options.progress(`p99 with spills ${busy.at(-1)} ms, without ${calm.at(-1)} ms`);
  }
  return [
    {
      what: 'p99 of a publish while spills and compactions run',
      ours: `${median(busy).toFixed(2)} ms`,
      peer: `without ${median(calm).toFixed(2)} ms`,
      ratio: median(busy.map((value, i) => value / (calm[i] ?? 0))),
      target: { at: 'most', ratio: 3 },
    },
  ];
};
