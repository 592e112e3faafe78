/**
 * Peers of a broker that mean no good, on raw sockets, for a test and a benchmark. Each resolves
 * when it has done its worst; what it has open stays open until `HostilePeers.leave`.
 */

import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import mqttPacket, { type Packet } from 'mqtt-packet';

const MIB = 1024 * 1024;
const WAVE = 250;
/** Messages of a MiB each, at QoS 1 and as many at QoS 0: far more than is kept for one client. */
const FLOOD = 100;
const WAITS_MAX_MS = 80_000;

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}

/** Asks again and again; rejects with what it waited for. */
export async function eventually(
  what: string,
  holds: () => Promise<boolean> | boolean,
): Promise<void> {
  const deadline = performance.now() + WAITS_MAX_MS;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`waited in vain: ${what}`);
    await pause(50);
  }
}

function bytes(fields: object): Buffer {
  return mqttPacket.generate(fields as Packet);
}

function hello(clientId: string): Buffer {
  const protocol = { protocolId: 'MQTT', protocolVersion: 4, keepalive: 0 };
  return bytes({ cmd: 'connect', ...protocol, clientId, clean: true });
}

function wish(messageId: number, topics: readonly string[], qos: 0 | 1 = 0): Buffer {
  const subscriptions = topics.map((topic) => ({ topic, qos }));
  return bytes({ cmd: 'subscribe', messageId, subscriptions });
}

/** Counts packets of one kind; reads all that comes. */
function counting(socket: Socket, cmd: Packet['cmd']): { count: number } {
  const counted = { count: 0 };
  const parser = mqttPacket.parser();
  parser.on('packet', (packet: Packet) => {
    if (packet.cmd === cmd) counted.count++;
  });
  socket.on('data', (chunk) => parser.parse(chunk));
  return counted;
}

export class HostilePeers {
  readonly #port: number;
  readonly #sockets = new Set<Socket>();

  constructor(port: number) {
    this.#port = port;
  }

  leave(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  /** What comes is read, or an end that comes would not be seen. */
  async #open(): Promise<Socket> {
    const socket = connect(this.#port, '127.0.0.1');
    this.#sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('close', () => this.#sockets.delete(socket));
    await once(socket, 'connect');
    socket.resume();
    return socket;
  }

  async #connected(clientId: string): Promise<Socket> {
    const socket = await this.#open();
    const connack = counting(socket, 'connack');
    socket.write(hello(clientId));
    await eventually(`CONNACK of ${clientId}`, () => connack.count === 1);
    socket.removeAllListeners('data').resume();
    return socket;
  }

