/**
 * From a publish to its delivery at half load, 50 pairs of a publisher and a subscriber, QoS 0 and
 * QoS 1; against Mosquitto. What either of them delivers at most is measured first; half of what
 * the slower one does is the rate for both.
 */

import { runLoad } from '../load/load.ts';
import type { RunResult } from '../load/mqtt.ts';
import { startFluxmq, startMosquitto } from '../peers/peers.ts';
import { fresh, type Peer } from '../peers/peer.ts';
import { median, perSecond, ranAlone, type Finding } from '../report.ts';
import type { Suite, SuiteOptions } from './suite.ts';

const PAIRS = 50;
const WINDOW = 20;
const PAYLOAD_BYTES = 256;
const SECONDS = 10;
/** Before it, code is compiled. */
const WARM_UP_SECONDS = 3;

function starts({ port, alone }: SuiteOptions): readonly (() => Promise<Peer>)[] {
  const ours = (): Promise<Peer> => startFluxmq(port, []);
  return alone ? [ours] : [ours, () => startMosquitto(18840)];
}

async function delivered(
  peer: Peer,
  load: { qos: 0 | 1; perSecond?: number; seconds: number },
): Promise<RunResult> {
  const run = { port: peer.port, pairs: PAIRS, window: WINDOW, payloadBytes: PAYLOAD_BYTES };
  return runLoad({ kind: 'mqtt-delivered', run: { ...run, ...load } });
}

async function most(qos: 0 | 1, options: SuiteOptions): Promise<number> {
  const shorter = options.smoke ? 0.1 : 1;
  let least = Number.POSITIVE_INFINITY;
  for (const start of starts(options)) {
    const result = await fresh(start, async (peer) => {
      await delivered(peer, { qos, seconds: WARM_UP_SECONDS * shorter });
      return delivered(peer, { qos, seconds: WARM_UP_SECONDS * shorter });
    });
    options.progress(`QoS ${qos}, at most ${perSecond(result.perSecond)}`);
    least = Math.min(least, result.perSecond);
  }
  return least;
}

async function compared(qos: 0 | 1, options: SuiteOptions): Promise<Finding[]> {
  const rate = (await most(qos, options)) / 2;
  const rounds: RunResult[][] = starts(options).map(() => []);
  const shorter = options.smoke ? 0.1 : 1;
  for (let round = 0; round < options.rounds; round += 1) {
    for (const [nth, start] of starts(options).entries()) {
      const result = await fresh(start, async (peer) => {
        await delivered(peer, { qos, perSecond: rate, seconds: WARM_UP_SECONDS * shorter });
        const before = await peer.cpuSeconds();
        const timed = await delivered(peer, { qos, perSecond: rate, seconds: SECONDS * shorter });
        const cpu = (((await peer.cpuSeconds()) - before) * 1_000_000) / timed.messages;
        options.progress(
          `${peer.name} QoS ${qos} at ${perSecond(rate)}: p50 ${timed.p50Ms} ms, ` +
            `p99 ${timed.p99Ms} ms, ${cpu.toFixed(1)} CPU-s a million`,
        );
        return timed;
      });
      rounds[nth]?.push(result);
    }
  }
  const [ours = [], theirs = []] = rounds;
  return (['p50Ms', 'p99Ms'] as const).map((name) => {
    const what = `QoS ${qos}, from publish to delivery at ${perSecond(rate)}, ${name.slice(0, 3)}`;
    const own = `${median(ours.map((each) => each[name])).toFixed(2)} ms`;
    if (options.alone) return ranAlone(what, own);
    return {
      what,
      ours: own,
      peer: `Mosquitto ${median(theirs.map((each) => each[name])).toFixed(2)} ms`,
      ratio: median(ours.map((each, i) => each[name] / (theirs[i]?.[name] ?? 0))),
      target: { at: 'most', ratio: 2 },
    };
  });
}

export const latencySuite: Suite = async (options) => [
  ...(await compared(0, options)),
  ...(await compared(1, options)),
];
