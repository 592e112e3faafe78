/**
 * One run, from an empty directory to a history: brokers, workload, nemesis, final heal, drain, and
 * everything stopped, also after an error or a signal. It judges nothing.
 *
 * A broker that ends by itself is written down as a finding, and started again, as a supervisor
 * would do.
 */

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Cluster } from './cluster/cluster.ts';
import type { ShardPlace } from './cluster/replica-log.ts';
import { Replacements } from './cluster/replacements.ts';
import { Roles } from './cluster/roles.ts';
import { Recorder } from './history/recorder.ts';
import { untilLedAtHome } from './led-at-home.ts';
import type { Table } from './nemesis/fault-kind.ts';
import { cardsOf } from './nemesis/kinds.ts';
import { Nemesis, USUAL_PACE } from './nemesis/nemesis.ts';
import type { RunOptions } from './options.ts';
import { Random } from './random.ts';
import { sleep } from './sleep.ts';
import { QueueWorkload } from './workload/queue.ts';
import { type RunQueue, declareQueues } from './workload/queues.ts';
import { watchStalls } from './workload/stalls.ts';

export const RUN_FILE = 'run.json';
/** So much longer a run goes on at most, until each kind of fault was dealt once. */
const EACH_KIND_MAX_MS = 60_000;
const START_MAX_MS = 60_000;
const HOME_MAX_MS = 30_000;
const LOOK_MS = 100;
const RESTART_MS = 1_000;
const DEATHS_MAX = 20;

/** What a run was, for the report. */
export interface RunRecord extends RunOptions {
  readonly began: string;
  readonly how: string;
  /** Where the replicas of each shard lay. */
  readonly places?: readonly ShardPlace[];
  readonly queues?: readonly RunQueue[];
  readonly cpuSeconds?: number;
}

export interface Progress {
  readonly seconds: number;
  readonly acknowledged: number;
  readonly unknown: number;
  readonly delivered: number;
  readonly settled: number;
  readonly behind: number;
  readonly faults: number;
  readonly doing: string;
}

export interface RunParts {
  readonly directory: string;
  readonly options: RunOptions;
  /** Ends the load early; heal and drain follow. */
  readonly stop: AbortSignal;
  readonly progress: (now: () => Progress) => () => void;
}

export async function run(parts: RunParts): Promise<void> {
  const { directory, options } = parts;
  const recorder = new Recorder(directory);
  const began = new Date().toISOString();
  let deaths = 0;
  let over = false;
  const cluster = await Cluster.create({
    directory,
    nodes: options.nodes,
    network: options.network,
    shards: options.shards,
    onDeath: (node, how) => {
      recorder.add({
        process: 'harness',
        f: 'died',
        type: 'info',
        value: node,
        error: `ended by itself: ${how}`,
      });
      deaths += 1;
      setTimeout(() => {
        if (over || deaths > DEATHS_MAX || cluster.node(node).state !== 'down') return;
        // One that ends again is told again.
        cluster
          .node(node)
          .start()
          .catch(() => undefined);
      }, RESTART_MS);
    },
  });
  const record: RunRecord = { ...options, began, how: cluster.network.about };
  const write = (more: object): Promise<void> =>
    writeFile(
      join(directory, RUN_FILE),
      `${JSON.stringify({ ...record, ...more }, undefined, 2)}\n`,
    );
  const stopWatching = watchStalls(recorder);
  let places: readonly ShardPlace[] = [];
  try {
    await write({});
    await cluster.start();
    await untilAllAccept(cluster, parts.stop);
    const shards = options.shards ?? options.nodes;
    places = await untilAllShards(cluster, shards, parts.stop);
    const queues = await declareQueues(cluster, shards);
    const roles = new Roles(cluster);
    const homeBy = performance.now() + HOME_MAX_MS;
    await untilLedAtHome(places, {
      leader: (shard) => roles.leader(shard),
      pause: () => sleep(LOOK_MS),
      isOver: () => performance.now() > homeBy,
      stop: parts.stop,
    });
    await write({ places, queues });
    await underFaults(parts, { cluster, recorder, places, queues });
    await write({ places, queues, cpuSeconds: await cpuSeconds(cluster) });
  } finally {
    over = true;
    stopWatching();
    for (const value of await cluster.close()) {
      const error = 'did not end after SIGTERM, and was killed';
      recorder.add({ process: 'harness', f: 'died', type: 'info', value, error });
    }
    if (options.nodes > 1) await cluster.dumpLogs(places);
    await recorder.close();
  }
}

