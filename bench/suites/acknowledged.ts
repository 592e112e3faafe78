/**
 * QoS 1 and QoS 2 publishes to an ordinary topic that nobody subscribes to and no queue captures,
 * 64 publishers, 256 B: what an acknowledgement costs by itself. At QoS 2 a message is over with
 * its PUBCOMP. Against Mosquitto and Aedes.
 */

import { runLoad } from '../load/load.ts';
import { startAedes, startFluxmq, startMosquitto } from '../peers/peers.ts';
import { fresh, type Peer } from '../peers/peer.ts';
import { median, perSecond, ranAlone, type Finding } from '../report.ts';
import { scaled, type Suite, type SuiteOptions } from './suite.ts';

const CONNECTIONS = 64;
const PAYLOAD_BYTES = 256;
const MILLION = 1_000_000;
const WARM_UP = 0.2;

interface Load {
  readonly qos: 1 | 2;
  readonly window: 1 | 20;
  readonly messages: number;
}

const LOADS: readonly Load[] = [
  { qos: 1, window: 1, messages: 400_000 },
  { qos: 1, window: 20, messages: 1_000_000 },
  { qos: 2, window: 1, messages: 200_000 },
  { qos: 2, window: 20, messages: 500_000 },
];

interface Contestant {
  readonly name: string;
  readonly start: () => Promise<Peer>;
  /** To be reached at window 1 and 20: our rate to its. */
  readonly targets: Readonly<Record<1 | 20, number>>;
  /** Of the messages: the slower ones need not do all. */
  readonly share: number;
}

const PEERS: readonly Contestant[] = [
  {
    name: 'Mosquitto',
    start: () => startMosquitto(18840),
    targets: { 1: 0.8, 20: 2 },
    share: 0.5,
  },
  { name: 'Aedes', start: () => startAedes(18860), targets: { 1: 2, 20: 2 }, share: 0.25 },
];

interface Measured {
  readonly perSecond: number;
  /** Of the broker, for a million messages. */
  readonly cpuSeconds: number;
}

async function measure(peer: Peer, load: Load, options: SuiteOptions): Promise<Measured> {
  const run = {
    port: peer.port,
    connections: CONNECTIONS,
    payloadBytes: PAYLOAD_BYTES,
    topics: ['metrics/one'],
    ...load,
  };
  // Before it is measured, code is compiled.
  const messages = Math.max(CONNECTIONS, Math.floor(load.messages * WARM_UP));
  await runLoad({ kind: 'mqtt-publish', run: { ...run, messages } });
  const before = await peer.cpuSeconds();
  const result = await runLoad({ kind: 'mqtt-publish', run });
  const cpu = (((await peer.cpuSeconds()) - before) * MILLION) / result.messages;
  const generator = (result.cpuSeconds * MILLION) / result.messages;
  options.progress(
    `${peer.name} QoS ${load.qos}, window ${load.window}: ${perSecond(result.perSecond)}, ` +
      `${cpu.toFixed(1)} CPU-s a million (generator ${generator.toFixed(1)}), ` +
      `p50 ${result.p50Ms} ms, p99 ${result.p99Ms} ms`,
  );
  return { perSecond: result.perSecond, cpuSeconds: cpu };
}

function shown(rounds: readonly Measured[]): string {
  const rate = perSecond(median(rounds.map((each) => each.perSecond)));
  return `${rate}, ${median(rounds.map((each) => each.cpuSeconds)).toFixed(1)} CPU-s a million`;
}

async function compared(load: Load, options: SuiteOptions): Promise<Finding[]> {
  const ours: Measured[] = [];
  const own = { start: () => startFluxmq(options.port, []), share: 1 } as const;
  const peers = options.alone ? [] : PEERS;
  const theirs = peers.map((): Measured[] => []);
  const messages = scaled(load.messages, options);
  for (let round = 0; round < options.rounds; round += 1) {
    for (const [nth, { start, share }] of [own, ...peers].entries()) {
      const part = { ...load, messages: Math.max(CONNECTIONS, Math.floor(messages * share)) };
      const measured = await fresh(start, (peer) => measure(peer, part, options));
      (nth === 0 ? ours : theirs[nth - 1])?.push(measured);
    }
  }
  const { qos, window } = load;
  const what = `QoS ${qos} publishes without a queue, window ${window}`;
  if (options.alone) return [ranAlone(what, shown(ours))];
  return peers.map(({ name, targets }, nth) => ({
    what,
    ours: shown(ours),
    peer: `${name} ${shown(theirs[nth] ?? [])}`,
    ratio: median(ours.map((each, i) => each.perSecond / (theirs[nth]?.[i]?.perSecond ?? 0))),
    target: { at: 'least', ratio: targets[window] },
  }));
}

export const acknowledgedSuite: Suite = async (options) => {
  const findings: Finding[] = [];
  for (const load of LOADS) findings.push(...(await compared(load, options)));
  return findings;
};
