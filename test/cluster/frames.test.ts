/**
 * The frames of the peer streams: what is written is read again, and whatever else comes is refused
 * as a whole, with nothing allocated that its sender chose.
 */

import { crc32 } from 'node:zlib';
import { fc } from '../support/properties.ts';
import { describe, expect, it } from 'vitest';
import type { PeerMessage } from '#raft';
import { type InFrame, type OutFrame, FrameKind } from '../../src/cluster/batch.ts';
import { BATCH_HEAD_BYTES, decodeBatch, encodeBatch } from '../../src/cluster/batch.ts';
import { FrameWriter } from '../../src/cluster/frame-bytes.ts';
import { type Hello, checkHello, readHello } from '../../src/cluster/hello.ts';
import { helloBytes, writeHello } from '../../src/cluster/hello.ts';
import { messageBytes, readMessage, writeMessage } from '../../src/cluster/message-codec.ts';
import { BATCH_FRAMES_MAX, HELLO_BYTES_MAX, TERM_MAX } from '../../src/cluster/peer-limits.ts';
import { PeerError } from '../../src/cluster/refusals.ts';
import { MESSAGES, anyMessage, plain } from '../support/peer-arbitraries.ts';

function bodyOf(message: PeerMessage): Buffer {
  const body = Buffer.alloc(messageBytes(message), 0xee);
  const writer = new FrameWriter(body, 0);
  writeMessage(message, writer);
  expect(writer.at).toBe(body.length);
  return body;
}

function frameOf(message: PeerMessage, shard = 1): OutFrame {
  return {
    kind: FrameKind.message,
    shard,
    bytes: messageBytes(message),
    write: (writer) => writeMessage(message, writer),
  };
}

/** `undefined`: refused as malformed. Any other error is a bug. */
function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof PeerError && error.code === 'malformed') return undefined;
    throw error;
  }
}

const receive = (batch: Buffer): { shard: number; message: PeerMessage }[] =>
  decodeBatch(batch).map(({ shard, body }) => ({ shard, message: readMessage(body) }));

describe('messages', () => {
  it.each(Object.entries(MESSAGES))('%s: comes out as it went in', (_kind, arbitrary) => {
    fc.assert(
      fc.property(arbitrary, (message) => {
        expect(plain(readMessage(bodyOf(message)))).toEqual(plain(message));
      }),
    );
  });

  it.each(Object.entries(MESSAGES))('%s: each truncation is refused', (_kind, arbitrary) => {
    fc.assert(
      fc.property(arbitrary, (message) => {
        const body = bodyOf(message);
        for (let length = 0; length < body.length; length += 1) {
          expect(attempt(() => readMessage(body.subarray(0, length)))).toBeUndefined();
        }
        expect(attempt(() => readMessage(Buffer.concat([body, Buffer.of(0)])))).toBeUndefined();
      }),
      { numRuns: 20 },
    );
  });

  it('each has one form: what is read from changed bytes is written as those bytes', () => {
    fc.assert(
      fc.property(anyMessage, fc.nat(), fc.integer({ min: 1, max: 255 }), (message, at, flip) => {
        const body = bodyOf(message);
        const place = at % body.length;
        body[place] = (body[place] ?? 0) ^ flip;
        const read = attempt(() => readMessage(body));
        if (read !== undefined) expect(bodyOf(read)).toEqual(body);
      }),
      { numRuns: 3_000 },
    );
  });

  it('any bytes are a message or are refused', () => {
    const head = fc.tuple(fc.nat(16), fc.nat(7), fc.nat(3), fc.nat(3)).map((b) => Buffer.from(b));
    fc.assert(
      fc.property(head, fc.uint8Array({ maxLength: 200 }), (start, rest) => {
        const body = Buffer.concat([start, rest]);
        const read = attempt(() => readMessage(body));
        if (read !== undefined) expect(bodyOf(read)).toEqual(body);
      }),
      { numRuns: 5_000 },
    );
  });

  it('a payload is a view of what was received, and is not copied', () => {
    const payload = Buffer.from('not looked into: \xff\x00', 'latin1');
    const entry = { index: 7, term: 3, kind: 'commands', payload } as const;
    const message: PeerMessage = {
      kind: 'appendEntries',
      from: 'a',
      to: 'b',
      term: 3,
      session: 1,
      prevLogIndex: 6,
      prevLogTerm: 3,
      leaderCommit: 6,
      entries: [{ ...entry, configuration: undefined, local: { never: 'sent' } }],
    };
    const batch = encodeBatch([frameOf(message)]);
    const [received] = receive(batch);
    if (received?.message.kind !== 'appendEntries') throw new Error('another message');
    const [read] = received.message.entries;
    expect(read?.payload).toEqual(payload);
    expect(read?.payload.buffer).toBe(batch.buffer);
    expect(read?.local).toBeUndefined();
  });

  it('S10: a term that no cluster reaches is refused, wherever it stands', () => {
    const head = { from: 'a', to: 'b', term: 1 } as const;
    const vote = { kind: 'requestVote', ...head, lastLogIndex: 1, lastLogTerm: 1 } as const;
    const flags = { preVote: false, transfer: false };
    for (const high of [2 ** 48, 2 ** 50, Number.MAX_SAFE_INTEGER]) {
      const forged: PeerMessage[] = [
        { ...vote, ...flags, term: high },
        { ...vote, ...flags, lastLogTerm: high },
        { kind: 'heartbeat', ...head, term: high, session: 1, leaderCommit: 1, round: 1 },
      ];
      for (const each of forged) expect(attempt(() => readMessage(bodyOf(each)))).toBeUndefined();
    }
    const highest = { ...vote, ...flags, term: TERM_MAX };
    expect(readMessage(bodyOf(highest))).toEqual(highest);
  });

  it('a count or a length from the wire makes nothing: it is compared with what is there', () => {
    const message: PeerMessage = {
      kind: 'appendEntries',
      from: 'a',
      to: 'b',
      term: 1,
      session: 1,
      prevLogIndex: 0,
      prevLogTerm: 0,
      leaderCommit: 0,
      entries: [],
    };
    const body = bodyOf(message);
    for (const count of [1, 65_536, 65_537, 0xffff_ffff]) {
      body.writeUInt32LE(count, body.length - 4);
      const before = process.memoryUsage().arrayBuffers;
      expect(attempt(() => readMessage(body))).toBeUndefined();
      expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(1_000_000);
    }
  });
});

