/**
 * `npm run soak -- --minutes 30`: a broker at full load with a mix of everything: hand-backs,
 * rejections, expiring and delayed messages, three groups of which one stands still,
 * a stream with retention, a dead-letter queue that is emptied now and then. Every second
 * its memory and its disk are written down; the end is a table, a CSV and a plot.
 *
 * It judges nothing by time. It ends by itself, and leaves its data nowhere.
 */

import { appendFile, mkdir, readdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ROOT, scratchDirectory } from '../peers/peer.ts';
import { startFluxmq } from '../peers/peers.ts';
import { depths } from '../peers/metrics.ts';
import { MEAN_BYTES, Mix } from './mix.ts';
import { plot, type Sample } from './plot.ts';

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '30' },
    out: { type: 'string', default: join(ROOT, 'bench', 'results', 'soak') },
  },
});
const minutes = Number(values.minutes);
if (!(minutes > 0 && minutes <= 24 * 60)) {
  process.stderr.write('--minutes is above 0 and at most 1440\n');
  process.exit(2);
}

const PORT = 18830;
const OPS_PORT = 18831;
/** Of the stream, in samples: one a second. */
const KEPT_SECONDS = 60;
const MIB = 1024 * 1024;

async function diskBytes(directory: string): Promise<number> {
  let bytes = 0;
  for (const file of await readdir(directory, { recursive: true, withFileTypes: true })) {
    if (!file.isFile()) continue;
    // A file may be deleted between the listing and the look at it.
    const found = await stat(join(file.parentPath, file.name)).catch(() => undefined);
    bytes += (found?.blocks ?? 0) * 512;
  }
  return bytes;
}

const CONFIGURATION = {
  storage: { window: '128MiB', segment_size: '16MiB', reserve: '64MiB' },
  queues: [
    {
      name: 'work',
      delivery_limit: 4,
      retry: { min: '100ms', max: '2s' },
      max_length: { messages: 200_000, overflow: 'drop-head' },
      groups: [{ name: 'first' }, { name: 'second' }, { name: 'still' }],
    },
    { name: '$dlq/work', max_length: { messages: 100_000, overflow: 'drop-head' } },
    { name: 'stale', message_ttl: '5s' },
    { name: 'later' },
    { name: 'events', type: 'stream', retention: { age: '1m', bytes: '256MiB' } },
  ],
};

await mkdir(values.out, { recursive: true });
const scratch = await scratchDirectory('soak');
const file = join(scratch, 'broker.yaml');
await writeFile(file, JSON.stringify(CONFIGURATION));
const ops = `server.ops.addr=127.0.0.1:${OPS_PORT}`;
const peer = await startFluxmq(PORT, ['--config', file, '--set', ops]);
const data = join(peer.directory, 'data');
const mix = new Mix(PORT);
await mix.start();

const csv = join(values.out, 'soak.csv');
await writeFile(csv, 'second,resident_mib,disk_mib,wanted_mib,published,settled,cpu_seconds\n');
const samples: Sample[] = [];
/** Payload of the stream so far, of each sample. */
const streamed: number[] = [];

/** Payload that a group still has to settle or that the stream's retention keeps, about. */
async function wantedBytes(): Promise<number> {
  let messages = 0;
  for (const [queue, depth] of await depths(OPS_PORT)) if (queue !== 'events') messages += depth;
  streamed.push(mix.streamBytes);
  return messages * MEAN_BYTES + mix.streamBytes - (streamed.at(-KEPT_SECONDS) ?? 0);
}
const began = performance.now();
const end = began + minutes * 60_000;
while (performance.now() < end) {
  await new Promise((resolve) => {
    setTimeout(resolve, 1000);
  });
  const second = Math.round((performance.now() - began) / 1000);
  const sample: Sample = {
    second,
    residentMiB: (await peer.residentBytes()) / MIB,
    diskMiB: (await diskBytes(data)) / MIB,
    wantedMiB: (await wantedBytes()) / MIB,
    published: mix.published,
    settled: mix.settled,
  };
  samples.push(sample);
  const cpu = await peer.cpuSeconds();
  const { residentMiB, diskMiB, wantedMiB } = sample;
  const numbers = [residentMiB, diskMiB, wantedMiB].map((value) => value.toFixed(1));
  await appendFile(csv, `${[second, ...numbers, sample.published, sample.settled, cpu].join()}\n`);
  if (second % 10 === 0) {
    process.stdout.write(
      `${second} s: ${numbers[0]} MiB resident, ${numbers[1]} on disk, ${numbers[2]} wanted, ` +
        `${sample.published} published, ${sample.settled} settled, ${mix.refused} refused\n`,
    );
  }
}
await mix.stop();
await peer.stop();
await writeFile(join(values.out, 'soak.svg'), plot(samples));

/** The median of a stretch of the run. */
function middle(from: number, to: number, of: (sample: Sample) => number): number {
  const part = samples.slice(Math.floor(samples.length * from), Math.ceil(samples.length * to));
  const sorted = part.map(of).toSorted((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? 0;
}

const rows = [
  ['resident memory, MiB', (sample: Sample): number => sample.residentMiB],
  ['disk, MiB', (sample: Sample): number => sample.diskMiB],
  ['payload that is wanted, MiB', (sample: Sample): number => sample.wantedMiB],
] as const;
for (const [what, of] of rows) {
  const parts = [middle(0.1, 0.3, of), middle(0.4, 0.6, of), middle(0.8, 1, of)];
  process.stdout.write(
    `${what}: early ${Math.round(parts[0] ?? 0)}, middle ${Math.round(parts[1] ?? 0)}, ` +
      `late ${Math.round(parts[2] ?? 0)}\n`,
  );
}
process.stdout.write(`published ${mix.published}, settled ${mix.settled}, in ${values.out}\n`);
process.exit(0);
