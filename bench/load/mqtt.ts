/**
 * MQTT on raw sockets: publishers with a window of unacknowledged messages, and consumers that
 * acknowledge each message. Packets are prepared before the clock starts.
 */

import type { Socket } from 'node:net';
import { LatencyHistogram } from './connections.ts';
import {
  AnswerWalker,
  connectMqtt,
  ownId,
  type Packets,
  preparePublishes,
  type Prepared,
  PUBACK,
  PUBCOMP,
  PUBREC,
  PUBREL,
  PublishWalker,
  subscribeMqtt,
} from './mqtt-wire.ts';

export interface PublishRun extends Packets {
  readonly port: number;
  /** Other nodes of the same cluster: connections go to all of them in turn. */
  readonly otherPorts?: readonly number[];
  readonly connections: number;
  /** Messages in flight a connection, 1 to 1,000. */
  readonly window: number;
  /** In all, over all connections. */
  readonly messages: number;
  readonly qos: 1 | 2;
}

function numbered(run: PublishRun, nth: number): PublishRun {
  return run.publisher === undefined ? run : { ...run, publisher: run.publisher + nth };
}

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

/** One connection: sends while its window is open; at QoS 2 each is over with its PUBCOMP. */
class Publisher {
  readonly #socket: Socket;
  readonly #prepared: Prepared;
  readonly #latency: LatencyHistogram;
  readonly #sentAt: Float64Array;
  readonly #answers = new AnswerWalker();
  #quota = 0;
  #sent = 0;
  #acknowledged = 0;
  #done: () => void = () => undefined;

  constructor(socket: Socket, prepared: Prepared, latency: LatencyHistogram) {
    this.#socket = socket;
    this.#prepared = prepared;
    this.#latency = latency;
    this.#sentAt = new Float64Array(prepared.starts.length);
  }

  publish(quota: number, window: number): Promise<void> {
    this.#quota = quota;
    return new Promise((resolve, reject) => {
      this.#done = resolve;
      this.#socket.on('error', reject);
      this.#socket.on('close', () => reject(new Error('the broker closed a publisher')));
      this.#socket.on('data', (chunk: Buffer) => this.#received(chunk));
      this.#send(window);
    });
  }

  #received(chunk: Buffer): void {
    const now = performance.now();
    let ended = 0;
    const releases: number[] = [];
    this.#answers.walk(chunk, (type, packetId) => {
      if (type === PUBREC) {
        releases.push((PUBREL << 4) | 2, 2, packetId >> 8, packetId & 255);
      } else if (type === PUBACK || type === PUBCOMP) {
        this.#latency.add(now - (this.#sentAt[packetId] ?? now), 1);
        ended += 1;
      } else throw new Error(`a packet of type ${type}`);
    });
    this.#acknowledged += ended;
    this.#socket.cork();
    if (releases.length > 0) this.#socket.write(Buffer.from(releases));
    if (this.#acknowledged >= this.#quota) this.#done();
    else this.#send(ended);
    this.#socket.uncork();
  }

  #send(messages: number): void {
    let left = Math.min(messages, this.#quota - this.#sent);
    const { bytes, starts } = this.#prepared;
    const ring = starts.length - 1;
    const now = performance.now();
    while (left > 0) {
      const from = this.#sent % ring;
      const count = Math.min(left, ring - from);
      // Packet ids begin with 1.
      this.#sentAt.fill(now, from + 1, from + count + 1);
      this.#socket.write(bytes.subarray(starts[from], starts[from + count]));
      this.#sent += count;
      left -= count;
    }
  }
}

/** Acknowledged messages a second, from the first byte sent to the last acknowledgement. */
export async function publishAcknowledged(run: PublishRun): Promise<RunResult> {
  const { version = 4 } = run;
  const sockets = await Promise.all(
    Array.from({ length: run.connections }, (_, i) =>
      connectMqtt(portOf(run, i), ownId('load', i), { version }),
    ),
  );
  const latency = new LatencyHistogram();
  const quota = Math.floor(run.messages / run.connections);
  const stride = Math.floor(run.topics.length / run.connections);
  const publishers = sockets.map(
    (socket, i) => new Publisher(socket, preparePublishes(numbered(run, i), i * stride), latency),
  );
  const startedAt = performance.now();
  await Promise.all(publishers.map((publisher) => publisher.publish(quota, run.window)));
  const result = summary(quota * run.connections, startedAt, latency);
  for (const socket of sockets) socket.removeAllListeners('close').destroy();
  return result;
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
      subscribeMqtt(socket, { filter: run.filter, qos: 1 }).then(() => {
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
