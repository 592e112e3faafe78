/**
 * Three groups with filters on one queue against three queues: the same deliveries, for each second
 * of the broker's CPU.
 */

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runLoad } from '../load/load.ts';
import { startFluxmq } from '../peers/peers.ts';
import { scratchDirectory } from '../peers/peer.ts';
import { median, perSecond } from '../report.ts';
import { scaled, type Suite } from './suite.ts';

const PORT = 18830;
const KINDS = ['a', 'b', 'c'] as const;

interface Side {
  readonly topics: readonly string[];
  readonly filters: readonly string[];
}

const ONE_QUEUE: Side = {
  topics: KINDS.map((kind) => `$queue/one/${kind}`),
  filters: KINDS.map((kind) => `$share/${kind}/$queue/one/${kind}`),
};
const THREE_QUEUES: Side = {
  topics: KINDS.map((kind) => `$queue/${kind}`),
  filters: KINDS.map((kind) => `$queue/${kind}`),
};

/** Publishes everything, then each group takes its third at the same time. */
async function measure(file: string, side: Side, messages: number): Promise<number> {
  const peer = await startFluxmq(PORT, ['--config', file]);
  try {
    // The groups are there before the messages, as in a system that runs.
    const share = Math.floor(messages / 64 / 3) * 64;
    const publish = { port: PORT, connections: 63, window: 20, payloadBytes: 256, qos: 1 } as const;
    const before = await peer.cpuSeconds();
    await runLoad({
      kind: 'mqtt-publish',
      run: { ...publish, messages: share * 3, topics: side.topics },
    });
    await Promise.all(
      side.filters.map((filter) =>
        runLoad({
          kind: 'mqtt-consume',
          run: { port: PORT, consumers: 2, messages: Math.floor(share * 0.95), filter },
        }),
      ),
    );
    return (share * 3 * 0.95) / ((await peer.cpuSeconds()) - before);
  } finally {
    await peer.stop();
  }
}

export const groupsSuite: Suite = async (options) => {
  const messages = scaled(600_000, options);
  const directory = await scratchDirectory('groups');
  const file = join(directory, 'broker.yaml');
  const groups = KINDS.map((kind) => ({ name: kind, filter: kind }));
  const queues = [{ name: 'one', groups }, ...KINDS.map((name) => ({ name }))];
  await writeFile(file, JSON.stringify({ queues }));
  const ours: number[] = [];
  const theirs: number[] = [];
  for (let round = 0; round < options.rounds; round += 1) {
    ours.push(await measure(file, ONE_QUEUE, messages));
    theirs.push(await measure(file, THREE_QUEUES, messages));
    const told = [ours, theirs].map((list) => perSecond(list.at(-1) ?? 0));
    options.progress(`three groups with filters ${told[0]}, three queues ${told[1]}, a CPU-second`);
  }
  return [
    {
      what: 'three groups with filters on one queue, deliveries a CPU-second',
      ours: perSecond(median(ours)),
      peer: `three queues ${perSecond(median(theirs))}`,
      ratio: median(ours.map((value, i) => value / (theirs[i] ?? 0))),
      target: { at: 'least', ratio: 0.8 },
    },
  ];
};