  async #wave<T>(count: number, one: (nth: number) => Promise<T>): Promise<T[]> {
    const all: T[] = [];
    while (all.length < count) {
      const first = all.length;
      const length = Math.min(WAVE, count - first);
      all.push(...(await Promise.all(Array.from({ length }, (_, i) => one(first + i)))));
    }
    return all;
  }

  async idle(count: number): Promise<readonly Socket[]> {
    return this.#wave(count, (nth) => this.#connected(`idle-${nth}`));
  }

  /** Each a good CONNECT, a byte now and then: not whole at any deadline. Resolves when cut. */
  async slowloris(count: number, everyMs: number): Promise<void> {
    const slow = await this.#wave(count, async (nth) => ({
      socket: await this.#open(),
      said: hello(`slow-${nth}-${'x'.repeat(200)}`),
      at: 0,
    }));
    const dripping = setInterval(() => {
      for (const each of slow) {
        if (!each.socket.writable || each.at === each.said.length) continue;
        each.socket.write(each.said.subarray(each.at, each.at + 1));
        each.at++;
      }
    }, everyMs);
    try {
      await eventually('slow ones are cut', () => slow.every(({ socket }) => socket.destroyed));
    } finally {
      clearInterval(dripping);
    }
  }

  /** Byte by byte too, but in time: it gets its CONNACK. */
  async slowButWhole(): Promise<void> {
    const socket = await this.#open();
    const connack = counting(socket, 'connack');
    for (const byte of hello('slow but whole')) {
      socket.write(Buffer.of(byte));
      await pause(5);
    }
    await eventually('CONNACK of one who is slow', () => connack.count === 1);
  }

  /**
   * Subscribes to what another one floods, at QoS 1 (`topic`) and at QoS 0 (below it), and reads
   * nothing of it.
   */
  async deaf(topic: string, isFull: () => Promise<boolean>): Promise<Socket> {
    const deaf = await this.#connected('deaf');
    const suback = counting(deaf, 'suback');
    deaf.write(wish(1, [topic], 1));
    deaf.write(wish(2, ['good/#', `${topic}/fast`], 0));
    await eventually('SUBACK of the deaf one', () => suback.count === 2);
    deaf.removeAllListeners('data').pause();
    const flood = await this.#connected('flood');
    const puback = counting(flood, 'puback');
    const payload = Buffer.alloc(MIB, 'x');
    for (let messageId = 1; messageId <= FLOOD; messageId++) {
      flood.write(bytes({ cmd: 'publish', topic, qos: 1, messageId, payload }));
    }
    await eventually('PUBACKs of the flood', () => puback.count === FLOOD);
    const pong = counting(flood, 'pingresp');
    for (let sent = 0; sent < FLOOD; sent++) {
      flood.write(bytes({ cmd: 'publish', topic: `${topic}/fast`, qos: 0, payload }));
    }
    flood.write(bytes({ cmd: 'pingreq' }));
    await eventually('the flood at QoS 0 is taken', () => pong.count === 1);
    await eventually('what is kept for the deaf one is full', isFull);
    return deaf;
  }

  /** 268 MB, before CONNECT and after it; ended from the header. */
  async announcesTooMuch(): Promise<void> {
    const stranger = await this.#open();
    stranger.write(Buffer.from([0x10, 0xff, 0xff, 0xff, 0x7f]));
    const client = await this.#connected('announces');
    client.write(Buffer.from([0x30, 0xff, 0xff, 0xff, 0x7f]));
    await eventually('who announces 268 MB is ended', () => stranger.destroyed && client.destroyed);
  }

  /** As much as is allowed, and hardly a byte of it comes: memory follows what arrived. */
  async announcesAndWaits(count: number): Promise<void> {
    await this.#wave(count, async (nth) => {
      const socket = await this.#connected(`waits-${nth}`);
      const length = 2 * MIB - 16;
      const digits = [
        (length & 127) | 128,
        ((length >> 7) & 127) | 128,
        ((length >> 14) & 127) | 128,
        length >> 21,
      ];
      socket.write(Buffer.concat([Buffer.from([0x30, ...digits, 0, 1, 0x61]), Buffer.alloc(1000)]));
    });
  }

  async subscriptions(clients: number, each: number): Promise<void> {
    await this.#wave(clients, async (nth) => {
      const socket = await this.#connected(`subscriber-${nth}`);
      const suback = counting(socket, 'suback');
      const topics = Array.from({ length: each }, (_, i) => `many/${nth}/${i}`);
      socket.write(wish(1, topics));
      await eventually('SUBACK of a thousand', () => suback.count === 1);
    });
  }

  /**
   * S4: filters of nothing but wildcards, all mixtures of `+` and a name, and topics for them, and
   * one of 65,535 levels; all that is let in is delivered.
   */
  async wildcardBombs(clients: number): Promise<void> {
    await this.#wave(clients, async (nth) => {
      const socket = await this.#connected(`bomber-${nth}`);
      const suback = counting(socket, 'suback');
      const heard = counting(socket, 'publish');
      const plus = Array.from({ length: 128 }, (_, i) =>
        Array<string>(i + 1)
          .fill('+')
          .join('/'),
      );
      const mixed = Array.from({ length: 512 }, (_, bits) =>
        Array.from({ length: 9 }, (_unused, at) => ((bits >> at) & 1 ? '+' : 'x')).join('/'),
      );
      socket.write(wish(1, plus.map((filter) => `bomb/${nth}/${filter}`).slice(0, 126)));
      socket.write(wish(2, mixed));
      socket.write(wish(3, [Array<string>(32_768).fill('+').join('/')]));
      await eventually('SUBACK of wildcards', () => suback.count === 3);
      for (let at = 0; at < 20; at++) {
        const deep = `bomb/${nth}/${Array<string>(126).fill(`${at}`).join('/')}`;
        socket.write(bytes({ cmd: 'publish', topic: deep, payload: 'x', qos: 0 }));
        socket.write(bytes({ cmd: 'publish', topic: '/'.repeat(65_535), payload: 'x', qos: 0 }));
      }
      await eventually('topics of 128 levels', () => heard.count >= 20);
      const mixedTopic = Array<string>(9).fill('x').join('/');
      socket.write(bytes({ cmd: 'publish', topic: mixedTopic, payload: 'x', qos: 0 }));
      await eventually('a topic of all mixtures', () => heard.count >= 21);
    });
  }

  /** The same client id on all of them at once: one is left, and that one answers. */
  async oneName(count: number): Promise<void> {
    const all = await this.#wave(count, () => this.#open());
    for (const socket of all) socket.write(hello('the same'));
    const left = (): Socket[] => all.filter((socket) => !socket.destroyed);
    await eventually('one of the same name is left', () => left().length === 1);
    const [last] = left();
    if (last === undefined) throw new Error('none of the same name is left');
    const pong = counting(last, 'pingresp');
    last.write(bytes({ cmd: 'pingreq' }));
    await eventually('the last of the same name answers', () => pong.count === 1);
  }
}
