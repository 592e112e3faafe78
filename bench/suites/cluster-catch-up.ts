/**
 * A follower that was away while 1 GiB was written: how fast it gets what it lacks, against the
 * disk's or loopback's own speed, whichever is lower, as it finds them: as many bytes, to a file
 * that lies beside the leader's. And how much slower the leader's publishers are meanwhile: than
 * before, when the third replica took no part of the processor, and than after, when it is in step.
 * Once with a window in which the log still has all of it, once with one that it has left, so that
 * the follower gets a checkpoint and the payloads that are still wanted.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { loadBeside, runLoad } from '../load/load.ts';
import { FluxmqCluster, type FluxmqNode } from '../peers/fluxmq-cluster.ts';
import { median, type Finding } from '../report.ts';
import { besideDiskRates, type DiskRates, loopbackRate } from './floor.ts';
import type { Suite, SuiteOptions } from './suite.ts';

const GIB_IN_MIB = 1024;
const PAYLOAD_BYTES = 16_384;
/** Each look costs the leader half a millisecond. */
const LOOK_MS = 50;
const CATCH_UP_MAX_MS = 300_000;
/** With traffic beside it a follower is never at the very end. */
const NEAR_ENTRIES = 64;
const WARM_UP_MS = 3000;
const BESIDE_MS = 8000;
/** More than the traffic beside can come to; it is ended when the follower is there. */
const ENDLESS = 100_000_000;

const WAYS = [
  { name: 'from the log', window: '4GiB' },
  { name: 'by a checkpoint', window: '512MiB' },
] as const;
type Way = (typeof WAYS)[number];

interface Round {
  readonly mibPerSecond: number;
  /** Of the disk or of loopback, whichever is lower. */
  readonly floor: number;
  /** A file that goes over loopback to another process and its disk. */
  readonly copy: number;
  readonly beside: Beside;
}

/** Of the leader, while the follower is away and then while it comes. */
async function missing(cluster: FluxmqCluster, mib: number): Promise<void> {
  const [leader] = await cluster.makeQueue('bulk');
  const load = { port: leader?.port ?? 0, connections: 16, window: 8, qos: 1 } as const;
  const messages = (mib * 1024 * 1024) / PAYLOAD_BYTES;
  await runLoad(cluster.publish('bulk', { ...load, payloadBytes: PAYLOAD_BYTES, messages }));
}

/** Resolves with the seconds from the first word between the two to the end of the lag. */
async function catchesUp(leader: FluxmqNode, follower: FluxmqNode, near: number): Promise<number> {
  const started = follower.start();
  const deadline = performance.now() + CATCH_UP_MAX_MS;
  return leader.watch(async (replica) => {
    let from: number | undefined;
    let seen = 'it was not heard of';
    while (performance.now() < deadline) {
      const { last, members } = await replica();
      const progress = members.find(({ id }) => id === follower.id)?.progress;
      if (progress !== undefined) seen = `${JSON.stringify(progress)} of ${last}`;
      if (progress?.active === true) {
        from ??= performance.now();
        if (progress.state === 'replicate' && last - progress.match <= near) {
          await started;
          return (performance.now() - from) / 1000;
        }
      }
      await sleep(LOOK_MS);
    }
    const seconds = CATCH_UP_MAX_MS / 1000;
    throw new Error(`${follower.id} did not catch up within ${seconds} s: ${seen}`);
  });
}

function trafficOf(leader: FluxmqNode): Promise<number> {
  return leader.figure('fluxmq_enqueued_total');
}

/** Rates of the traffic, while the follower catches up to others. */
interface Beside {
  readonly toBefore: number;
  readonly toAfter: number;
  readonly seconds: number;
}

