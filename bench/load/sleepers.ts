/**
 * MQTT sessions that sleep: made with one subscription each and left alone, and woken later, to
 * see what they were kept.
 *
 * A session is named by its number alone, so that whoever wakes it needs no list. One that wakes
 * up acknowledges what it gets, and throws at the first message that is missing, comes twice or
 * comes out of the order of its publisher: each payload begins with the number of its publisher
 * and its own (`Packets.publisher`).
 */

import type { Socket } from 'node:net';
import { LatencyHistogram, openSocket } from './connections.ts';
import { type RunResult, summary } from './mqtt.ts';
import { greet, PublishWalker, type Qos, sendDisconnect, subscribeMqtt } from './mqtt-wire.ts';

export interface SleepRun {
  readonly port: number;
  /** The first number, and how many. */
  readonly from: number;
  readonly sessions: number;
  /** The filter of each; `%n` in it is the session's number. */
  readonly filter: string;
}

export interface WakeRun {
  readonly port: number;
  readonly sessions: readonly number[];
  /** So many are waiting for each of them. */
  readonly messages: number;
}

const AT_ONCE = 200;
const EXPIRY_SECONDS = 86_400;
/** That one who woke up waits for its messages. */
const MESSAGES_MAX_MS = 60_000;

const HELLO = { version: 5, expirySeconds: EXPIRY_SECONDS } as const;

function idOf(nth: number): string {
  return `sleeper-${nth}`;
}

function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    socket.once('close', () => resolve());
  });
}

async function fallAsleep(run: SleepRun, nth: number): Promise<void> {
  const socket = await openSocket(run.port);
  await greet(socket, idOf(nth), HELLO);
  const filter = run.filter.replace('%n', String(nth));
  await subscribeMqtt(socket, { filter, qos: 1, version: 5 });
  const gone = closed(socket);
  sendDisconnect(socket);
  await gone;
}

/** One after the other in so many rows at once; a second counts sessions. */
export async function sleep(run: SleepRun): Promise<RunResult> {
  const startedAt = performance.now();
  let next = run.from;
  const row = async (): Promise<void> => {
    while (next < run.from + run.sessions) {
      const nth = next;
      next += 1;
      await fallAsleep(run, nth);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, row));
  return summary(run.sessions, startedAt, new LatencyHistogram());
}

/** What one session has got so far of each publisher. */
class Received {
  readonly #next = new Map<number, number>();
  count = 0;

  take(bytes: Buffer, payloadAt: number): void {
    const publisher = bytes.readUInt32BE(payloadAt);
    const sequence = bytes.readUInt32BE(payloadAt + 4);
    const expected = this.#next.get(publisher) ?? 0;
    if (sequence !== expected) {
      throw new Error(`of publisher ${publisher} came ${sequence} and not ${expected}`);
    }
    this.#next.set(publisher, sequence + 1);
    this.count += 1;
  }
}

/** Where the payload of a PUBLISH of 5.0 begins; its properties are shorter than 128 bytes. */
function payloadOf(bytes: Buffer, at: number, qos: Qos): { id: number; payload: number } {
  const id = at + 2 + bytes.readUInt16BE(at);
  const properties = qos > 0 ? id + 2 : id;
  return { id, payload: properties + 1 + (bytes[properties] ?? 0) };
}

async function wakeOne(run: WakeRun, nth: number): Promise<void> {
  const socket = await openSocket(run.port);
  if (!(await greet(socket, idOf(nth), HELLO))) throw new Error(`session ${nth} is not present`);
  const walker = new PublishWalker();
  const received = new Received();
  await new Promise<void>((resolve, reject) => {
    const late = setTimeout(() => {
      reject(new Error(`session ${nth} got ${received.count} of ${run.messages} messages`));
    }, MESSAGES_MAX_MS);
    socket.on('error', reject);
    socket.on('close', () => reject(new Error(`the broker closed session ${nth}`)));
    socket.on('data', (chunk: Buffer) => {
      const acks: number[] = [];
      try {
        walker.walk(chunk, (bytes, at, qos) => {
          const { id, payload } = payloadOf(bytes, at, qos as Qos);
          received.take(bytes, payload);
          acks.push(0x40, 2, bytes[id] ?? 0, bytes[id + 1] ?? 0);
        });
      } catch (error) {
        reject(error as Error);
      }
      if (acks.length > 0) socket.write(Buffer.from(acks));
      if (received.count < run.messages) return;
      clearTimeout(late);
      resolve();
    });
  });
  socket.removeAllListeners('close').destroy();
}

/** One session after the other. */
export async function wake(run: WakeRun): Promise<RunResult> {
  const startedAt = performance.now();
  for (const nth of run.sessions) await wakeOne(run, nth);
  return summary(run.sessions.length * run.messages, startedAt, new LatencyHistogram());
}
