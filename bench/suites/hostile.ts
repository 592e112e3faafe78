/**
 * What hostile peers cost a pair that means well: the time from its publish to the delivery, QoS 1,
 * alone and beside all that `bench/load/harass.ts` does, in turn on the same broker: as it comes,
 * and with a bound on the bytes of one client, as who expects such peers sets it. Mosquitto's own
 * figures are told beside ours, under the same peers.
 */

import { loadBeside, runLoad } from '../load/load.ts';
import type { RunResult } from '../load/mqtt.ts';
import { startFluxmq, startMosquitto } from '../peers/peers.ts';
import { fresh, type Peer } from '../peers/peer.ts';
import { median, ranAlone, type Finding } from '../report.ts';
import { scaled, type Suite, type SuiteOptions } from './suite.ts';

const IDLE = 10_000;
const PER_SECOND = 100;
const PAYLOAD_BYTES = 256;
const SECONDS = 20;
const WARM_UP_SECONDS = 5;
/** Each connection is a file, here and there; those that are not idle come on top. */
const LIMITS = [
  '--set',
  'server.mqtt.tcp.max_connections=13000',
  '--set',
  'server.mqtt.tcp.connect_timeout=10s',
];
const CLIENT_RATE = ['--set', 'server.mqtt.client_rate.bytes=10MiB'];

interface Measured {
  readonly alone: RunResult;
  readonly beside: RunResult;
}

function pair(peer: Peer, seconds: number): Promise<RunResult> {
  const load = { qos: 1, perSecond: PER_SECOND, seconds, window: 1 } as const;
  const run = { port: peer.port, pairs: 1, payloadBytes: PAYLOAD_BYTES, ...load };
  return runLoad({ kind: 'mqtt-delivered', run });
}

async function measure(peer: Peer, options: SuiteOptions): Promise<Measured> {
  const seconds = options.smoke ? 1 : SECONDS;
  await pair(peer, options.smoke ? 1 : WARM_UP_SECONDS);
  const alone = await pair(peer, seconds);
  const enough = new AbortController();
  const run = { port: peer.port, idle: scaled(IDLE, options) };
  let harassed: Promise<void> | undefined;
  await new Promise<void>((begun, failed) => {
    harassed = loadBeside({ kind: 'mqtt-harass', run }, enough.signal, begun);
    harassed.catch(failed);
  });
  const beside = await pair(peer, seconds);
  enough.abort();
  await harassed;
  options.progress(
    `${peer.name}, alone: p50 ${alone.p50Ms} ms, p99 ${alone.p99Ms} ms; ` +
      `beside hostile peers: p50 ${beside.p50Ms} ms, p99 ${beside.p99Ms} ms`,
  );
  return { alone, beside };
}

function shown(rounds: readonly Measured[], when: 'alone' | 'beside'): string {
  return `${median(rounds.map((each) => each[when].p99Ms)).toFixed(2)} ms`;
}

/** One row: ours beside them, against ours alone. */
function found(what: string, ours: readonly Measured[], peer: string): Finding {
  return {
    what,
    ours: shown(ours, 'beside'),
    peer: `alone ${shown(ours, 'alone')}${peer}`,
    ratio: median(ours.map(({ alone, beside }) => beside.p99Ms / alone.p99Ms)),
    target: { at: 'most', ratio: 3 },
  };
}

export const hostileSuite: Suite = async (options) => {
  const ours: Measured[] = [];
  const bounded: Measured[] = [];
  const theirs: Measured[] = [];
  const measured = (peer: Peer): Promise<Measured> => measure(peer, options);
  for (let round = 0; round < options.rounds; round += 1) {
    ours.push(await fresh(() => startFluxmq(options.port, LIMITS), measured));
    const all = [...LIMITS, ...CLIENT_RATE];
    bounded.push(await fresh(() => startFluxmq(options.port, all), measured));
    if (!options.alone) theirs.push(await fresh(() => startMosquitto(18840), measured));
  }
  const what = 'a good pair beside hostile peers, from publish to delivery, p99';
  const withRate = `${what}, 10 MiB/s a client`;
  if (options.alone) {
    return [ranAlone(what, shown(ours, 'beside')), ranAlone(withRate, shown(bounded, 'beside'))];
  }
  const mosquitto = ` (Mosquitto ${shown(theirs, 'beside')}, alone ${shown(theirs, 'alone')})`;
  return [found(what, ours, mosquitto), found(withRate, bounded, '')];
};
