/**
 * What persistent MQTT sessions that sleep cost when nobody needs them: memory above an empty
 * broker, bytes on the disk, and the time of a start with all of them, after a clean stop and after
 * a kill. 100,000 of them, with a subscription at QoS 1 of its own each. A million is ten of these:
 * what is measured grows in proportion, but for what an empty broker has as well.
 */

import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { runLoad } from '../load/load.ts';
import { inspectorEnv } from '../peers/inspector.ts';
import { liveBytes } from '../peers/live-bytes.ts';
import { startFluxmq } from '../peers/peers.ts';
import { scratchDirectory, type Peer } from '../peers/peer.ts';
import type { Finding } from '../report.ts';
import { scaled, type Suite, type SuiteOptions } from './suite.ts';

const SESSIONS = 100_000;
/** Made in one run of the load generator, within its deadline. */
const PART = 10_000;
const PORT = 18830;
const INSPECTOR = 18890;
const MIB = 1024 * 1024;
/** After a start: what it left behind is gone. */
const REST_MS = 10_000;
/** What an idle queue and a subscription were measured to cost together. */
const MOST_BYTES = 325;
/** As 100,000 idle queues. */
const MOST_SECONDS = 5;

interface State {
  /** Alive in both threads. */
  readonly heaps: number;
  readonly resident: number;
  readonly startSeconds: number;
}

function start(data: string, sessions: number): Promise<Peer> {
  const values = {
    'sessions.max_sessions': sessions + PART,
    'server.mqtt.tcp.per_address.max_connections': 0,
    'server.mqtt.tcp.per_address.connection_rate': 0,
  };
  const settings = Object.entries(values).flatMap(([key, value]) => ['--set', `${key}=${value}`]);
  return startFluxmq(PORT, [...settings, '--data-dir', data], inspectorEnv(INSPECTOR));
}

async function rested(peer: Peer, startSeconds: number): Promise<State> {
  await new Promise((resolve) => {
    setTimeout(resolve, REST_MS);
  });
  const heaps = (await liveBytes(INSPECTOR)).reduce((sum, each) => sum + each, 0);
  return { heaps, resident: await peer.residentBytes(), startSeconds };
}

interface Life {
  readonly data: string;
  readonly sessions: number;
  readonly end: 'stop' | 'kill';
}

/** A broker with what is in the directory, which stays. */
async function lived(
  { data, sessions, end }: Life,
  use: () => Promise<void> = () => Promise.resolve(),
): Promise<State> {
  const began = performance.now();
  const peer = await start(data, sessions);
  try {
    const seconds = (performance.now() - began) / 1000;
    await use();
    return await rested(peer, seconds);
  } finally {
    if (end === 'kill') await peer.kill();
    await peer.stop();
  }
}

async function make(sessions: number, options: SuiteOptions): Promise<void> {
  const began = performance.now();
  for (let from = 0; from < sessions; from += PART) {
    const run = { port: PORT, from, sessions: Math.min(PART, sessions - from) };
    await runLoad({ kind: 'mqtt-sleep', run: { ...run, filter: 'asleep/%n' } });
  }
  const seconds = (performance.now() - began) / 1000;
  options.progress(`${sessions} sessions made, ${Math.round(sessions / seconds)} a second`);
}

async function bytesIn(directory: string): Promise<number> {
  const names = await readdir(directory, { recursive: true });
  const stats = await Promise.all(names.map((name) => stat(join(directory, name))));
  return stats.reduce((sum, each) => sum + (each.isFile() ? each.size : 0), 0);
}

export const asleepSuite: Suite = async (options) => {
  const directory = await scratchDirectory('asleep');
  try {
    return await measured(join(directory, 'kept'), options);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
};

async function measured(data: string, options: SuiteOptions): Promise<Finding[]> {
  const sessions = scaled(SESSIONS, options);
  const life = { data, sessions, end: 'stop' } as const;
  const empty = await lived({ ...life, data: `${data}-empty` });
  const made = await lived(life, () => make(sessions, options));
  const [records, log] = await Promise.all(
    ['records', 'log'].map((name) => bytesIn(join(data, 'shard-0', name))),
  );
  const stopped = await lived({ ...life, end: 'kill' });
  const killed = await lived(life);
  const each = (bytes: number): string => `${Math.round(bytes / sessions)} B`;
  for (const [name, state] of Object.entries({ empty, made, stopped, killed })) {
    options.progress(
      `${name}: start ${state.startSeconds.toFixed(2)} s, ` +
        `heaps ${(state.heaps / MIB).toFixed(1)} MiB, ` +
        `resident ${Math.round(state.resident / MIB)} MiB`,
    );
  }
  options.progress(`records ${each(records ?? 0)}, log ${each(log ?? 0)} a session`);
  const what = `${sessions.toLocaleString('en-US')} sleeping sessions`;
  const above = stopped.heaps - empty.heaps;
  const seconds = Math.max(stopped.startSeconds, killed.startSeconds);
  return [
    {
      what: `${what}: memory of each, both threads, after a start`,
      ours: `${each(above)} (resident ${each(stopped.resident - empty.resident)})`,
      peer: `${MOST_BYTES} B; while they were made ${each(made.heaps - empty.heaps)}`,
      ratio: above / sessions / MOST_BYTES,
      target: { at: 'most', ratio: 1 },
    },
    {
      what: `${what}: start, records ${each(records ?? 0)} each on the disk`,
      ours:
        `${stopped.startSeconds.toFixed(2)} s, ` +
        `after a kill ${killed.startSeconds.toFixed(2)} s`,
      peer: `${MOST_SECONDS} s (empty ${empty.startSeconds.toFixed(2)} s)`,
      ratio: seconds / MOST_SECONDS,
      target: { at: 'most', ratio: 1 },
    },
  ];
}