/** Publishers at the leader with a window of 20, before, during and after. */
async function besideTraffic(
  cluster: FluxmqCluster,
  leader: FluxmqNode,
  follower: FluxmqNode,
): Promise<Beside> {
  const enough = new AbortController();
  const load = { port: leader.peer.port, connections: 64, window: 20, payloadBytes: 256 } as const;
  const job = cluster.publish('traffic', { ...load, messages: ENDLESS, qos: 1 });
  const traffic = loadBeside(job, enough.signal);
  const work = async (): Promise<Beside> => {
    await sleep(WARM_UP_MS);
    const rate = async <T>(during: () => Promise<T>): Promise<number> => {
      const [before, from] = [await trafficOf(leader), performance.now()];
      await during();
      return ((await trafficOf(leader)) - before) / (performance.now() - from);
    };
    const before = await rate(() => sleep(BESIDE_MS));
    const from = performance.now();
    const during = await rate(() => catchesUp(leader, follower, NEAR_ENTRIES));
    const seconds = (performance.now() - from) / 1000;
    await sleep(WARM_UP_MS);
    const after = await rate(() => sleep(BESIDE_MS));
    return { toBefore: during / before, toAfter: during / after, seconds };
  };
  try {
    return await Promise.race([work(), traffic.then(() => Promise.reject(new Error('it ended')))]);
  } finally {
    enough.abort();
    await traffic;
  }
}

async function measure({ name, window }: Way, options: SuiteOptions): Promise<Round> {
  const mib = options.smoke ? 16 : GIB_IN_MIB;
  const cluster = await FluxmqCluster.start({ more: { storage: { window } } });
  try {
    const leader = await cluster.leader();
    const follower = cluster.members.find((node) => node !== leader);
    if (follower === undefined) throw new Error('there is no follower');
    await follower.halt();
    await missing(cluster, mib);
    const loopback = await loopbackRate(mib);
    const [{ writing: disk, copying: copy }, seconds] = await besideDiskRates(
      mib,
      async (rates): Promise<[DiskRates, number]> => [rates, await catchesUp(leader, follower, 0)],
    );
    await follower.halt();
    await missing(cluster, mib);
    const beside = await besideTraffic(cluster, leader, follower);
    options.progress(
      `${name}: ${mib} MiB in ${seconds.toFixed(1)} s, ${(mib / seconds).toFixed(0)} MiB/s; ` +
        `disk ${disk.toFixed(0)} MiB/s, loopback ${loopback.toFixed(0)} MiB/s, ` +
        `a copy of a file through both ${copy.toFixed(0)} MiB/s; ` +
        `with traffic at the leader, ${beside.toBefore.toFixed(2)} of what that was, ` +
        `${beside.toAfter.toFixed(2)} of what it is then, in ${beside.seconds.toFixed(0)} s`,
    );
    return { mibPerSecond: mib / seconds, floor: Math.min(disk, loopback), copy, beside };
  } finally {
    await cluster.stop();
  }
}

export const clusterCatchUpSuite: Suite = async (options) => {
  const rounds = WAYS.map((way) => ({ way, all: [] as Round[] }));
  for (let round = 0; round < options.rounds; round += 1) {
    for (const { way, all } of rounds) all.push(await measure(way, options));
  }
  return rounds.flatMap(({ way, all }): Finding[] => {
    const rate = median(all.map(({ mibPerSecond }) => mibPerSecond));
    const floor = median(all.map((each) => each.floor));
    const copy = median(all.map((each) => each.copy));
    const toBefore = median(all.map(({ beside }) => beside.toBefore));
    const toAfter = median(all.map(({ beside }) => beside.toAfter));
    const target = { at: 'least', ratio: 0.67 } as const;
    return [
      {
        what: `a follower that catches up 1 GiB, ${way.name}`,
        ours: `${rate.toFixed(0)} MiB/s`,
        peer: `the slower of disk and loopback, ${floor.toFixed(0)} MiB/s`,
        ratio: median(all.map((each) => each.mibPerSecond / each.floor)),
        target: { at: 'least', ratio: 0.5 },
      },
      {
        what: 'the same',
        ours: `${rate.toFixed(0)} MiB/s`,
        peer: `a file that is copied through both unchecked, ${copy.toFixed(0)} MiB/s`,
        ratio: median(all.map((each) => each.mibPerSecond / each.copy)),
        target: undefined,
      },
      {
        what: `publishes at the leader meanwhile, ${way.name}`,
        ours: `${Math.round(toBefore * 100)} %`,
        peer: 'before, of two replicas',
        ratio: toBefore,
        target,
      },
      {
        what: 'the same',
        ours: `${Math.round(toAfter * 100)} %`,
        peer: 'after, of three',
        ratio: toAfter,
        target,
      },
    ];
  });
};
