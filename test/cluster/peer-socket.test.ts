/** A connection between nodes: batches whole, an end in order, and an end where nobody lives. */

import { once } from 'node:events';
import { type AddressInfo, type Server, type Socket, connect, createServer } from 'node:net';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { FrameKind, type InFrame, encodeBatch } from '../../src/cluster/batch.ts';
import { ownBytes } from '../../src/cluster/frame-bytes.ts';
import {
  BATCH_BYTES_MAX,
  PULSES_MISSED_MAX,
  PULSE_MS,
  WRITE_BYTES_MAX,
} from '../../src/cluster/peer-limits.ts';
import { PeerSocket, type SocketUser } from '../../src/cluster/peer-socket.ts';
import { Pulse } from '../../src/cluster/pulse.ts';
import type { PeerError } from '../../src/cluster/refusals.ts';
import { until } from '../support/peer-world.ts';

class End implements SocketUser {
  readonly socket: PeerSocket;
  readonly bodies: Buffer[] = [];
  readonly errors: PeerError[] = [];
  readonly ends: string[] = [];

  constructor(open: ConstructorParameters<typeof PeerSocket>[0]) {
    this.socket = new PeerSocket(open, this, new Pulse());
  }

  frames(frames: readonly InFrame[]): void {
    for (const { body } of frames) this.bodies.push(ownBytes(body));
  }

  wrong(error: PeerError): void {
    this.errors.push(error);
    this.socket.destroy();
  }

  gone(why: string): void {
    this.ends.push(why);
  }
}

function batchOf(bytes: number, value = 7): Buffer {
  const body = Buffer.alloc(bytes, value);
  const write = (writer: { bytes(bytes: Buffer): void }): void => writer.bytes(body);
  return encodeBatch([{ kind: FrameKind.bytes, shard: 0, bytes, write }]);
}

let server: Server;
/** The sockets of both. */
let bare: Socket;
let raw: Socket;
let near: End;
let far: End;

beforeEach(async () => {
  server = createServer({ pauseOnConnect: true });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  near = new End((onread) => {
    bare = connect({ port, host: '127.0.0.1', onread });
    return bare;
  });
  [raw] = (await once(server, 'connection')) as [Socket];
  far = new End(() => raw);
  for (const { socket } of [near, far]) socket.trust(BATCH_BYTES_MAX);
});
afterEach(() => {
  for (const { socket } of [near, far]) socket.destroy();
  server.close();
});

describe('batches', () => {
  it('of any size arrive, from both ends, and are taken one after the other', async () => {
    raw.resume();
    const sizes = [0, 1, 5_000, 40_000, 70_000, 3 * WRITE_BYTES_MAX + 5, 2];
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      const taken: number[] = [];
      for (const [at, size] of sizes.entries()) {
        one.socket.write(batchOf(size, at), () => taken.push(at));
        await until(() => taken.length === at + 1);
      }
      await until(() => other.bodies.length === sizes.length);
      expect(other.bodies.map(({ length }) => length)).toEqual(sizes);
      for (const [at, body] of other.bodies.entries()) {
        expect(body.every((byte) => byte === at)).toBe(true);
      }
    }
  });

  it('what is wrong is told once, and what came with it is not heard', async () => {
    raw.resume();
    const wrong = batchOf(10);
    wrong[20] = 0;
    near.socket.write(Buffer.concat([batchOf(1), wrong, batchOf(2), wrong]), () => undefined);
    await until(() => near.ends.length > 0);
    expect(far.errors.map(({ code }) => code)).toEqual(['malformed']);
    expect([far.bodies.length, far.ends]).toEqual([1, []]);
  });
});

describe('an end', () => {
  it('in order comes behind what was written, and neither side hears anything after it', async () => {
    raw.resume();
    for (let at = 0; at < 20; at += 1) near.socket.write(batchOf(10_000), () => undefined);
    near.socket.end();
    near.socket.write(batchOf(5), () => undefined);
    far.socket.write(batchOf(9), () => undefined);
    await until(() => far.ends.length > 0);
    expect(far.bodies.map(({ length }) => length)).toEqual(
      Array.from({ length: 20 }, () => 10_000),
    );
    expect([far.ends, near.ends, near.bodies]).toEqual([['the peer ended it'], [], []]);
  });

  it('in order to a side that reads nothing is one all the same', async () => {
    near.socket.write(batchOf(60 << 20), () => undefined);
    near.socket.end();
    // What it does not take in time is lost.
    await once(bare, 'close');
    expect([far.bodies, near.ends]).toEqual([[], []]);
  });
});

describe('signs of life', () => {
  it('all that live have theirs at once, each so often, until they are gone', () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    try {
      const [pulse, counts] = [new Pulse(), [0, 0]];
      const living = counts.map((_, at) => ({
        pulse: () => {
          counts[at] = (counts[at] ?? 0) + 1;
        },
      }));
      for (const each of living) pulse.add(each);
      vi.advanceTimersByTime(2 * PULSE_MS);
      pulse.delete(living[0]!);
      vi.advanceTimersByTime(PULSE_MS);
      expect(counts).toEqual([2, 3]);
      pulse.delete(living[1]!);
      expect(vi.getTimerCount()).toBe(0);
    } finally {
      vi.useRealTimers();
    }
  });

  it('a side that is silent for so many pulses is given up, and one that is not stays', async () => {
    for (let at = 1; at < PULSES_MISSED_MAX; at += 1) near.socket.pulse();
    expect(near.ends).toEqual([]);
    near.socket.pulse();
    expect(near.ends).toEqual(['it was silent for 7.5 s']);
    expect(far.ends).toEqual([]);
  });

  it('an empty batch is one, and is no frame; who speaks anyway sends none', async () => {
    raw.resume();
    near.socket.write(batchOf(1), () => undefined);
    await until(() => far.bodies.length === 1);
    const before = raw.bytesRead;
    // It has spoken since the last one.
    near.socket.pulse();
    for (let round = 0; round < 2 * PULSES_MISSED_MAX; round += 1) {
      const [there, here] = [raw.bytesRead, bare.bytesRead];
      near.socket.pulse();
      far.socket.pulse();
      await until(() => raw.bytesRead > there && bare.bytesRead > here);
    }
    expect(raw.bytesRead - before).toBe(8 * 2 * PULSES_MISSED_MAX);
    expect([far.bodies.length, far.errors, far.ends, near.ends]).toEqual([1, [], [], []]);
  });
});