const someFrames = fc.array(fc.tuple(anyMessage, fc.nat(0xffff)), { minLength: 1, maxLength: 8 });

describe('batches', () => {
  it('frames of many shards come out in their order', () => {
    fc.assert(
      fc.property(someFrames, (sent) => {
        const received = receive(encodeBatch(sent.map(([each, shard]) => frameOf(each, shard))));
        expect(received.map(({ shard }) => shard)).toEqual(sent.map(([, shard]) => shard));
        expect(received.map(({ message }) => plain(message))).toEqual(
          sent.map(([message]) => plain(message)),
        );
      }),
    );
  });

  it('each truncation is refused as a whole', () => {
    fc.assert(
      fc.property(someFrames, (sent) => {
        const batch = encodeBatch(sent.map(([each]) => frameOf(each)));
        for (let length = 0; length < batch.length; length += 1) {
          expect(attempt(() => decodeBatch(batch.subarray(0, length)))).toBeUndefined();
        }
      }),
      { numRuns: 20 },
    );
  });

  it('each flipped bit is refused as a whole', () => {
    fc.assert(
      fc.property(someFrames, fc.nat(7), (sent, bit) => {
        const batch = encodeBatch(sent.map(([each]) => frameOf(each)));
        for (let at = 0; at < batch.length; at += 1) {
          const byte = batch[at] ?? 0;
          batch[at] = byte ^ (1 << bit);
          expect(attempt(() => decodeBatch(batch))).toBeUndefined();
          batch[at] = byte;
        }
        expect(decodeBatch(batch)).toHaveLength(sent.length);
      }),
      { numRuns: 20 },
    );
  });

  it('any bytes are frames or are refused', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        const read = attempt(() => decodeBatch(Buffer.from(bytes)));
        // Eight zeros are a batch without frames.
        if (bytes.length !== BATCH_HEAD_BYTES) expect(read).toBeUndefined();
        else expect(read ?? []).toEqual([]);
      }),
      { numRuns: 2_000 },
    );
  });

  it('more frames than are ever joined are refused', () => {
    const empty: OutFrame = { kind: FrameKind.message, shard: 0, bytes: 0, write: () => undefined };
    const many = (count: number): InFrame[] | undefined =>
      attempt(() => decodeBatch(encodeBatch(Array.from({ length: count }, () => empty))));
    expect(many(BATCH_FRAMES_MAX)).toHaveLength(BATCH_FRAMES_MAX);
    expect(many(BATCH_FRAMES_MAX + 1)).toBeUndefined();
  });

  it('a batch without a frame is one: its sender lives', () => {
    expect(encodeBatch([])).toEqual(Buffer.alloc(BATCH_HEAD_BYTES));
    expect(decodeBatch(encodeBatch([]))).toEqual([]);
  });

  it('its head is the length and the CRC-32 of the frames, little-endian', () => {
    const write = (writer: FrameWriter): void => writer.ascii('123456789');
    const batch = encodeBatch([{ kind: FrameKind.bytes, shard: 0x0102, bytes: 9, write }]);
    const frames = Buffer.from('0200020109000000313233343536373839', 'hex');
    expect(batch.subarray(BATCH_HEAD_BYTES)).toEqual(frames);
    expect([batch.readUInt32LE(0), batch.readUInt32LE(4)]).toEqual([17, crc32(frames)]);
  });
});

