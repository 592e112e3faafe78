/**
 * AMQP 0-9-1 on raw sockets, for RabbitMQ as the peer: publishers with confirms and a window, and
 * consumers that acknowledge each delivery. Frames are prepared before the clock starts (AMQP 0-9-1
 * sections 2.3, 4.2).
 */

import type { Socket } from 'node:net';
import { Handshake, LatencyHistogram, openSocket } from './connections.ts';
import { portOf, summary, type ConsumeRun, type PublishRun, type RunResult } from './mqtt.ts';

const FRAME_END = 0xce;

function shortString(text: string): Buffer {
  return Buffer.concat([Buffer.from([Buffer.byteLength(text)]), Buffer.from(text)]);
}

/** A long string, or a table, whose length stands before it. */
function long(bytes: Buffer): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length, 0);
  return Buffer.concat([length, bytes]);
}

function longString(text: string): Buffer {
  return long(Buffer.from(text));
}

function frame(type: number, channel: number, payload: Buffer): Buffer {
  const header = Buffer.alloc(7);
  header.writeUInt8(type, 0);
  header.writeUInt16BE(channel, 1);
  header.writeUInt32BE(payload.length, 3);
  return Buffer.concat([header, payload, Buffer.from([FRAME_END])]);
}

function method(channel: number, classId: number, methodId: number, ...args: Buffer[]): Buffer {
  const ids = Buffer.alloc(4);
  ids.writeUInt16BE(classId, 0);
  ids.writeUInt16BE(methodId, 2);
  return frame(1, channel, Buffer.concat([ids, ...args]));
}

const EMPTY_TABLE = Buffer.alloc(4);

function oneFrame(got: Buffer): number {
  if (got.length < 8) return 0;
  const length = 8 + got.readUInt32BE(3);
  return got.length >= length ? length : 0;
}

async function openChannel(port: number): Promise<{ socket: Socket; handshake: Handshake }> {
  const socket = await openSocket(port);
  const handshake = new Handshake(socket);
  await handshake.exchange(Buffer.from('AMQP\u0000\u0000\u0009\u0001', 'latin1'), oneFrame);
  const startOk = [
    EMPTY_TABLE,
    shortString('PLAIN'),
    longString('\u0000guest\u0000guest'),
    shortString('en_US'),
  ];
  const tune = await handshake.exchange(method(0, 10, 11, ...startOk), oneFrame);
  socket.write(method(0, 10, 31, tune.subarray(11, 17), Buffer.from([0, 0])));
  await handshake.exchange(
    method(0, 10, 40, shortString('/'), shortString(''), Buffer.from([0])),
    oneFrame,
  );
  await handshake.exchange(method(1, 20, 10, shortString('')), oneFrame);
  return { socket, handshake };
}

type AmqpQueueType = 'classic' | 'quorum';

/** Long strings only, which `S` begins (AMQP 0-9-1 section 4.2.5.5). */
function table(fields: Readonly<Record<string, string>>): Buffer {
  const bytes = Object.entries(fields).flatMap(([name, value]) => [
    shortString(name),
    Buffer.from('S'),
    longString(value),
  ]);
  return long(Buffer.concat(bytes));
}

/** Durable. A quorum queue has a replica on each node, and its leader on this one. */
export async function declareAmqpQueue(
  port: number,
  name: string,
  type: AmqpQueueType,
): Promise<void> {
  const { socket, handshake } = await openChannel(port);
  const quorum = { 'x-queue-type': 'quorum', 'x-queue-leader-locator': 'client-local' };
  const fields = type === 'quorum' ? table(quorum) : EMPTY_TABLE;
  const args = [Buffer.alloc(2), shortString(name), Buffer.from([0b10]), fields];
  await handshake.exchange(method(1, 50, 10, ...args), oneFrame);
  handshake.end();
  socket.destroy();
}

/** Persistent message (delivery mode 2): publish, header and body frames in one piece. */
function publishFrames(queue: string, payloadBytes: number): Buffer {
  const publish = method(
    1,
    60,
    40,
    Buffer.alloc(2),
    shortString(''),
    shortString(queue),
    Buffer.from([0]),
  );
  const header = Buffer.alloc(15);
  header.writeUInt16BE(60, 0);
  header.writeUInt32BE(payloadBytes, 8);
  header.writeUInt16BE(0x1000, 12);
  header.writeUInt8(2, 14);
  return Buffer.concat([
    publish,
    frame(2, 1, header),
    frame(3, 1, Buffer.alloc(payloadBytes, 0x61)),
  ]);
}

/** Walks whole frames in a stream of chunks. */
class FrameWalker {
  #carry: Buffer = Buffer.alloc(0);

  walk(chunk: Buffer, found: (bytes: Buffer, at: number, type: number) => void): void {
    const bytes = this.#carry.length > 0 ? Buffer.concat([this.#carry, chunk]) : chunk;
    let at = 0;
    while (bytes.length - at >= 8) {
      const length = 8 + bytes.readUInt32BE(at + 3);
      if (at + length > bytes.length) break;
      found(bytes, at + 7, bytes[at] ?? 0);
      at += length;
    }
    this.#carry = at < bytes.length ? Buffer.from(bytes.subarray(at)) : Buffer.alloc(0);
  }
}

