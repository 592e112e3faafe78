/**
 * The time from a publish to its delivery: pairs of a publisher and a subscriber, each pair with a
 * topic of its own. Either at a given rate, whatever the broker does, or as much as it delivers
 * with a window of messages that have not arrived.
 *
 * Each payload begins with the moment at which it was due, by the clock of this process, which also
 * receives it: a pause of the broker, or of this process, is seen by all that fall into it.
 */

import type { Socket } from 'node:net';
import { LatencyHistogram } from './connections.ts';
import { type RunResult, summary } from './mqtt.ts';
import { connectMqtt, ownId, publishPacket, PublishWalker, subscribeMqtt } from './mqtt-wire.ts';

export interface DeliveredRun {
  readonly port: number;
  readonly pairs: number;
  /** Over all pairs; absent: as much as is delivered with `window`. */
  readonly perSecond?: number;
  /** Of each pair. */
  readonly window: number;
  readonly seconds: number;
  readonly payloadBytes: number;
  readonly qos: 0 | 1;
}

const TURN_MS = 1;
/** After the last publish was sent, deliveries are waited for so long. */
const DELIVERIES_MAX_MS = 10_000;
/** Ids in turn; more than are ever under way. */
const IDS = 60_000;

class Pair {
  readonly #publisher: Socket;
  readonly #template: Buffer;
  readonly #payloadAt: number;
  readonly #qos: 0 | 1;
  readonly #latency: LatencyHistogram;
  readonly #walker = new PublishWalker();
  sent = 0;
  arrived = 0;

  constructor(
    publisher: Socket,
    run: DeliveredRun,
    parts: { topic: string; latency: LatencyHistogram },
  ) {
    this.#publisher = publisher;
    this.#qos = run.qos;
    this.#latency = parts.latency;
    const payload = Buffer.alloc(Math.max(8, run.payloadBytes), 0x61);
    this.#template = publishPacket({ topic: parts.topic, qos: run.qos, packetId: 1, payload });
    this.#payloadAt = this.#template.length - payload.length;
    // PUBACKs.
    publisher.resume();
  }

  send(dueMs: number): void {
    this.sent += 1;
    const bytes = Buffer.from(this.#template);
    bytes.writeDoubleBE(dueMs, this.#payloadAt);
    if (this.#qos > 0) bytes.writeUInt16BE(1 + (this.sent % IDS), this.#payloadAt - 2);
    this.#publisher.write(bytes);
  }

  /** How many came. */
  received(socket: Socket, chunk: Buffer): number {
    const now = performance.now();
    const acks: number[] = [];
    let count = 0;
    this.#walker.walk(chunk, (bytes, at, qos) => {
      const id = at + 2 + bytes.readUInt16BE(at);
      const payload = qos > 0 ? id + 2 : id;
      this.#latency.add(now - bytes.readDoubleBE(payload), 1);
      if (qos > 0) acks.push(0x40, 2, bytes[id] ?? 0, bytes[id + 1] ?? 0);
      count += 1;
    });
    if (acks.length > 0) socket.write(Buffer.from(acks));
    this.arrived += count;
    return count;
  }
}

async function makePair(run: DeliveredRun, nth: number, latency: LatencyHistogram) {
  const topic = `latency/${nth}`;
  const publisher = await connectMqtt(run.port, ownId('publisher', nth));
  const subscriber = await connectMqtt(run.port, ownId('subscriber', nth));
  await subscribeMqtt(subscriber, { filter: topic, qos: run.qos });
  return { publisher, subscriber, pair: new Pair(publisher, run, { topic, latency }) };
}

/** Sends what is due, a pair after the other, until the time is over. */
function paced(perSecond: number, seconds: number, pairs: readonly Pair[]): Promise<void> {
  const whole = Math.floor(perSecond * seconds);
  const startedAt = performance.now();
  let given = 0;
  return new Promise((resolve) => {
    const timer = setInterval(() => {
      const passed = (performance.now() - startedAt) / 1000;
      // The first one is due at the start.
      const due = Math.min(whole, 1 + Math.floor(passed * perSecond));
      for (; given < due; given += 1) {
        pairs[given % pairs.length]?.send(startedAt + (given * 1000) / perSecond);
      }
      if (given < whole) return;
      clearInterval(timer);
      resolve();
    }, TURN_MS);
  });
}

function after(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}

export async function deliver(run: DeliveredRun): Promise<RunResult> {
  const latency = new LatencyHistogram();
  const made = await Promise.all(
    Array.from({ length: run.pairs }, (_, nth) => makePair(run, nth, latency)),
  );
  const pairs = made.map(({ pair }) => pair);
  let isOver = false;
  for (const { subscriber, pair } of made) {
    subscriber.on('data', (chunk: Buffer) => {
      const count = pair.received(subscriber, chunk);
      if (run.perSecond !== undefined || isOver) return;
      const now = performance.now();
      for (let i = 0; i < count; i += 1) pair.send(now);
    });
  }
  const startedAt = performance.now();
  if (run.perSecond === undefined) {
    for (const pair of pairs) for (let i = 0; i < run.window; i += 1) pair.send(startedAt);
    await after(run.seconds * 1000);
    isOver = true;
  } else await paced(run.perSecond, run.seconds, pairs);
  const result = summary(total(pairs, 'arrived'), startedAt, latency);
  const deadline = performance.now() + DELIVERIES_MAX_MS;
  while (total(pairs, 'arrived') < total(pairs, 'sent')) {
    if (performance.now() > deadline) throw new Error('not everything was delivered');
    await after(5);
  }
  for (const { publisher, subscriber } of made) {
    publisher.destroy();
    subscriber.destroy();
  }
  return { ...result, p50Ms: latency.quantileMs(0.5), p99Ms: latency.quantileMs(0.99) };
}

function total(pairs: readonly Pair[], of: 'sent' | 'arrived'): number {
  return pairs.reduce((sum, pair) => sum + pair[of], 0);
}
