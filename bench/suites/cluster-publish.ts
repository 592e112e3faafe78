/**
 * QoS 1 publishes into one queue with three replicas, 64 publishers, 256 B: three FluxMQ brokers
 * that sync, against a quorum queue of RabbitMQ (which syncs as well) and a stream of NATS
 * JetStream with three replicas in its default mode (which does not). Once with all publishers at
 * the node that leads, once spread over the three. Each cluster is fresh, and takes the same
 * messages before the clock starts: code that a machine compiles while it runs is slow at first.
 *
 * Seven processes share the machine, so a rate alone says as much of the machine as of the broker:
 * beside it stands what the brokers and the load generator took of the processor, and how busy all
 * cores were.
 */

import { runLoad } from '../load/load.ts';
import { cpuSecondsOf, type PeerCluster } from '../peers/cluster.ts';
import { FluxmqCluster } from '../peers/fluxmq-cluster.ts';
import { startNatsCluster } from '../peers/nats-cluster.ts';
import { machineSeconds } from '../peers/process-tree.ts';
import { startRabbitmqCluster } from '../peers/rabbitmq-cluster.ts';
import { median, perSecond, type Finding } from '../report.ts';
import { scaled, type Suite, type SuiteOptions } from './suite.ts';

const CONNECTIONS = 64;
const PAYLOAD_BYTES = 256;
const MILLION = 1_000_000;
/** A machine whose cores work for so much of the time is bounded by them. */
const BUSY = 0.9;

interface Load {
  readonly window: number;
  readonly spread: boolean;
}

const LOADS: readonly Load[] = [
  { window: 1, spread: false },
  { window: 20, spread: false },
  { window: 20, spread: true },
];

const WARM_UP: Load = { window: 20, spread: false };
const WARM_UP_MESSAGES = 100_000;

interface Measured {
  readonly perSecond: number;
  /** CPU-seconds for a million messages. */
  readonly brokers: number;
  readonly generator: number;
  /** Share of all cores. */
  readonly busy: number;
}

/** One cluster, its loads in their order. */
interface Round {
  readonly name: string;
  readonly measured: readonly Measured[];
}

interface Contestant {
  readonly start: () => Promise<PeerCluster>;
  readonly messages: Readonly<Record<number, number>>;
  /** The ratio to reach, ours to its. */
  readonly target: number;
}

const OURS: Contestant = {
  start: () => FluxmqCluster.start(),
  messages: { 1: 150_000, 20: 600_000 },
  target: 1,
};
const PEERS: readonly Contestant[] = [
  { start: startRabbitmqCluster, messages: { 1: 30_000, 20: 100_000 }, target: 3 },
  { start: startNatsCluster, messages: { 1: 100_000, 20: 200_000 }, target: 1 },
];

async function measure(
  cluster: PeerCluster,
  { window, spread }: Load,
  { queue, messages }: { readonly queue: string; readonly messages: number },
): Promise<Measured> {
  const [leader, ...others] = await cluster.makeQueue(queue);
  const load = {
    port: leader?.port ?? 0,
    ...(spread && { otherPorts: others.map(({ port }) => port) }),
    connections: CONNECTIONS,
    window,
    payloadBytes: PAYLOAD_BYTES,
    messages,
    qos: 1,
  } as const;
  const [cpu, machine] = [await cpuSecondsOf(cluster.nodes), await machineSeconds()];
  const result = await runLoad(cluster.publish(queue, load));
  const now = await machineSeconds();
  const brokers = (await cpuSecondsOf(cluster.nodes)) - cpu;
  return {
    perSecond: result.perSecond,
    brokers: (brokers * MILLION) / result.messages,
    generator: (result.cpuSeconds * MILLION) / result.messages,
    busy: (now.busy - machine.busy) / (now.all - machine.all),
  };
}

function told(name: string, { perSecond: rate, brokers, generator, busy }: Measured): string {
  const bound = busy >= BUSY ? 'the cores' : 'the disk and the waiting for it, not the cores';
  return (
    `${name} ${perSecond(rate)}; for a million: brokers ${brokers.toFixed(1)} CPU-s, ` +
    `generator ${generator.toFixed(1)} CPU-s; cores ${Math.round(busy * 100)} % busy: ` +
    `bounded by ${bound}`
  );
}

function medians(all: readonly Measured[]): Measured {
  const of = (key: keyof Measured): number => median(all.map((each) => each[key]));
  return {
    perSecond: of('perSecond'),
    brokers: of('brokers'),
    generator: of('generator'),
    busy: of('busy'),
  };
}

/** One fresh cluster, and a queue for each load; the name of the cluster and what was measured. */
async function once(contestant: Contestant, options: SuiteOptions): Promise<Round> {
  const cluster = await contestant.start();
  try {
    const measured: Measured[] = [];
    const warm = { queue: 'warm-up', messages: scaled(WARM_UP_MESSAGES, options) };
    await measure(cluster, WARM_UP, warm);
    for (const load of LOADS) {
      const messages = scaled(contestant.messages[load.window] ?? 0, options);
      const queue = `orders-${load.window}-${load.spread ? 'spread' : 'leader'}`;
      const one = await measure(cluster, load, { queue, messages });
      options.progress(`window ${load.window}${where(load)}: ${told(cluster.name, one)}`);
      measured.push(one);
    }
    return { name: cluster.name, measured };
  } finally {
    await cluster.stop();
  }
}

function where({ spread }: Load): string {
  return spread ? ', over three nodes' : '';
}

function cell(all: readonly Measured[]): string {
  const { perSecond: rate, brokers } = medians(all);
  return `${perSecond(rate)}, ${brokers.toFixed(1)} CPU-s a million`;
}

export const clusterPublishSuite: Suite = async (options) => {
  const contestants = [OURS, ...PEERS];
  const rounds: Round[][] = contestants.map(() => []);
  for (let round = 0; round < options.rounds; round += 1) {
    for (const [at, contestant] of contestants.entries()) {
      rounds[at]?.push(await once(contestant, options));
    }
  }
  return LOADS.flatMap((load, nth) => {
    const [ours = [], ...theirs] = rounds.map((each) =>
      each.flatMap(({ measured }) => measured.slice(nth, nth + 1)),
    );
    return theirs.map((all, at): Finding => {
      const name = rounds[at + 1]?.[0]?.name ?? '';
      return {
        what: `QoS 1 publishes, three replicas, window ${load.window}${where(load)}`,
        ours: cell(ours),
        peer: `${name} ${cell(all)}`,
        ratio: median(ours.map((each, i) => each.perSecond / (all[i]?.perSecond ?? 0))),
        target: { at: 'least', ratio: PEERS[at]?.target ?? 1 },
      };
    });
  });
};
