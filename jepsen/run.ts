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
import { Replacements } from './cluster/replacements.ts';
import { Roles } from './cluster/roles.ts';
import { Recorder } from './history/recorder.ts';
import type { Table } from './nemesis/fault-kind.ts';
import { cardsOf } from './nemesis/kinds.ts';
import { Nemesis, USUAL_PACE } from './nemesis/nemesis.ts';
import type { RunOptions } from './options.ts';
import { Random } from './random.ts';
import { sleep } from './sleep.ts';
import { QueueWorkload } from './workload/queue.ts';
import { watchStalls } from './workload/stalls.ts';

export const RUN_FILE = 'run.json';
const START_MAX_MS = 60_000;
const LOOK_MS = 100;
const RESTART_MS = 1_000;
const DEATHS_MAX = 20;

/** What a run was, for the report. */
export interface RunRecord extends RunOptions {
  readonly began: string;
  readonly how: string;
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
  try {
    await write({});
    await cluster.start();
    await untilAllAccept(cluster, parts.stop);
    await underFaults(parts, cluster, recorder);
    await write({ cpuSeconds: await cpuSeconds(cluster) });
  } finally {
    over = true;
    stopWatching();
    for (const value of await cluster.close()) {
      const error = 'did not end after SIGTERM, and was killed';
      recorder.add({ process: 'harness', f: 'died', type: 'info', value, error });
    }
    if (options.nodes > 1) await cluster.dumpLogs();
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

async function underFaults(
  { options, stop, progress }: RunParts,
  cluster: Cluster,
  recorder: Recorder,
): Promise<void> {
  const random = new Random(options.seed);
  const clientRandom = new Random(options.seed + 1);
  const workload = new QueueWorkload({
    cluster,
    recorder,
    random: clientRandom,
    rate: options.rate,
  });
  const roles = new Roles(cluster);
  const replacements = new Replacements(cluster, roles);
  const table: Table = {
    cluster,
    random,
    wiped: new Set(),
    leader: () => roles.leader(),
    memberOf: async (node) => (await roles.placeOf(node))?.own,
    isWhole: () => !cluster.ids.some((node) => replacements.isUnderWay(node)),
    replace: (node, was) => replacements.begin(node, was),
  };
  const { canCut } = cluster.network;
  const cards = options.nemeses.flatMap((name) => cardsOf(name, options.nodes, canCut));
  const faulting = new AbortController();
  const nemesis = new Nemesis({ table, recorder, cards, pace: USUAL_PACE, stop: faulting.signal });
  const began = performance.now();
  const endProgress = progress(() => ({
    seconds: (performance.now() - began) / 1000,
    acknowledged: recorder.count('enqueue', 'ok'),
    unknown: recorder.count('enqueue', 'info'),
    delivered: recorder.count('dequeue', 'ok'),
    settled: recorder.count('ack', 'ok'),
    behind: workload.behind,
    faults: nemesis.faults,
    doing: nemesis.doing,
  }));
  try {
    workload.start();
    const faults = nemesis.run();
    // The nemesis ends early only by an error.
    await Promise.race([sleep(options.minutes * 60_000, stop), faults]);
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
