/**
 * MQTT publishers at a given rate, whatever the broker does: for the time that one publish takes at
 * a load below the most, and for the time in which nothing is acknowledged.
 *
 * Publishes are sent when they are due and do not wait for answers, so that a pause of the broker
 * is seen by all that fall into it. A connection that the broker ends is counted and stays ended;
 * what it had under way is left out. What cannot be sent, because a whole ring of packet ids is
 * under way, is counted as held back.
 */

import type { Socket } from 'node:net';
import { LatencyHistogram } from './connections.ts';
import type { RunResult } from './mqtt.ts';
import { connectMqtt, ownId, preparePublishes, type Prepared } from './mqtt-wire.ts';

export interface SteadyRun {
  /** Connections go to them in turn. */
  readonly ports: readonly number[];
  readonly connections: number;
  readonly perSecond: number;
  readonly seconds: number;
  readonly payloadBytes: number;
  readonly topic: string;
}

export interface SteadyResult extends RunResult {
  /** Between two acknowledgements that followed each other, whoever got them. */
  readonly longestGapMs: number;
  /** That one publish waited. */
  readonly longestMs: number;
  readonly endedConnections: number;
  readonly unanswered: number;
  readonly heldBack: number;
}

/** Said on standard output when the first publish goes out. */
export const BEGUN = 'begun\n';

const TURN_MS = 1;
/** After the last publish was sent, answers are waited for so long. */
const ANSWERS_MAX_MS = 10_000;

class SteadyPublisher {
  readonly #socket: Socket;
  readonly #prepared: Prepared;
  readonly #sentAt: Float64Array;
  readonly #acknowledgedOne: (waitedMs: number, nowMs: number) => void;
  #sent = 0;
  #acknowledged = 0;
  #carry = 0;
  hasEnded = false;

  constructor(
    socket: Socket,
    prepared: Prepared,
    acknowledged: (waitedMs: number, nowMs: number) => void,
  ) {
    this.#socket = socket;
    this.#prepared = prepared;
    this.#acknowledgedOne = acknowledged;
    this.#sentAt = new Float64Array(prepared.starts.length - 1);
    socket.on('data', (chunk) => this.#received(chunk.length));
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.hasEnded = true;
    });
  }

  get underWay(): number {
    return this.hasEnded ? 0 : this.#sent - this.#acknowledged;
  }

  /** False: a whole ring is under way. */
  send(): boolean {
    const ring = this.#sentAt.length;
    if (this.underWay >= ring) return false;
    const at = this.#sent % ring;
    const { bytes, starts } = this.#prepared;
    this.#sentAt[at] = performance.now();
    this.#sent += 1;
    this.#socket.write(bytes.subarray(starts[at], starts[at + 1]));
    return true;
  }

  #received(bytes: number): void {
    const total = this.#carry + bytes;
    this.#carry = total & 3;
    const now = performance.now();
    for (let left = total >> 2; left > 0; left -= 1) {
      const at = this.#acknowledged % this.#sentAt.length;
      this.#acknowledgedOne(now - (this.#sentAt[at] ?? now), now);
      this.#acknowledged += 1;
    }
  }
}

/** Sends what is due, a publisher after the other; resolves with what was held back. */
function sendAll(run: SteadyRun, publishers: readonly SteadyPublisher[]): Promise<number> {
  const whole = Math.floor(run.perSecond * run.seconds);
  const startedAt = performance.now();
  let given = 0;
  let heldBack = 0;
  return new Promise((resolve) => {
    const timer = setInterval(() => {
      const passed = (performance.now() - startedAt) / 1000;
      const due = Math.min(whole, Math.floor(passed * run.perSecond));
      for (; given < due; given += 1) {
        const publisher = publishers[given % publishers.length];
        if (publisher?.hasEnded === false && !publisher.send()) heldBack += 1;
      }
      if (given < whole) return;
      clearInterval(timer);
      resolve(heldBack);
    }, TURN_MS);
  });
}

export async function publishSteadily(run: SteadyRun): Promise<SteadyResult> {
  const latency = new LatencyHistogram();
  let [acknowledged, longestGapMs, longestMs, lastAt] = [0, 0, 0, 0];
  const heard = (waitedMs: number, nowMs: number): void => {
    latency.add(waitedMs, 1);
    acknowledged += 1;
    longestMs = Math.max(longestMs, waitedMs);
    if (lastAt > 0) longestGapMs = Math.max(longestGapMs, nowMs - lastAt);
    lastAt = nowMs;
  };
  const packets = { ...run, topics: [run.topic], qos: 1 as const };
  const sockets = await Promise.all(
    Array.from({ length: run.connections }, (_, i) =>
      connectMqtt(run.ports[i % run.ports.length] ?? 0, ownId('steady', i)),
    ),
  );
  const prepared = preparePublishes(packets, 0);
  const publishers = sockets.map((socket) => new SteadyPublisher(socket, prepared, heard));
  process.stdout.write(BEGUN);
  const startedAt = performance.now();
  const heldBack = await sendAll(run, publishers);
  const underWay = (): number => publishers.reduce((sum, each) => sum + each.underWay, 0);
  const sentAt = performance.now();
  const deadline = sentAt + ANSWERS_MAX_MS;
  while (underWay() > 0 && performance.now() < deadline) {
    await new Promise((resolve) => {
      setTimeout(resolve, 5);
    });
  }
  const seconds = (sentAt - startedAt) / 1000;
  const endedConnections = publishers.filter(({ hasEnded }) => hasEnded).length;
  const unanswered = underWay();
  for (const socket of sockets) socket.destroy();
  return {
    messages: acknowledged,
    seconds,
    perSecond: acknowledged / seconds,
    p50Ms: latency.quantileMs(0.5),
    p99Ms: latency.quantileMs(0.99),
    longestGapMs,
    longestMs,
    endedConnections,
    unanswered,
    heldBack,
  };
}
