/**
 * QoS 1 to 1,000 persistent sessions that sleep: all of them subscribed to one topic, against
 * as many messages that are stored each for itself, for 1,000 sessions with a topic of its own
 * each. What is compared is how many messages a second are kept for a session. Beside both,
 * Mosquitto with its persistence file, which it writes each half hour and does not sync.
 *
 * One topic has few publishers, and separate ones have many: so each is near its most, and the
 * comparison is not helped by waiting. Some of the sessions wake up afterwards, and get everything
 * in order.
 */

import { runLoad } from '../load/load.ts';
import { written } from '../peers/metrics.ts';
import { startFluxmq, startMosquitto } from '../peers/peers.ts';
import { fresh, type Peer } from '../peers/peer.ts';
import { median, perSecond, type Finding } from '../report.ts';
import type { Suite, SuiteOptions } from './suite.ts';

const SESSIONS = 1000;
const WINDOW = 20;
const PAYLOADS = [256, 4096] as const;
const PORT = 18830;
const OPS_PORT = 18831;
const TARGET = 5;
/** Publishers of one topic, and of the separate ones. */
const FEW = 4;
const MANY = 64;
/** Messages for each session; below `sessions.max_queued_messages`. */
const MESSAGES = 500;
const WARM_UP = 100;
/** The publishers of the warm-up are numbered from here. */
const OTHERS = 1000;
/** So old are the figures of the metrics at most. */
const FIGURES_MS = 2500;
const WOKEN = [0, 1, 255, 256, 511, 512, 999] as const;

const OURS = { isOurs: true, start: () => startOurs() } as const;
const MOSQUITTO = { isOurs: false, start: () => startPersistentMosquitto() } as const;

interface Measured {
  /** Messages that were kept for a session, a second. */
  readonly pairs: number;
  /** Of our log for each publish; 0 for others. */
  readonly logBytes: number;
}

interface Part {
  readonly start: () => Promise<Peer>;
  readonly isOurs: boolean;
  readonly isSeparate: boolean;
  readonly payloadBytes: number;
}

function startOurs(): Promise<Peer> {
  return startFluxmq(PORT, ['--set', `server.ops.addr=127.0.0.1:${OPS_PORT}`]);
}

function startPersistentMosquitto(): Promise<Peer> {
  return startMosquitto(18840, ['persistence true', 'user root']);
}

async function measure(peer: Peer, part: Part, options: SuiteOptions): Promise<Measured> {
  const { isSeparate, payloadBytes } = part;
  const { port } = peer;
  const filter = isSeparate ? 'sleepers/%n' : 'sleepers/all';
  const topics = isSeparate
    ? Array.from({ length: SESSIONS }, (_, nth) => filter.replace('%n', String(nth)))
    : [filter];
  await runLoad({ kind: 'mqtt-sleep', run: { port, from: 0, sessions: SESSIONS, filter } });
  const each = isSeparate ? SESSIONS : 1;
  const publish = (messages: number, publisher: number) =>
    runLoad({
      kind: 'mqtt-publish',
      run: {
        port,
        connections: isSeparate ? MANY : FEW,
        window: WINDOW,
        payloadBytes,
        messages: messages * each,
        topics,
        qos: 1,
        ...(!isSeparate && { publisher }),
      },
    });
  const shorter = options.smoke ? 10 : 1;
  const warmUp = WARM_UP / shorter;
  const messages = MESSAGES / shorter;
  const warm = await publish(warmUp, OTHERS);
  const log = await logBytes(part);
  const cpu = await peer.cpuSeconds();
  const result = await publish(messages, 0);
  const pairs = (result.perSecond * SESSIONS) / each;
  const cpuOfMillion = ((await peer.cpuSeconds()) - cpu) / ((messages * SESSIONS) / 1_000_000);
  const logged = ((await logBytes(part)) - log) / result.messages;
  if (!isSeparate) {
    const kept = warm.messages + result.messages;
    await runLoad({ kind: 'mqtt-wake', run: { port, sessions: WOKEN, messages: kept } });
  }
  options.progress(
    `${peer.name}, ${isSeparate ? '1,000 topics' : 'one topic'}, ${payloadBytes} B: ` +
      `${perSecond(result.perSecond)} publishes, ${perSecond(pairs)} for a session, ` +
      `${Math.round(logged)} B of log a publish, ${cpuOfMillion.toFixed(1)} CPU-s a million, ` +
      `p99 ${result.p99Ms} ms`,
  );
  return { pairs, logBytes: logged };
}

async function logBytes({ isOurs }: Part): Promise<number> {
  if (!isOurs) return 0;
  // What the metrics say may be some time old.
  await new Promise((resolve) => {
    setTimeout(resolve, FIGURES_MS);
  });
  return (await written(OPS_PORT)).log;
}

/** By turns: one topic and separate ones, ours and theirs. */
async function compared(payloadBytes: number, options: SuiteOptions): Promise<Finding[]> {
  const parts = [OURS, MOSQUITTO].flatMap((contestant) =>
    [false, true].map((isSeparate) => ({ ...contestant, isSeparate, payloadBytes })),
  );
  const rounds = parts.map((): Measured[] => []);
  for (let round = 0; round < options.rounds; round += 1) {
    for (const [nth, part] of parts.entries()) {
      const measured = await fresh(part.start, (peer) => measure(peer, part, options));
      rounds[nth]?.push(measured);
    }
  }
  const [one = [], separate = [], theirs = [], theirSeparate = []] = rounds;
  const pairs = (all: readonly Measured[]): string => perSecond(median(all.map((m) => m.pairs)));
  const logged = median(one.map((each) => each.logBytes));
  const ratioTo = (all: readonly Measured[]): number =>
    median(one.map((each, nth) => each.pairs / (all[nth]?.pairs ?? 0)));
  const mosquitto =
    `Mosquitto, which syncs nothing, ${pairs(theirs)}, ` +
    `each for itself ${pairs(theirSeparate)}`;
  const what = `QoS 1 of ${payloadBytes} B to 1,000 sleeping sessions`;
  return [
    {
      what: `${what}, one topic: kept for a session`,
      ours: pairs(one),
      peer: `each for itself ${pairs(separate)} (${mosquitto})`,
      ratio: ratioTo(separate),
      target: { at: 'least', ratio: TARGET },
    },
    {
      what: `${what}, one topic: log for each publish`,
      ours: `${Math.round(logged)} B`,
      peer: `the payload once and 8 B for each session`,
      ratio: logged / (payloadBytes + 8 * SESSIONS),
      target: { at: 'most', ratio: 1.1 },
    },
  ];
}

export const sleepersSuite: Suite = async (options) => {
  const findings: Finding[] = [];
  for (const payloadBytes of PAYLOADS) findings.push(...(await compared(payloadBytes, options)));
  return findings;
};
