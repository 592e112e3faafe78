/**
 * MQTT 3.1.1 on raw sockets: publishers with a window of unacknowledged messages, consumers that
 * acknowledge each message, and subscribers that only count. Packets are prepared before the clock
 * starts.
 */

import type { Socket } from 'node:net';
import { Handshake, LatencyHistogram, openSocket } from './connections.ts';

function utf8(text: string): Buffer {
  const bytes = Buffer.from(text, 'utf8');
  const out = Buffer.alloc(2 + bytes.length);
  out.writeUInt16BE(bytes.length, 0);
  bytes.copy(out, 2);
  return out;
}

function packet(header: number, body: Buffer): Buffer {
  const length: number[] = [];
  let rest = body.length;
  do {
    const digit = rest % 128;
    rest = Math.floor(rest / 128);
    length.push(rest > 0 ? digit | 128 : digit);
  } while (rest > 0);
  return Buffer.concat([Buffer.from([header, ...length]), body]);
}

function uint16(value: number): Buffer {
  const out = Buffer.alloc(2);
  out.writeUInt16BE(value, 0);
  return out;
}

/** No client of another load generator that runs at the same time. */
export function ownId(kind: string, place: number): string {
  return `${kind}-${process.pid}-${place}`;
}

export async function connectMqtt(port: number, clientId: string): Promise<Socket> {
  const socket = await openSocket(port);
  const handshake = new Handshake(socket);
  const body = Buffer.concat([utf8('MQTT'), Buffer.from([4, 2, 0, 0]), utf8(clientId)]);
  const answer = await handshake.exchange(packet(0x10, body), (got) => (got.length >= 4 ? 4 : 0));
  if (answer[0] !== 0x20 || answer[3] !== 0) {
    throw new Error(`CONNECT refused: ${answer.toString('hex')}`);
  }
  handshake.end();
  return socket;
}

export interface PublishRun {
  readonly port: number;
  /** Other nodes of the same cluster: connections go to all of them in turn. */
  readonly otherPorts?: readonly number[];
  readonly connections: number;
  /** Messages in flight a connection, 1 to 1,000; QoS 0 writes that many at a time. */
  readonly window: number;
  readonly payloadBytes: number;
  /** In all, over all connections. */
  readonly messages: number;
  /** One topic, or many that are used in turn. */
  readonly topics: readonly string[];
  readonly qos: 0 | 1;
}

type Packets = Pick<PublishRun, 'topics' | 'payloadBytes' | 'qos'>;

export function portOf({ port, otherPorts = [] }: PublishRun, nth: number): number {
  return [port, ...otherPorts][nth % (otherPorts.length + 1)] ?? port;
}

export interface RunResult {
  readonly messages: number;
  readonly seconds: number;
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

export interface Prepared {
  readonly bytes: Buffer;
  /** Start of each packet, and the end of the last. */
  readonly starts: readonly number[];
}

/**
 * At least 1,000 packets with ids 1, 2, ...; the ring is longer than any window, so no id is in
 * flight twice.
 */
export function preparePublishes(run: Packets, firstTopic: number): Prepared {
  const count = Math.max(2000, Math.min(run.topics.length, 20_000));
  const parts: Buffer[] = [];
  const starts = [0];
  let length = 0;
  const payload = Buffer.alloc(run.payloadBytes, 0x61);
  for (let i = 0; i < count; i += 1) {
    const topic = run.topics[(firstTopic + i) % run.topics.length] ?? '';
    const id = run.qos === 1 ? uint16(i + 1) : Buffer.alloc(0);
    const one = packet(0x30 | (run.qos << 1), Buffer.concat([utf8(topic), id, payload]));
    parts.push(one);
    length += one.length;
    starts.push(length);
  }
  return { bytes: Buffer.concat(parts), starts };
}

class Publisher {
  readonly #socket: Socket;
  readonly #prepared: Prepared;
  readonly #latency: LatencyHistogram;
  readonly #sentAt: Float64Array;
  readonly #done: () => void;
  readonly #quota: number;
  #sent = 0;
  #acknowledged = 0;
  #carry = 0;

