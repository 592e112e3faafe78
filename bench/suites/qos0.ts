/**
 * QoS 0 in the shapes 1:1, 1:100 and 100:1: messages delivered a second of the broker's CPU, which
 * does not depend on what else the machine does; against Mosquitto and Aedes. Publishers write ten
 * or a hundred publishes at once, as one that has much to say does.
 */

import { runLoad } from '../load/load.ts';
import { startAedes, startFluxmq, startMosquitto } from '../peers/peers.ts';
import { fresh, type Peer } from '../peers/peer.ts';
import { median, perSecond, ranAlone, type Finding } from '../report.ts';
import { scaled, type Suite, type SuiteOptions } from './suite.ts';

const PAYLOAD_BYTES = 256;
const WARM_UP = 0.2;

interface Shape {
  readonly name: string;
  readonly publishers: number;
  readonly subscribers: number;
  readonly publishes: number;
  readonly burst: number;
  readonly ahead: number;
}

const SHAPES: readonly Shape[] = [
  { name: '1:1', publishers: 1, subscribers: 1, publishes: 600_000, burst: 100, ahead: 1000 },
  { name: '1:100', publishers: 1, subscribers: 100, publishes: 20_000, burst: 100, ahead: 100 },
  { name: '100:1', publishers: 100, subscribers: 1, publishes: 600_000, burst: 10, ahead: 1000 },
];

const PEERS = [
  { name: 'Mosquitto', start: () => startMosquitto(18840), target: 0.8, share: 1 },
  // Slow enough that a part of the messages tells as much.
  { name: 'Aedes', start: () => startAedes(18860), target: 2, share: 0.2 },
] as const;

async function perCpuSecond(peer: Peer, shape: Shape, options: SuiteOptions): Promise<number> {
  const { name, ...load } = shape;
  const run = { ...load, port: peer.port, payloadBytes: PAYLOAD_BYTES, topic: 'metrics/one' };
  // Before it is measured, code is compiled.
  const publishes = Math.max(shape.burst, Math.floor(shape.publishes * WARM_UP));
  await runLoad({ kind: 'mqtt-routed', run: { ...run, publishes } });
  const before = await peer.cpuSeconds();
  const result = await runLoad({ kind: 'mqtt-routed', run });
  const cpuSeconds = (await peer.cpuSeconds()) - before;
  const rate = result.messages / cpuSeconds;
  options.progress(
    `${peer.name} ${name}: ${perSecond(result.perSecond)}, ${Math.round(rate)} a CPU-second`,
  );
  return rate;
}

async function compared(shape: Shape, options: SuiteOptions): Promise<Finding[]> {
  const ours: number[] = [];
  const peers = options.alone ? [] : PEERS;
  const theirs = peers.map((): number[] => []);
  const publishes = Math.max(shape.burst, scaled(shape.publishes, options));
  for (let round = 0; round < options.rounds; round += 1) {
    const measure = (peer: Peer): Promise<number> =>
      perCpuSecond(peer, { ...shape, publishes }, options);
    ours.push(await fresh(() => startFluxmq(options.port, []), measure));
    for (const [nth, { start, share }] of peers.entries()) {
      const part = { ...shape, publishes: Math.max(shape.burst, publishes * share) };
      theirs[nth]?.push(await fresh(start, (peer) => perCpuSecond(peer, part, options)));
    }
  }
  const what = `QoS 0, ${shape.name}, messages a CPU-second`;
  if (options.alone) return [ranAlone(what, perSecond(median(ours)))];
  return peers.map(({ name, target }, nth) => ({
    what,
    ours: perSecond(median(ours)),
    peer: `${name} ${perSecond(median(theirs[nth] ?? []))}`,
    ratio: median(ours.map((value, i) => value / (theirs[nth]?.[i] ?? 0))),
    target: { at: 'least', ratio: target },
  }));
}

export const qos0Suite: Suite = async (options) => {
  const findings: Finding[] = [];
  for (const shape of SHAPES) findings.push(...(await compared(shape, options)));
  return findings;
};
