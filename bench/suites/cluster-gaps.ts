/**
 * How long nothing is acknowledged when the leader changes: it is killed with `kill -9`, or it
 * hands over by `fluxmq cluster transfer`. Publishers at each node send at a steady rate; those of
 * a node that was killed are gone with it, the others must not notice more than a pause. What is
 * published is the longest time between two acknowledgements that followed each other.
 *
 * All time-outs are the defaults. A node that was killed comes back, and has caught up before the
 * next one goes.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { runSteadyLoad } from '../load/load.ts';
import type { SteadyResult } from '../load/steady.ts';
import { FluxmqCluster, type FluxmqNode } from '../peers/fluxmq-cluster.ts';
import { quantile, type Finding } from '../report.ts';
import type { Suite, SuiteOptions } from './suite.ts';

/** Of each kind, a round. */
const CHANGES = 10;
const PER_SECOND = 1000;
const CONNECTIONS = 6;
const SECONDS = 4;
const BEFORE_MS = 1000;
/** The moment of a change is anywhere between two heartbeats. */
const SPREAD_MS = 100;
const CAUGHT_UP_MAX_MS = 60_000;

type Change = (cluster: FluxmqCluster, leader: FluxmqNode) => Promise<void>;

interface Kind {
  readonly name: string;
  readonly change: Change;
  readonly after: Change;
  readonly targets: readonly { readonly share: number; readonly ms: number }[];
}

const KILL: Kind = {
  name: 'the leader is killed',
  change: (_cluster, leader) => leader.kill(),
  async after(cluster, leader) {
    await leader.start();
    await caughtUp(cluster);
  },
  targets: [
    { share: 0.5, ms: 1000 },
    { share: 0.99, ms: 2000 },
  ],
};

const TRANSFER: Kind = {
  name: 'the leader hands over',
  async change(cluster, leader) {
    const to = cluster.members.find((node) => node !== leader);
    if (to === undefined) throw new Error('there is nobody to hand over to');
    await cluster.transfer(leader, to);
  },
  after: skip,
  targets: [
    { share: 0.5, ms: 50 },
    { share: 1, ms: 50 },
  ],
};

/** Everybody is heard and lacks nothing, by the word of the leader. */
async function caughtUp(cluster: FluxmqCluster): Promise<void> {
  const deadline = performance.now() + CAUGHT_UP_MAX_MS;
  while (performance.now() < deadline) {
    const leader = await cluster.leader();
    const active = await leader.figure('fluxmq_raft_followers', 'active');
    const lag = await leader.figure('fluxmq_raft_follower_lag_entries', '0');
    if (active === cluster.members.length - 1 && lag === 0) return;
    await sleep(50);
  }
  throw new Error('a node that was killed does not catch up');
}

async function once(cluster: FluxmqCluster, { change, after }: Kind): Promise<SteadyResult> {
  const leader = await cluster.leader();
  const run = {
    ports: cluster.nodes.map(({ port }) => port),
    connections: CONNECTIONS,
    perSecond: PER_SECOND,
    seconds: SECONDS,
    payloadBytes: 256,
    topic: '$queue/orders',
  };
  let changed: Promise<void> | undefined;
  const result = await runSteadyLoad(run, () => {
    const moment = BEFORE_MS + Math.random() * SPREAD_MS;
    changed = sleep(moment).then(() => change(cluster, leader));
  });
  await changed;
  await after(cluster, leader);
  return result;
}

async function measure(kind: Kind, options: SuiteOptions): Promise<Finding[]> {
  const gaps: number[] = [];
  const count = options.smoke ? 2 : CHANGES * options.rounds;
  const cluster = await FluxmqCluster.start();
  try {
    // Code is compiled, and the queue is made.
    await once(cluster, { ...kind, change: skip, after: skip });
    for (let nth = 1; nth <= count; nth += 1) {
      const { longestGapMs, longestMs, unanswered } = await once(cluster, kind);
      gaps.push(longestGapMs);
      const gap = longestGapMs.toFixed(0);
      options.progress(
        `${kind.name}, ${nth} of ${count}: nothing acknowledged for ${gap} ms; ` +
          `one publish waited ${longestMs.toFixed(0)} ms; never answered: ${unanswered}`,
      );
    }
  } finally {
    await cluster.stop();
  }
  return kind.targets.map(({ share, ms }) => {
    const gap = quantile(gaps, share);
    const which = share === 1 ? 'the longest' : `p${share * 100}`;
    return {
      what: `${kind.name}, ${count} times: longest gap in acknowledged writes, ${which}`,
      ours: `${gap.toFixed(0)} ms`,
      peer: `${ms} ms`,
      ratio: gap / ms,
      target: { at: 'most', ratio: 1 },
    };
  });
}

function skip(): Promise<void> {
  return Promise.resolve();
}

export const clusterGapsSuite: Suite = async (options) => [
  ...(await measure(KILL, options)),
  ...(await measure(TRANSFER, options)),
];