  constructor(
    socket: Socket,
    prepared: Prepared,
    quota: number,
    latency: LatencyHistogram,
    done: () => void,
  ) {
    this.#socket = socket;
    this.#prepared = prepared;
    this.#latency = latency;
    this.#quota = quota;
    this.#done = done;
    this.#sentAt = new Float64Array(prepared.starts.length - 1);
  }

  start(window: number): void {
    this.#socket.on('data', (chunk) => this.#received(chunk.length));
    this.#send(window);
  }

  /**
   * Each answer is a PUBACK of four bytes; a broker that answers anything else fails the run by its
   * count.
   */
  #received(bytes: number): void {
    const total = this.#carry + bytes;
    const acks = total >> 2;
    this.#carry = total & 3;
    if (acks === 0) return;
    const now = performance.now();
    const ring = this.#sentAt.length;
    for (let i = 0; i < acks; i += 1) {
      this.#latency.add(now - (this.#sentAt[(this.#acknowledged + i) % ring] ?? now), 1);
    }
    this.#acknowledged += acks;
    if (this.#acknowledged >= this.#quota) this.#done();
    else this.#send(acks);
  }

  #send(messages: number): void {
    let left = Math.min(messages, this.#quota - this.#sent);
    const { bytes, starts } = this.#prepared;
    const ring = starts.length - 1;
    const now = performance.now();
    while (left > 0) {
      const from = this.#sent % ring;
      const count = Math.min(left, ring - from);
      this.#sentAt.fill(now, from, from + count);
      this.#socket.write(bytes.subarray(starts[from], starts[from + count]));
      this.#sent += count;
      left -= count;
    }
  }
}

/** QoS 1: acknowledged messages a second, from the first byte sent to the last acknowledgement. */
export async function publishAcknowledged(run: PublishRun): Promise<RunResult> {
  const sockets = await Promise.all(
    Array.from({ length: run.connections }, (_, i) =>
      connectMqtt(portOf(run, i), ownId('load', i)),
    ),
  );
  const latency = new LatencyHistogram();
  const quota = Math.floor(run.messages / run.connections);
  const stride = Math.floor(run.topics.length / run.connections);
  const startedAt = performance.now();
  await Promise.all(
    sockets.map(
      (socket, i) =>
        new Promise<void>((resolve, reject) => {
          socket.on('error', reject);
          socket.on('close', () => reject(new Error('the broker closed a publisher')));
          const prepared = preparePublishes(run, i * stride);
          new Publisher(socket, prepared, quota, latency, resolve).start(run.window);
        }),
    ),
  );
  const result = summary(quota * run.connections, startedAt, latency);
  for (const socket of sockets) socket.removeAllListeners('close').destroy();
  return result;
}

export function summary(messages: number, startedAt: number, latency: LatencyHistogram): RunResult {
  const seconds = (performance.now() - startedAt) / 1000;
  return {
    messages,
    seconds,
    perSecond: messages / seconds,
    p50Ms: latency.quantileMs(0.5),
    p99Ms: latency.quantileMs(0.99),
  };
}

/** Walks PUBLISH packets in a stream of chunks, also when one is split over two. */
class PublishWalker {
  #carry: Buffer = Buffer.alloc(0);

