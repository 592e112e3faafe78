/**
 * QoS 0 fan-out, one publisher to 100 subscribers: messages a second of the broker's CPU; against
 * Aedes.
 */

import { runLoad } from '../load/load.ts';
import { startAedes, startFluxmq } from '../peers/peers.ts';
import type { Peer } from '../peers/peer.ts';
import { median, perSecond } from '../report.ts';
import { scaled, type Suite, type SuiteOptions } from './suite.ts';

async function perCpuSecond(peer: Peer, publishes: number, options: SuiteOptions): Promise<number> {
  const run = {
    port: peer.port,
    subscribers: 100,
    publishes,
    payloadBytes: 256,
    topic: 'metrics/one',
  };
  const before = await peer.cpuSeconds();
  const result = await runLoad({ kind: 'mqtt-fan-out', run });
  const cpuSeconds = (await peer.cpuSeconds()) - before;
  const rate = result.messages / cpuSeconds;
  options.progress(
    `${peer.name} fan-out: ${perSecond(result.perSecond)}, ${Math.round(rate)} a CPU-second`,
  );
  return rate;
}

export const fanOutSuite: Suite = async (options) => {
  const ours: number[] = [];
  const theirs: number[] = [];
  const publishes = scaled(20_000, options);
  for (let round = 0; round < options.rounds; round += 1) {
    const fluxmq = await startFluxmq(18830, []);
    try {
      ours.push(await perCpuSecond(fluxmq, publishes, options));
    } finally {
      await fluxmq.stop();
    }
    const aedes = await startAedes(18860);
    try {
      theirs.push(await perCpuSecond(aedes, publishes, options));
    } finally {
      await aedes.stop();
    }
  }
  return [
    {
      what: 'QoS 0 fan-out, one to 100 subscribers, messages a CPU-second',
      ours: perSecond(median(ours)),
      peer: `Aedes ${perSecond(median(theirs))}`,
      ratio: median(ours.map((value, i) => value / (theirs[i] ?? 0))),
      target: { at: 'least', ratio: 2 },
    },
  ];
};
