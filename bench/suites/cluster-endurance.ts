/**
 * Three brokers at full load for `--minutes`: whether anybody stands for election although nothing
 * was killed, and whether memory stays what it was. 64 publishers with a window of 20, and
 * consumers that take the same messages, so that the queue stays short.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { runLoad } from '../load/load.ts';
import { FluxmqCluster } from '../peers/fluxmq-cluster.ts';
import { median, perSecond, type Finding } from '../report.ts';
import type { Suite, SuiteOptions } from './suite.ts';

const MIB = 1024 * 1024;
const CONNECTIONS = 64;
/** Each connection publishes as many. */
const TURN_MESSAGES = 6250 * CONNECTIONS;
const WARM_UP_MESSAGES = 100 * CONNECTIONS;
const SAMPLE_MS = 5000;
const PORTION = 0.2;

interface Endured {
  readonly elections: number;
  readonly leaderChanges: number;
  readonly messages: number;
  readonly seconds: number;
  /** Resident MiB of each broker, sample after sample. */
  readonly samples: readonly (readonly number[])[];
}

async function sum(cluster: FluxmqCluster, name: string, label: string): Promise<number> {
  const each = await Promise.all(cluster.members.map((node) => node.figure(name, label)));
  return each.reduce((all, one) => all + one, 0);
}

function residentMib(cluster: FluxmqCluster): Promise<number[]> {
  return Promise.all(cluster.nodes.map(async (node) => (await node.residentBytes()) / MIB));
}

/** Publishes and takes the same messages; the consumers are at a node that does not lead. */
async function turn(cluster: FluxmqCluster, nth: number, messages: number): Promise<void> {
  const queue = `orders-${nth % 2}`;
  const [leader, other] = await cluster.makeQueue(queue);
  const load = { port: leader?.port ?? 0, connections: CONNECTIONS, window: 20, payloadBytes: 256 };
  await Promise.all([
    runLoad(cluster.publish(queue, { ...load, messages, qos: 1 })),
    runLoad({
      kind: 'mqtt-consume',
      run: { port: other?.port ?? 0, consumers: 8, messages, filter: `$queue/${queue}` },
    }),
  ]);
}

async function endure(cluster: FluxmqCluster, options: SuiteOptions): Promise<Endured> {
  const size = options.smoke ? WARM_UP_MESSAGES : TURN_MESSAGES;
  const whole = options.smoke ? 20_000 : options.minutes * 60_000;
  await turn(cluster, 0, WARM_UP_MESSAGES);
  const elections = await sum(cluster, 'fluxmq_raft_elections_total', 'stood');
  const changes = await sum(cluster, 'fluxmq_raft_leader_changes_total', '0');
  const samples: number[][] = [];
  const from = performance.now();
  const over = new AbortController();
  const sampling = (async (): Promise<void> => {
    while (!over.signal.aborted) {
      samples.push(await residentMib(cluster));
      await sleep(SAMPLE_MS, undefined, { signal: over.signal }).catch(() => undefined);
    }
  })();
  let turns = 0;
  try {
    for (; performance.now() - from < whole; turns += 1) {
      await turn(cluster, turns, size);
      const told = (samples.at(-1) ?? []).map((mib) => Math.round(mib)).join(', ');
      const minutes = ((performance.now() - from) / 60_000).toFixed(1);
      options.progress(`${minutes} min: ${(turns + 1) * size} messages; resident MiB ${told}`);
    }
  } finally {
    over.abort();
    await sampling;
  }
  return {
    elections: (await sum(cluster, 'fluxmq_raft_elections_total', 'stood')) - elections,
    leaderChanges: (await sum(cluster, 'fluxmq_raft_leader_changes_total', '0')) - changes,
    messages: turns * size,
    seconds: (performance.now() - from) / 1000,
    samples,
  };
}

async function endureOnce(options: SuiteOptions): Promise<Endured> {
  const cluster = await FluxmqCluster.start();
  try {
    return await endure(cluster, options);
  } finally {
    await cluster.stop();
  }
}

/** Medians of each broker over a stretch of the run. */
function stretch({ samples }: Endured, from: number, to: number): number[] {
  const part = samples.slice(
    Math.floor(samples.length * from),
    Math.ceil(samples.length * to) || samples.length,
  );
  return (part[0] ?? []).map((_, broker) => median(part.map((sample) => sample[broker] ?? 0)));
}

export const clusterEnduranceSuite: Suite = async (options) => {
  const endured = await endureOnce(options);
  const { elections, leaderChanges, messages, seconds } = endured;
  // Heaps and caches fill first.
  const early = stretch(endured, PORTION, 2 * PORTION);
  const late = stretch(endured, 1 - PORTION, 1);
  const words = (all: readonly number[]): string => all.map((mib) => Math.round(mib)).join(', ');
  const what = `three brokers at full load for ${(seconds / 60).toFixed(0)} minutes`;
  const load = `${perSecond(messages / seconds)} published and settled`;
  const findings: Finding[] = [
    {
      what: `${what}: elections that nobody caused`,
      ours: `${elections} (${leaderChanges} changes of leader), ${load}`,
      peer: 'none',
      ratio: elections,
      target: { at: 'most', ratio: 0 },
    },
    {
      what: `${what}: resident memory of each, the last fifth`,
      ours: `${words(late)} MiB`,
      peer: `the second fifth, ${words(early)} MiB`,
      ratio: Math.max(...late.map((mib, i) => mib / (early[i] ?? 0))),
      target: { at: 'most', ratio: 1.1 },
    },
  ];
  return findings;
};