async function cpuSeconds(cluster: Cluster): Promise<number> {
  const all = await Promise.all(cluster.nodes.map((node) => node.cpuSeconds()));
  return all.reduce((sum, seconds) => sum + seconds, 0);
}

async function untilAllAccept(cluster: Cluster, stop: AbortSignal): Promise<void> {
  const deadline = performance.now() + START_MAX_MS;
  for (const node of cluster.nodes) {
    while (!(await node.accepts())) {
      if (stop.aborted) throw new Error('stopped before the brokers were ready');
      if (performance.now() > deadline) {
        throw new Error(`${node.id} does not serve: see nodes/${node.id}/broker.log`);
      }
      await sleep(LOOK_MS);
    }
  }
}

/** All that are wanted are there and led. */
async function untilAllShards(
  cluster: Cluster,
  shards: number,
  stop: AbortSignal,
): Promise<ShardPlace[]> {
  const roles = new Roles(cluster);
  const deadline = performance.now() + START_MAX_MS;
  for (;;) {
    const places = await roles.places();
    if (places.length >= shards) return places;
    if (stop.aborted) throw new Error('stopped before the shards were there');
    if (performance.now() > deadline) {
      throw new Error(`there are ${places.length} shards that are led, not ${shards}`);
    }
    await sleep(LOOK_MS);
  }
}

interface Ready {
  readonly cluster: Cluster;
  readonly recorder: Recorder;
  readonly places: readonly ShardPlace[];
  readonly queues: readonly RunQueue[];
}

async function underFaults(
  { options, stop, progress }: RunParts,
  { cluster, recorder, places, queues }: Ready,
): Promise<void> {
  const random = new Random(options.seed);
  const clientRandom = new Random(options.seed + 1);
  const workload = new QueueWorkload({
    cluster,
    recorder,
    random: clientRandom,
    queues,
    rate: options.rate,
  });
  const roles = new Roles(cluster);
  const replacements = new Replacements(cluster, roles, places);
  const table: Table = {
    cluster,
    random,
    wiped: new Set(),
    leader: async () => {
      const shard = random.pick(places)?.shard ?? 0;
      const node = await roles.leader(shard);
      return node === undefined ? undefined : { node, shard };
    },
    memberOf: async (node) => (await roles.placeOf(node))?.own,
    isWhole: () => !cluster.ids.some((node) => replacements.isUnderWay(node)),
    replace: (node, was) => replacements.begin(node, was),
  };
  const { canCut } = cluster.network;
  const cards = options.nemeses.flatMap((name) => cardsOf(name, options.nodes, canCut));
  const faulting = new AbortController();
  const nemesis = new Nemesis({
    table,
    recorder,
    cards,
    pace: USUAL_PACE,
    stop: faulting.signal,
    queues: queues.filter(({ dead }) => dead !== undefined).map(({ name }) => name),
  });
  const began = performance.now();
  const endProgress = progress(() => ({
    seconds: (performance.now() - began) / 1000,
    acknowledged: recorder.count('enqueue', 'ok'),
    unknown: recorder.count('enqueue', 'info'),
    delivered: recorder.count('dequeue', 'ok'),
    settled: recorder.count('ack', 'ok') + recorder.count('reject', 'ok'),
    behind: workload.behind,
    faults: nemesis.faults,
    doing: nemesis.doing,
  }));
  try {
    workload.start();
    const faults = nemesis.run();
    // The nemesis ends early only by an error.
    await Promise.race([sleep(options.minutes * 60_000, stop), faults]);
    // A short run may be over before each kind had its turn, and would have proved nothing.
    const over = AbortSignal.any([stop, faulting.signal]);
    await Promise.race([nemesis.hadEach, sleep(EACH_KIND_MAX_MS, over), faults]);
    faulting.abort();
    await faults;
    await nemesis.heal();
    await workload.finish();
  } finally {
    faulting.abort();
    endProgress();
    await replacements.close();
    await workload.stop();
  }
}