describe('the hello', () => {
  const hello: Hello = {
    oldest: 2,
    newest: 2,
    channel: 'bulk',
    incarnation: 2 ** 53 - 1,
    cluster: 'c',
    from: 'node-1',
    to: 'node-2',
  };
  const bytesOf = (each: Hello): Buffer => {
    const body = Buffer.alloc(helloBytes(each));
    writeHello(each, new FrameWriter(body, 0));
    return body;
  };
  const expected = {
    cluster: 'c',
    self: 'node-2',
    isPeer: (node: string) => node === 'node-1' || node === 'node-3',
    certified: { cluster: 'c', node: 'node-1' },
  } as const;

  it('comes out as it went in, and is never longer than what is read of anybody', () => {
    expect(readHello(bytesOf(hello))).toEqual(hello);
    const longest = { ...hello, cluster: 'c'.repeat(64), from: 'f'.repeat(64), to: 't'.repeat(64) };
    expect(readHello(bytesOf(longest))).toEqual(longest);
    expect(helloBytes(longest) + 2 * BATCH_HEAD_BYTES).toBeLessThan(HELLO_BYTES_MAX);
  });

  it('each truncation, and bytes behind it, are refused', () => {
    const body = bytesOf(hello);
    for (let length = 0; length < body.length; length += 1) {
      expect(attempt(() => readHello(body.subarray(0, length)))).toBeUndefined();
    }
    expect(attempt(() => readHello(Buffer.concat([body, Buffer.of(0)])))).toBeUndefined();
  });

  it('any bytes are a hello or are refused', () => {
    const code = (bytes: Uint8Array): string => {
      try {
        readHello(Buffer.from(bytes));
        return 'read';
      } catch (error) {
        return error instanceof PeerError ? error.code : 'bug';
      }
    };
    const flipped = fc.tuple(fc.nat(200), fc.nat(255)).map(([at, value]) => {
      const body = bytesOf(hello);
      body[at % body.length] = value;
      return body;
    });
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 80 }), flipped), (bytes) => {
        expect(['read', 'malformed', 'version']).toContain(code(bytes));
      }),
      { numRuns: 3_000 },
    );
  });

  it.each([
    [{ oldest: 3, newest: 9 }, 'it speaks versions 3 to 9, this node 2 to 2'],
    [{ oldest: 1, newest: 1 }, 'it speaks versions 1 to 1, this node 2 to 2'],
  ])('one of another version is refused as such, whatever follows: %j', (versions, text) => {
    const body = Buffer.concat([bytesOf({ ...hello, ...versions }), Buffer.from('later')]);
    expect(() => readHello(body)).toThrow(text);
  });

  it.each([
    [{ cluster: 'd' }, 'cluster'],
    [{ from: 'node-9' }, 'unknown-node'],
    [{ from: 'node-2' }, 'unknown-node'],
    [{ from: 'node-3' }, 'identity'],
    [{ to: 'node-3' }, 'not-me'],
  ])('S10: %j is refused: %s', (change, code) => {
    const told = (): void => checkHello({ ...hello, ...change }, expected);
    expect(told).toThrow(expect.objectContaining({ code }));
  });

  it('S10: a certificate of another cluster, or of nobody, is none', () => {
    for (const certified of ['nobody', { cluster: 'd', node: 'node-1' }] as const) {
      const told = (): void => checkHello(hello, { ...expected, certified });
      expect(told).toThrow(expect.objectContaining({ code: 'identity' }));
    }
    expect(() => checkHello(hello, expected)).not.toThrow();
    expect(() => checkHello(hello, { ...expected, certified: 'plaintext' })).not.toThrow();
  });
});
