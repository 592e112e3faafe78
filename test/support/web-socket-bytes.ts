/**
 * A WebSocket client of our own, frame by frame: what the package that the broker uses would never
 * send can be sent, and what the broker sends is read without it (RFC 6455 5.2).
 */

import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

export const Opcode = { more: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;

export interface FrameOptions {
  readonly opcode?: number;
  /** The last one of its message. */
  readonly fin?: boolean;
  readonly masked?: boolean;
  /** Reserved bits: 0x40 is a compressed message. */
  readonly reserved?: number;
}

export function frame(payload: Uint8Array, options: FrameOptions = {}): Buffer {
  const { opcode = Opcode.binary, fin = true, masked = true, reserved = 0 } = options;
  const mask = masked ? randomBytes(4) : Buffer.alloc(0);
  const size = payload.length;
  const length = Buffer.alloc(size < 126 ? 1 : size < 65_536 ? 3 : 9);
  length[0] = (masked ? 0x80 : 0) | (size < 126 ? size : size < 65_536 ? 126 : 127);
  if (size >= 65_536) length.writeBigUInt64BE(BigInt(size), 1);
  else if (size >= 126) length.writeUInt16BE(size, 1);
  const body = masked ? payload.map((byte, at) => byte ^ (mask[at % 4] ?? 0)) : payload;
  return Buffer.concat([Buffer.from([(fin ? 0x80 : 0) | reserved | opcode]), length, mask, body]);
}

export interface Frame {
  readonly opcode: number;
  readonly first: number;
  readonly payload: Buffer;
}

export interface RequestOptions {
  readonly method?: string;
  readonly path?: string;
  /** Added; an undefined one is left out. */
  readonly headers?: Readonly<Record<string, string | undefined>>;
}

function requestText({ method = 'GET', path = '/mqtt', headers }: RequestOptions): string {
  const all: Record<string, string | undefined> = {
    Host: '127.0.0.1',
    Connection: 'Upgrade',
    Upgrade: 'websocket',
    'Sec-WebSocket-Version': '13',
    'Sec-WebSocket-Key': 'AQIDBAUGBwgJCgsMDQ4PEA==',
    'Sec-WebSocket-Protocol': 'mqtt',
    ...headers,
  };
  const lines = Object.entries(all).flatMap(([name, value]) =>
    value === undefined ? [] : [`${name}: ${value}\r\n`],
  );
  return `${method} ${path} HTTP/1.1\r\n${lines.join('')}\r\n`;
}

export class RawWebSocket {
  readonly socket: Socket;
  /** Status line and headers of the answer. */
  head = '';
  #bytes: Buffer = Buffer.alloc(0);
  #ended = false;
  readonly #waiting: (() => void)[] = [];

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', (chunk) => {
      this.#bytes = Buffer.concat([this.#bytes, chunk]);
      this.#wake();
    });
    for (const event of ['end', 'error', 'close'] as const) {
      socket.on(event, () => {
        this.#ended = true;
        this.#wake();
      });
    }
  }

  /** A connection on which nothing was said. */
  static async silent(port: number): Promise<RawWebSocket> {
    const socket = connect(port, '127.0.0.1');
    await once(socket, 'connect');
    return new RawWebSocket(socket);
  }

  /** Has sent its request, and `afterwards` with it, and has the answer. */
  static async open(
    port: number,
    request: RequestOptions = {},
    afterwards: Uint8Array = Buffer.alloc(0),
  ): Promise<RawWebSocket> {
    const client = await RawWebSocket.silent(port);
    client.socket.write(Buffer.concat([Buffer.from(requestText(request)), afterwards]));
    await client.#until(() => client.#bytes.includes('\r\n\r\n'));
    const end = client.#bytes.indexOf('\r\n\r\n') + 4;
    client.head = client.#bytes.toString('latin1', 0, end);
    client.#bytes = client.#bytes.subarray(end);
    return client;
  }

  /** The body of an answer that is no upgrade. */
  async body(): Promise<string> {
    await this.#until(() => this.#ended);
    return this.#bytes.toString();
  }

  send(payload: Uint8Array, options: FrameOptions = {}): void {
    this.socket.write(frame(payload, options));
  }

  /** The next frame; undefined: the connection ended. */
  async next(): Promise<Frame | undefined> {
    let found: Frame | undefined;
    await this.#until(() => {
      found = this.#take();
      return found !== undefined || this.#ended;
    });
    return found;
  }

  /** All frames until the connection ends. */
  async rest(): Promise<Frame[]> {
    const frames: Frame[] = [];
    for (let next = await this.next(); next !== undefined; next = await this.next()) {
      frames.push(next);
    }
    return frames;
  }

  destroy(): void {
    this.socket.destroy();
  }

  #take(): Frame | undefined {
    const bytes = this.#bytes;
    if (bytes.length < 2) return undefined;
    const short = (bytes[1] ?? 0) & 0x7f;
    const start = short < 126 ? 2 : short === 126 ? 4 : 10;
    if (bytes.length < start) return undefined;
    const size =
      short < 126
        ? short
        : short === 126
          ? bytes.readUInt16BE(2)
          : Number(bytes.readBigUInt64BE(2));
    if (bytes.length < start + size) return undefined;
    this.#bytes = bytes.subarray(start + size);
    const first = bytes[0] ?? 0;
    return { opcode: first & 0x0f, first, payload: bytes.subarray(start, start + size) };
  }

  async #until(condition: () => boolean): Promise<void> {
    while (!condition()) {
      if (this.#ended) return;
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}
