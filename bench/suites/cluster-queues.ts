/**
 * 10,000 queues with three replicas each, written round robin against one queue; and what they cost
 * each broker when nobody uses them.
 */

import { runLoad } from '../load/load.ts';
import { FluxmqCluster } from '../peers/fluxmq-cluster.ts';
import { median, perSecond } from '../report.ts';
import { scaled, type Suite, type SuiteOptions } from './suite.ts';

const QUEUES = 10_000;
const MESSAGES = 600_000;
/** Starting has an aftermath: checkpoints, and collections of what it left behind. */
const REST_MS = 90_000;
const SMOKE_MS = 5000;
const IDLE_MS = 20_000;

interface Round {
  readonly one: number;
  readonly many: number;
  /** Of the busiest broker, in cores. */
  readonly idle: number;
}

async function rest(ms: number): Promise<void> {
  await new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}

async function idleCores(cluster: FluxmqCluster, ms: number): Promise<number> {
  const { nodes } = cluster;
  const before = await Promise.all(nodes.map((node) => node.cpuSeconds()));
  const from = performance.now();
  await rest(ms);
  const after = await Promise.all(nodes.map((node) => node.cpuSeconds()));
  const seconds = (performance.now() - from) / 1000;
  return Math.max(...after.map((each, i) => (each - (before[i] ?? 0)) / seconds));
}

async function measure(options: SuiteOptions): Promise<Round> {
  const names = Array.from({ length: QUEUES }, (_, i) => `q${i}`);
  const cluster = await FluxmqCluster.start({ more: { queues: names.map((name) => ({ name })) } });
  try {
    await rest(options.smoke ? SMOKE_MS : REST_MS);
    const idle = await idleCores(cluster, options.smoke ? SMOKE_MS : IDLE_MS);
    const [leader] = await cluster.makeQueue('q0');
    const rate = async (count: number): Promise<number> => {
      const load = { port: leader?.port ?? 0, connections: 64, window: 20, payloadBytes: 256 };
      const topics = names.slice(0, count).map((name) => `$queue/${name}`);
      const messages = scaled(MESSAGES, options);
      const run = { ...load, messages, topics, qos: 1 } as const;
      return (await runLoad({ kind: 'mqtt-publish', run })).perSecond;
    };
    const one = await rate(1);
    const many = await rate(QUEUES);
    const share = (idle * 100).toFixed(1);
    options.progress(
      `one queue ${perSecond(one)}, ${QUEUES} queues ${perSecond(many)}, idle ${share} % of a core`,
    );
    return { one, many, idle };
  } finally {
    await cluster.stop();
  }
}

export const clusterQueuesSuite: Suite = async (options) => {
  const rounds: Round[] = [];
  for (let round = 0; round < options.rounds; round += 1) rounds.push(await measure(options));
  const of = (key: keyof Round): number => median(rounds.map((each) => each[key]));
  return [
    {
      what: '10,000 queues with three replicas, written round robin',
      ours: perSecond(of('many')),
      peer: `one queue ${perSecond(of('one'))}`,
      ratio: median(rounds.map(({ many, one }) => many / one)),
      target: { at: 'least', ratio: 0.67 },
    },
    {
      what: '10,000 idle queues with three replicas: the busiest broker',
      ours: `${(of('idle') * 100).toFixed(1)} % of a core`,
      peer: '2 %',
      ratio: of('idle') / 0.02,
      target: { at: 'most', ratio: 1 },
    },
  ];
};