/**
 * Counts confirms, which may come out of order: all up to `#floor`, and single ones above it (AMQP
 * 0-9-1 with RabbitMQ's `confirm.select`).
 */
class Confirms {
  #floor = 0;
  readonly #above = new Set<number>();

  get count(): number {
    return this.#floor + this.#above.size;
  }

  add(tag: number, isMultiple: boolean): void {
    if (isMultiple && tag > this.#floor) {
      this.#floor = tag;
      for (const each of this.#above) if (each <= tag) this.#above.delete(each);
    } else if (tag > this.#floor) this.#above.add(tag);
    while (this.#above.delete(this.#floor + 1)) this.#floor += 1;
  }
}

export async function publishConfirmed(run: PublishRun): Promise<RunResult> {
  const queue = run.topics[0] ?? '';
  const quota = Math.floor(run.messages / run.connections);
  const one = publishFrames(queue, run.payloadBytes);
  const many = Buffer.concat(Array.from({ length: 1000 }, () => one));
  const opened = await Promise.all(
    Array.from({ length: run.connections }, async (_, i) => {
      const { socket, handshake } = await openChannel(portOf(run, i));
      await handshake.exchange(method(1, 85, 10, Buffer.from([0])), oneFrame);
      handshake.end();
      return socket;
    }),
  );
  const latency = new LatencyHistogram();
  const startedAt = performance.now();
  await Promise.all(
    opened.map(
      (socket) =>
        new Promise<void>((resolve, reject) => {
          const walker = new FrameWalker();
          const sentAt = new Float64Array(2000);
          let sent = 0;
          const confirms = new Confirms();
          const send = (messages: number): void => {
            const count = Math.min(messages, quota - sent);
            const now = performance.now();
            for (let i = 0; i < count; i += 1) sentAt[(sent + i) % 2000] = now;
            sent += count;
            if (count > 0) socket.write(many.subarray(0, count * one.length));
          };
          socket.on('error', reject);
          socket.on('close', () => reject(new Error('the broker closed a publisher')));
          socket.on('data', (chunk: Buffer) => {
            const before = confirms.count;
            walker.walk(chunk, (bytes, at, type) => {
              if (type !== 1 || bytes.readUInt16BE(at) !== 60) return;
              if (bytes.readUInt16BE(at + 2) !== 80) return;
              const tag = Number(bytes.readBigUInt64BE(at + 4));
              confirms.add(tag, ((bytes[at + 12] ?? 0) & 1) === 1);
            });
            const confirmed = confirms.count;
            const now = performance.now();
            for (let i = before; i < confirmed; i += 1) {
              latency.add(now - (sentAt[i % 2000] ?? now), 1);
            }
            if (confirmed >= quota) resolve();
            else if (confirmed > before) send(confirmed - before);
          });
          send(run.window);
        }),
    ),
  );
  const result = summary(quota * run.connections, startedAt, latency);
  for (const socket of opened) socket.removeAllListeners('close').destroy();
  return result;
}

/** Prefetch 1,000 a consumer; every delivery is acknowledged by itself, one write a chunk. */
export async function consumeConfirmed(run: ConsumeRun): Promise<RunResult> {
  const latency = new LatencyHistogram();
  let received = 0;
  let startedAt = 0;
  const opened = await Promise.all(
    Array.from({ length: run.consumers }, async () => {
      const { socket, handshake } = await openChannel(run.port);
      const qos = Buffer.from([0, 0, 0, 0, 0x03, 0xe8, 0]);
      await handshake.exchange(method(1, 60, 10, qos), oneFrame);
      handshake.end();
      return socket;
    }),
  );
  await new Promise<void>((resolve, reject) => {
    for (const socket of opened) {
      const walker = new FrameWalker();
      socket.on('error', reject);
      socket.on('close', () => reject(new Error('the broker closed a consumer')));
      socket.on('data', (chunk: Buffer) => {
        const acks: Buffer[] = [];
        walker.walk(chunk, (bytes, at, type) => {
          if (type !== 1 || bytes.readUInt16BE(at) !== 60) return;
          if (bytes.readUInt16BE(at + 2) !== 60) return;
          const tag = at + 5 + (bytes[at + 4] ?? 0);
          acks.push(method(1, 60, 80, bytes.subarray(tag, tag + 8), Buffer.from([0])));
        });
        if (acks.length === 0) return;
        if (startedAt === 0) startedAt = performance.now();
        socket.write(Buffer.concat(acks));
        received += acks.length;
        if (received >= run.messages) resolve();
      });
      const args = [
        Buffer.alloc(2),
        shortString(run.filter),
        shortString(''),
        Buffer.from([0]),
        EMPTY_TABLE,
      ];
      socket.write(method(1, 60, 20, ...args));
    }
  });
  const result = summary(received, startedAt, latency);
  for (const socket of opened) socket.removeAllListeners('close').destroy();
  return result;
}
