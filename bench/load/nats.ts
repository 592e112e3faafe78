/**
 * NATS on raw sockets, for JetStream as the peer: publishers that ask for the stream's
 * acknowledgement and keep a window, and the making of a replicated stream. Commands are prepared
 * before the clock starts (NATS client protocol: CONNECT, SUB, PUB, MSG, PING).
 */

import type { Socket } from 'node:net';
import { Handshake, LatencyHistogram, openSocket } from './connections.ts';
import { portOf, summary, type PublishRun, type RunResult } from './mqtt.ts';

const LINE_END = '\r\n';
const RING = 2000;

function upToPong(got: Buffer): number {
  const at = got.indexOf('PONG\r\n');
  return at < 0 ? 0 : at + 6;
}

async function connectNats(port: number, inbox: string): Promise<Socket> {
  const socket = await openSocket(port);
  const handshake = new Handshake(socket);
  const options = { verbose: false, pedantic: false, lang: 'bench', version: '1', protocol: 1 };
  const lines = [`CONNECT ${JSON.stringify(options)}`, `SUB ${inbox} 1`, 'PING', ''];
  await handshake.exchange(Buffer.from(lines.join(LINE_END)), upToPong);
  const early = handshake.end();
  if (early.length > 0) socket.unshift(early);
  return socket;
}

/** The payload of each whole MSG in a stream of chunks; answers PING. */
class MessageWalker {
  readonly #socket: Socket;
  #carry: Buffer = Buffer.alloc(0);

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  walk(chunk: Buffer, found: (payload: Buffer) => void): void {
    const bytes = this.#carry.length > 0 ? Buffer.concat([this.#carry, chunk]) : chunk;
    let at = 0;
    for (;;) {
      const end = bytes.indexOf(LINE_END, at);
      if (end < 0) break;
      const line = bytes.toString('latin1', at, end);
      let next = end + 2;
      if (line.startsWith('MSG ')) {
        const length = Number(line.slice(line.lastIndexOf(' ') + 1));
        next += length + 2;
        if (next > bytes.length) break;
        found(bytes.subarray(end + 2, next - 2));
      } else if (line === 'PING') this.#socket.write('PONG\r\n');
      else if (line.startsWith('-ERR')) throw new Error(`NATS answered ${line}`);
      at = next;
    }
    this.#carry = at < bytes.length ? Buffer.from(bytes.subarray(at)) : Buffer.alloc(0);
  }
}

/** One question of the JetStream API; a refusal is thrown. */
async function ask(port: number, subject: string, body: object): Promise<unknown> {
  const inbox = `_INBOX.ask.${process.pid}`;
  const socket = await connectNats(port, inbox);
  try {
    const text = JSON.stringify(body);
    const answer = await new Promise<string>((resolve, reject) => {
      const walker = new MessageWalker(socket);
      socket.once('error', reject);
      socket.once('close', () => reject(new Error('NATS closed the connection')));
      socket.setTimeout(10_000, () => reject(new Error(`${subject} was not answered`)));
      socket.on('data', (chunk: Buffer) => {
        walker.walk(chunk, (payload) => resolve(payload.toString('utf8')));
      });
      socket.write(`PUB ${subject} ${inbox} ${Buffer.byteLength(text)}\r\n${text}\r\n`);
    });
    const read = JSON.parse(answer) as { readonly error?: { readonly description?: string } };
    if (read.error !== undefined) throw new Error(`${subject}: ${read.error.description}`);
    return read;
  } finally {
    socket.removeAllListeners('close').destroy();
  }
}

/** A stream of files with so many replicas; resolves with the name of the server that leads it. */
export async function makeStream(port: number, name: string, replicas: number): Promise<string> {
  const stream = {
    name,
    subjects: [name],
    retention: 'limits',
    storage: 'file',
    num_replicas: replicas,
  };
  await ask(port, `$JS.API.STREAM.CREATE.${name}`, stream);
  for (let tries = 0; tries < 100; tries += 1) {
    const info = (await ask(port, `$JS.API.STREAM.INFO.${name}`, {})) as {
      readonly cluster?: {
        readonly leader?: string;
        readonly replicas?: readonly { readonly current: boolean }[];
      };
    };
    const { leader, replicas: others = [] } = info.cluster ?? {};
    const isWhole = others.length === replicas - 1 && others.every(({ current }) => current);
    if (leader !== undefined && isWhole) return leader;
    await new Promise((resolve) => {
      setTimeout(resolve, 100);
    });
  }
  throw new Error(`the stream ${name} has no leader, or not all of its replicas`);
}

interface Opened {
  readonly socket: Socket;
  readonly one: Buffer;
  /** As many as the window. */
  readonly many: Buffer;
}

function publishAll(
  { socket, one, many }: Opened,
  { quota, window }: { readonly quota: number; readonly window: number },
  latency: LatencyHistogram,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const walker = new MessageWalker(socket);
    const sentAt = new Float64Array(RING);
    let sent = 0;
    let confirmed = 0;
    const send = (messages: number): void => {
      const count = Math.min(messages, quota - sent);
      const now = performance.now();
      for (let i = 0; i < count; i += 1) sentAt[(sent + i) % RING] = now;
      sent += count;
      if (count > 0) socket.write(many.subarray(0, count * one.length));
    };
    socket.on('error', reject);
    socket.on('close', () => reject(new Error('the broker closed a publisher')));
    socket.on('data', (chunk: Buffer) => {
      const before = confirmed;
      walker.walk(chunk, (payload) => {
        // {"stream":"orders", "seq":1}, or an error, or that nobody takes it.
        if (payload.indexOf('"seq"') < 0) reject(new Error(`refused: ${payload.toString()}`));
        confirmed += 1;
      });
      const now = performance.now();
      for (let i = before; i < confirmed; i += 1) latency.add(now - (sentAt[i % RING] ?? now), 1);
      if (confirmed >= quota) resolve();
      else if (confirmed > before) send(confirmed - before);
    });
    send(window);
  });
}

/** Acknowledged by the stream: in its default mode a majority has it, and nobody has synced it. */
export async function publishToStream(run: PublishRun): Promise<RunResult> {
  const subject = run.topics[0] ?? '';
  const quota = Math.floor(run.messages / run.connections);
  const opened = await Promise.all(
    Array.from({ length: run.connections }, async (_, i) => {
      const inbox = `_INBOX.${process.pid}.${i}`;
      const payload = Buffer.alloc(run.payloadBytes, 0x61);
      const head = Buffer.from(`PUB ${subject} ${inbox} ${payload.length}\r\n`);
      const one = Buffer.concat([head, payload, Buffer.from(LINE_END)]);
      const many = Buffer.concat(Array.from({ length: run.window }, () => one));
      return { socket: await connectNats(portOf(run, i), inbox), one, many };
    }),
  );
  const latency = new LatencyHistogram();
  const startedAt = performance.now();
  await Promise.all(opened.map((each) => publishAll(each, { quota, window: run.window }, latency)));
  const result = summary(quota * run.connections, startedAt, latency);
  for (const { socket } of opened) socket.removeAllListeners('close').destroy();
  return result;
}
