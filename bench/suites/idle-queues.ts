/**
 * 100,000 queues with two groups each that nobody uses: memory above an empty broker, and the time
 * of a start after a clean stop.
 */

import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { startFluxmq } from '../peers/peers.ts';
import { scratchDirectory } from '../peers/peer.ts';
import type { Finding } from '../report.ts';
import { scaled, type Suite, type SuiteOptions } from './suite.ts';

const MIB = 1024 * 1024;
/** One file may name so many. */
const QUEUES_IN_A_FILE = 10_000;

async function rest(): Promise<void> {
  await new Promise((resolve) => {
    setTimeout(resolve, 5000);
  });
}

async function declareAll(directory: string, count: number): Promise<string> {
  const data = join(directory, 'kept');
  for (let first = 0; first < count; first += QUEUES_IN_A_FILE) {
    const file = join(directory, `queues-${first}.yaml`);
    const queues = Array.from({ length: Math.min(QUEUES_IN_A_FILE, count - first) }, (_, i) => ({
      name: `sensor-${first + i}`,
      groups: [{ name: 'second' }],
    }));
    await writeFile(file, JSON.stringify({ queues }));
    const peer = await startFluxmq(18830, ['--config', file, '--data-dir', data]);
    // Only what was made for it goes: the data is kept.
    await peer.stop();
  }
  return data;
}

export const idleQueuesSuite: Suite = async (options) => {
  const directory = await scratchDirectory('idle-queues');
  try {
    return await measured(directory, options);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
};

async function measured(directory: string, options: SuiteOptions): Promise<Finding[]> {
  const count = scaled(100_000, options);
  const empty = await startFluxmq(18830, []);
  await rest();
  const before = await empty.residentBytes();
  await empty.stop();
  const data = await declareAll(directory, count);
  const began = performance.now();
  const peer = await startFluxmq(18830, ['--data-dir', data]);
  const seconds = (performance.now() - began) / 1000;
  await rest();
  const above = ((await peer.residentBytes()) - before) / MIB;
  await peer.stop();
  options.progress(
    `${count} idle queues: ${Math.round(above)} MiB, start in ${seconds.toFixed(2)} s`,
  );
  const what = `${count.toLocaleString('en-US')} idle queues with two groups each`;
  return [
    {
      what: `${what}: memory`,
      ours: `${Math.round(above)} MiB above ${Math.round(before / MIB)} MiB`,
      peer: '100 MiB',
      ratio: above / 100,
      target: { at: 'most', ratio: 1 },
    },
    {
      what: `${what}: start`,
      ours: `${seconds.toFixed(2)} s`,
      peer: '5 s',
      ratio: seconds / 5,
      target: { at: 'most', ratio: 1 },
    },
  ];
}
