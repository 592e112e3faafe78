/**
 * How long one publish takes at a tenth of what three brokers can take: three replicas against a
 * single broker, at the same rate. The rate is measured first, with 64 publishers and a window of
 * 20; then as many publishers send when a message is due, whatever was answered.
 *
 * On one machine the three replicas have one disk, so their syncs wait for each other.
 */

import { runLoad, runSteadyLoad } from '../load/load.ts';
import type { SteadyResult } from '../load/steady.ts';
import { FluxmqCluster } from '../peers/fluxmq-cluster.ts';
import { startFluxmq } from '../peers/peers.ts';
import { median, perSecond, type Finding } from '../report.ts';
import { scaled, type Suite, type SuiteOptions } from './suite.ts';

const CONNECTIONS = 64;
const PAYLOAD_BYTES = 256;
const MESSAGES = 400_000;
const SECONDS = 15;
const SHARE = 0.1;
/** Before it, code is compiled and caches fill. */
const WARM_UP_SECONDS = 3;
const SINGLE_PORT = 18830;

async function steady(port: number, rate: number, options: SuiteOptions): Promise<SteadyResult> {
  const run = {
    ports: [port],
    connections: CONNECTIONS,
    perSecond: rate,
    payloadBytes: PAYLOAD_BYTES,
    topic: '$queue/orders',
  };
  const shorter = options.smoke ? 0.1 : 1;
  await runSteadyLoad({ ...run, seconds: WARM_UP_SECONDS * shorter });
  return runSteadyLoad({ ...run, seconds: SECONDS * shorter });
}

/** The rate that was given, and what a publish took at a tenth of it. */
async function ofCluster(options: SuiteOptions): Promise<SteadyResult> {
  const cluster = await FluxmqCluster.start();
  try {
    const [leader] = await cluster.makeQueue('full');
    const port = leader?.port ?? 0;
    const load = { port, connections: CONNECTIONS, window: 20, payloadBytes: PAYLOAD_BYTES };
    const messages = scaled(MESSAGES, options);
    const full = await runLoad(cluster.publish('full', { ...load, messages, qos: 1 }));
    return await steady(port, full.perSecond * SHARE, options);
  } finally {
    await cluster.stop();
  }
}

async function ofSingle(rate: number, options: SuiteOptions): Promise<SteadyResult> {
  const peer = await startFluxmq(SINGLE_PORT, []);
  try {
    return await steady(peer.port, rate, options);
  } finally {
    await peer.stop();
  }
}

function told({ perSecond: rate, p50Ms, p99Ms }: SteadyResult): string {
  return `${perSecond(rate)}, p50 ${p50Ms.toFixed(2)} ms, p99 ${p99Ms.toFixed(2)} ms`;
}

export const clusterLatencySuite: Suite = async (options) => {
  const three: SteadyResult[] = [];
  const single: SteadyResult[] = [];
  for (let round = 0; round < options.rounds; round += 1) {
    const ofThree = await ofCluster(options);
    const ofOne = await ofSingle(ofThree.perSecond, options);
    options.progress(`three brokers ${told(ofThree)}; a single one ${told(ofOne)}`);
    three.push(ofThree);
    single.push(ofOne);
  }
  const rate = perSecond(median(three.map((each) => each.perSecond)));
  const finding = (name: 'p50Ms' | 'p99Ms', at: number): Finding => {
    const ms = (all: readonly SteadyResult[]): string =>
      `${median(all.map((each) => each[name])).toFixed(2)} ms`;
    return {
      what: `one publish at a tenth of the load (${rate}), ${name.slice(0, 3)}`,
      ours: ms(three),
      peer: `a single broker ${ms(single)}`,
      ratio: median(three.map((each, i) => each[name] / (single[i]?.[name] ?? 0))),
      target: { at: 'most', ratio: at },
    };
  };
  return [finding('p50Ms', 2.5), finding('p99Ms', 4)];
};