  /** Calls `found` with the chunk and the position of the variable header of each whole PUBLISH. */
  walk(chunk: Buffer, found: (bytes: Buffer, at: number, qos: number) => void): void {
    const bytes = this.#carry.length > 0 ? Buffer.concat([this.#carry, chunk]) : chunk;
    let at = 0;
    for (;;) {
      let position = at + 1;
      let length = 0;
      let shift = 1;
      let digit = 128;
      while (digit >= 128 && position < bytes.length) {
        digit = bytes[position] ?? 0;
        length += (digit & 127) * shift;
        shift *= 128;
        position += 1;
      }
      if (digit >= 128 || position + length > bytes.length) break;
      const header = bytes[at] ?? 0;
      if (header >> 4 === 3) found(bytes, position, (header >> 1) & 3);
      at = position + length;
    }
    this.#carry = at < bytes.length ? Buffer.from(bytes.subarray(at)) : Buffer.alloc(0);
  }
}

async function subscribeMqtt(socket: Socket, filter: string, qos: 0 | 1): Promise<void> {
  const handshake = new Handshake(socket);
  const body = Buffer.concat([uint16(1), utf8(filter), Buffer.from([qos])]);
  const answer = await handshake.exchange(packet(0x82, body), (got) => (got.length >= 5 ? 5 : 0));
  if (answer[0] !== 0x90 || (answer[4] ?? 0x80) >= 0x80) {
    throw new Error(`SUBSCRIBE refused: ${answer.toString('hex')}`);
  }
  const early = handshake.end();
  if (early.length > 0) socket.unshift(early);
}

export interface ConsumeRun {
  readonly port: number;
  readonly consumers: number;
  readonly messages: number;
  readonly filter: string;
}

/** Takes and acknowledges one by one what lies in a queue; the first delivery starts the clock. */
export async function consumeAndAcknowledge(run: ConsumeRun): Promise<RunResult> {
  const sockets = await Promise.all(
    Array.from({ length: run.consumers }, (_, i) => connectMqtt(run.port, ownId('consumer', i))),
  );
  const latency = new LatencyHistogram();
  const seen = new Uint8Array(run.messages);
  let received = 0;
  let startedAt = 0;
  await new Promise<void>((resolve, reject) => {
    for (const socket of sockets) {
      const walker = new PublishWalker();
      socket.on('error', reject);
      socket.on('close', () => reject(new Error('the broker closed a consumer')));
      subscribeMqtt(socket, run.filter, 1).then(() => {
        socket.on('data', (chunk: Buffer) => {
          if (startedAt === 0) startedAt = performance.now();
          const acks: number[] = [];
          walker.walk(chunk, (bytes, at) => {
            const id = at + 2 + bytes.readUInt16BE(at);
            acks.push(0x40, 2, bytes[id] ?? 0, bytes[id + 1] ?? 0);
          });
          if (acks.length === 0) return;
          socket.write(Buffer.from(acks));
          received += acks.length >> 2;
          if (received >= seen.length) resolve();
        });
      }, reject);
    }
  });
  const result = summary(received, startedAt, latency);
  for (const socket of sockets) socket.removeAllListeners('close').destroy();
  return result;
}

export interface FanOutRun {
  readonly port: number;
  readonly subscribers: number;
  readonly publishes: number;
  readonly payloadBytes: number;
  readonly topic: string;
}

/**
 * QoS 0, one publisher and many subscribers: the publisher keeps at most 200 publishes ahead of the
 * slowest count, so that nothing has to be dropped, and the figure is messages delivered.
 */
export async function fanOut(run: FanOutRun): Promise<RunResult> {
  const subscribers = await Promise.all(
    Array.from({ length: run.subscribers }, async (_, i) => {
      const socket = await connectMqtt(run.port, `subscriber-${i}`);
      await subscribeMqtt(socket, run.topic, 0);
      return socket;
    }),
  );
  const publisher = await connectMqtt(run.port, 'fan-out-publisher');
  const body = Buffer.concat([utf8(run.topic), Buffer.alloc(run.payloadBytes, 0x61)]);
  const one = packet(0x30, body);
  const burst = Buffer.concat(Array.from({ length: 100 }, () => one));
  const expected = run.publishes * run.subscribers;
  let received = 0;
  let sent = 0;
  const latency = new LatencyHistogram();
  const startedAt = performance.now();
  await new Promise<void>((resolve, reject) => {
    const more = (): void => {
      while (sent < run.publishes && sent - received / run.subscribers <= 100) {
        publisher.write(burst);
        sent += 100;
      }
    };
    for (const socket of subscribers) {
      let bytes = 0;
      socket.on('error', reject);
      socket.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        const whole = Math.floor(bytes / one.length);
        bytes -= whole * one.length;
        received += whole;
        if (received >= expected) resolve();
        else more();
      });
    }
    more();
  });
  const result = summary(received, startedAt, latency);
  for (const socket of [...subscribers, publisher]) socket.destroy();
  return result;
}
