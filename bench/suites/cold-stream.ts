/**
 * A stream that is read from its start by a reader who comes late, after a restart with cold
 * caches; against reading the files, and against what the broker delivers when the messages are in
 * memory.
 */

import { createReadStream } from 'node:fs';
import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runLoad } from '../load/load.ts';
import { startFluxmq } from '../peers/peers.ts';
import { scratchDirectory } from '../peers/peer.ts';
import { median } from '../report.ts';
import { scaled, type Suite } from './suite.ts';

const PORT = 18830;
const PAYLOAD_BYTES = 1024;
const MIB = 1024 * 1024;

/** Cold means: not in the memory of the system either. Without the right to say so, it is warm. */
async function dropCaches(): Promise<void> {
  await writeFile('/proc/sys/vm/drop_caches', '3').catch(() => undefined);
}

async function readFiles(directory: string): Promise<number> {
  const files = await readdir(directory, { recursive: true, withFileTypes: true });
  let bytes = 0;
  const began = performance.now();
  for (const file of files) {
    if (!file.isFile() || !/\.(log|run)$/.test(file.name)) continue;
    const path = join(file.parentPath, file.name);
    for await (const chunk of createReadStream(path, { highWaterMark: MIB })) {
      bytes += (chunk as Buffer).length;
    }
  }
  return bytes / ((performance.now() - began) / 1000);
}

async function consume(group: string, messages: number): Promise<number> {
  const filter = `$share/${group}/$queue/events`;
  const run = { port: PORT, consumers: 1, messages, filter };
  const { perSecond } = await runLoad({ kind: 'mqtt-consume', run });
  return perSecond * PAYLOAD_BYTES;
}

export const coldStreamSuite: Suite = async (options) => {
  const messages = scaled(1_500_000, options);
  const whole = Math.floor(messages / 64) * 64;
  const directory = await scratchDirectory('cold-stream');
  const file = join(directory, 'broker.yaml');
  const data = join(directory, 'kept');
  const queues = [{ name: 'events', type: 'stream', group_start: 'first' }];
  await writeFile(file, JSON.stringify({ queues }));
  const start = ['--config', file, '--data-dir', data, '--set', 'storage.window=256MiB'];
  let peer = await startFluxmq(PORT, start);
  const publish = {
    port: PORT,
    connections: 64,
    window: 20,
    payloadBytes: PAYLOAD_BYTES,
    qos: 1,
  } as const;
  const topics = ['$queue/events'];
  await runLoad({ kind: 'mqtt-publish', run: { ...publish, messages, topics } });
  const hot: number[] = [];
  const cold: number[] = [];
  const files: number[] = [];
  for (let round = 0; round < options.rounds; round += 1) {
    // What lies in the tail cache: 16 MiB of the newest messages, read again and again.
    hot.push(await consume(`hot-${round}`, whole));
    await peer.halt();
    await dropCaches();
    files.push(await readFiles(data));
    await dropCaches();
    peer = await startFluxmq(PORT, start);
    cold.push(await consume(`cold-${round}`, whole));
    const told = [cold, files, hot].map((list) => `${Math.round((list.at(-1) ?? 0) / MIB)} MiB/s`);
    options.progress(`cold ${told[0]}, files ${told[1]}, again in the same process ${told[2]}`);
  }
  await peer.stop();
  const bound = cold.map((_value, i) => Math.min(files[i] ?? 0, hot[i] ?? 0));
  return [
    {
      what: 'a cold stream from its start, one reader, 1 KiB',
      ours: `${Math.round(median(cold) / MIB)} MiB/s`,
      peer:
        `reading the files ${Math.round(median(files) / MIB)} MiB/s, ` +
        `delivering warm ${Math.round(median(hot) / MIB)} MiB/s`,
      ratio: median(cold.map((value, i) => value / (bound[i] ?? 0))),
      target: { at: 'least', ratio: 0.5 },
    },
  ];
};
