/** Links: what was sent arrives once and in order, or the link goes down at both ends. */

import { fc } from '../support/properties.ts';
import { afterEach, describe, expect, it } from 'vitest';
import { FrameKind, decodeBatch } from '../../src/cluster/batch.ts';
import type { Hello } from '../../src/cluster/hello.ts';
import { Link, type LinkEnd, type LinkListener } from '../../src/cluster/link.ts';
import { FRAME_BYTES_MAX, PART_BYTES } from '../../src/cluster/peer-limits.ts';
import type { PeerStream } from '../../src/cluster/peer-stream.ts';
import { Authority, PeerNode, introduce, until } from '../support/peer-world.ts';
import type { NodeWish } from '../support/peer-world.ts';

const HELLO: Hello = {
  oldest: 2,
  newest: 2,
  channel: 'link',
  incarnation: 5,
  cluster: 'c',
  from: 'n2',
  to: 'n1',
};

/** One end of a link, with what it has heard. */
class Heard implements LinkListener {
  readonly end: LinkEnd;
  readonly batches: { readonly shard: number; readonly bytes: Buffer }[] = [];
  rooms = 0;
  downs = 0;

  constructor(end: LinkEnd) {
    this.end = end;
  }

  received(shard: number, bytes: Buffer): void {
    this.batches.push({ shard, bytes });
  }

  room(): void {
    this.rooms += 1;
  }

  down(): void {
    this.downs += 1;
  }

  get texts(): string[] {
    return this.batches.map(({ bytes }) => bytes.toString());
  }
}

describe('one end by itself', () => {
  /** Two ends whose streams are each other; batches pass when they are asked to. */
  function ends(bytesMax = 1 << 30): {
    readonly one: Heard;
    readonly other: Heard;
    readonly pass: () => number;
  } {
    const waiting: {
      readonly to: () => Link;
      readonly batch: Buffer;
      readonly taken: () => void;
    }[] = [];
    const bounds = { framesMax: 8_192, bytesMax, whenFull: 'refuse' } as const;
    const links: Link[] = [];
    const heard: Heard[] = [];
    const stream = (to: number): PeerStream => ({
      hello: HELLO,
      write: (batch, taken) =>
        waiting.push({ to: () => links[to]!, batch: Buffer.from(batch), taken }),
      end: () => undefined,
    });
    for (const to of [1, 0]) {
      const onLink = (end: LinkEnd): LinkListener => {
        heard.push(new Heard(end));
        return heard.at(-1)!;
      };
      links.push(new Link(stream(to), bounds, { onLink, onSend: () => undefined }));
    }
    return {
      one: heard[0]!,
      other: heard[1]!,
      pass: () => {
        for (const { sender } of links) sender.sendWaiting();
        const now = waiting.splice(0);
        for (const { to, batch, taken } of now) {
          to().frames(decodeBatch(batch));
          taken();
        }
        return now.length;
      },
    };
  }

  it('batches of any sizes, in any number of pieces, of many shards, come whole and in order', () => {
    const size = fc.oneof(fc.nat(200), fc.nat(3 * PART_BYTES), fc.constantFrom(PART_BYTES, 0));
    const wish = fc.record({ shard: fc.nat(3), sizes: fc.array(size, { maxLength: 4 }) });
    fc.assert(
      fc.property(fc.array(wish, { maxLength: 8 }), (wishes) => {
        const { one, other, pass } = ends();
        const sent = wishes.map(({ shard, sizes }, at) => {
          const parts = sizes.map((length) => Buffer.alloc(length, at + length));
          expect(one.end.send(shard, parts)).toBe(true);
          return { shard, bytes: Buffer.concat(parts) };
        });
        while (pass() > 0);
        expect(other.batches.map(({ shard }) => shard)).toEqual(sent.map(({ shard }) => shard));
        for (const [at, { bytes }] of sent.entries()) {
          expect(bytes.equals(other.batches[at]!.bytes)).toBe(true);
        }
      }),
      { numRuns: 40 },
    );
  });

  it('a batch is refused as a whole where it has no room, and there is a word when it has', () => {
    const { one, other, pass } = ends(PART_BYTES);
    const parts = [Buffer.alloc(3 * PART_BYTES, 1)];
    expect(one.end.send(1, [Buffer.from('first')])).toBe(true);
    expect([one.end.send(1, parts), one.end.hasRoom]).toEqual([false, true]);
    while (pass() > 0);
    expect([one.rooms, other.texts]).toEqual([1, ['first']]);
    // Where nothing waits there is room, however large it is.
    expect([one.end.send(1, parts), one.end.hasRoom]).toEqual([true, false]);
    while (pass() > 0);
    expect([one.rooms, other.batches.length]).toEqual([2, 2]);
    expect(() => one.end.send(1, [Buffer.alloc(FRAME_BYTES_MAX + 1)])).toThrow(RangeError);
  });

  it('parts that never end, and frames of another kind, are malformed', () => {
    const link = (): Link =>
      new Link(
        { hello: HELLO, write: () => undefined, end: () => undefined },
        { framesMax: 10, bytesMax: 10, whenFull: 'refuse' },
        { onLink: (end) => new Heard(end), onSend: () => undefined },
      );
    const body = Buffer.alloc(1 << 20);
    const part = { kind: FrameKind.part, shard: 1, body };
    const endless = link();
    for (let taken = 0; taken + body.length <= FRAME_BYTES_MAX; taken += body.length) {
      endless.frames([part]);
    }
    expect(() => endless.frames([part])).toThrow('parts of more than a whole');
    for (const kind of [FrameKind.hello, FrameKind.message, 9]) {
      expect(() => link().frames([{ kind, shard: 1, body }])).toThrow('a frame of kind');
    }
  });
});

const authority = new Authority();
const running: PeerNode[] = [];

afterEach(async () => {
  await Promise.all(running.splice(0).map(({ transport }) => transport.stop()));
});

async function node(id: string, wish: NodeWish = {}): Promise<PeerNode> {
  const made = new PeerNode(id, { tls: authority.tls('c', id), ...wish });
  running.push(made);
  await made.transport.start();
  return made;
}

interface Ends {
  /** Of links that this node has opened, and of those that others have. */
  readonly opened: Heard[];
  readonly accepted: Heard[];
}

function use({ transport }: PeerNode): Ends {
  const ends: Ends = { opened: [], accepted: [] };
  const keep = (list: Heard[]) => (end: LinkEnd) => {
    const heard = new Heard(end);
    list.push(heard);
    return heard;
  };
  transport.link({ opened: keep(ends.opened), accepted: keep(ends.accepted) });
  return ends;
}

describe('between nodes', () => {
  it('each node has a link to the other; what is said on one is heard on that one', async () => {
    const wish = { backlogBytes: 64 << 20 };
    const [one, other] = [await node('n1', wish), await node('n2', wish)];
    introduce(one, other);
    const [a, b] = [use(one), use(other)];
    await until(() =>
      [a, b].every(({ opened, accepted }) => opened.length + accepted.length === 2),
    );
    expect(a.opened[0]!.end).toMatchObject({ node: 'n2' });
    expect(b.accepted[0]!.end).toMatchObject({ node: 'n1' });
    const texts = Array.from({ length: 500 }, (_, at) => `request ${at}`);
    for (const text of texts) a.opened[0]!.end.send(3, [Buffer.from(text)]);
    await until(() => b.accepted[0]!.batches.length === texts.length);
    expect(b.accepted[0]!.texts).toEqual(texts);
    const large = Buffer.alloc(40 << 20, 'x');
    expect(b.accepted[0]!.end.send(3, [large])).toBe(true);
    expect(b.accepted[0]!.end.send(3, [Buffer.from('behind it')])).toBe(true);
    await until(() => a.opened[0]!.batches.length === 2);
    expect(large.equals(a.opened[0]!.batches[0]!.bytes)).toBe(true);
    expect(a.opened[0]!.batches[1]!.bytes.toString()).toBe('behind it');
    expect([a.accepted[0]!.batches, b.opened[0]!.batches]).toEqual([[], []]);
    expect(one.stat('peer-frames/sent')).toBe(500);
  });

  it('a node that nobody uses links of yet is asked again', async () => {
    const [one, other] = [await node('n1'), await node('n2')];
    introduce(one, other);
    const a = use(one);
    await until(() => one.lines.of('a peer cannot be reached').length >= 2);
    const b = use(other);
    await until(() => a.opened.length === 1 && b.opened.length === 1);
  });

  it('closed at one end it is down at the other, and a new life begins', async () => {
    const [one, other] = [await node('n1'), await node('n2')];
    introduce(one, other);
    const [a, b] = [use(one), use(other)];
    await until(() => a.opened.length === 1 && b.accepted.length === 1);
    for (const [closer, hearer] of [
      [a.opened, b.accepted],
      [b.accepted, a.opened],
    ] as const) {
      const count = closer.length;
      const [here, there] = [closer.at(-1)!, hearer.at(-1)!];
      here.end.close();
      expect(here.end.send(1, [Buffer.from('lost')])).toBe(false);
      await until(() => a.opened.length === count + 1 && b.accepted.length === count + 1);
      expect([here.downs, there.downs, there.batches]).toEqual([0, 1, []]);
    }
  });

  it('a node that dies and comes back is down, and up again as another one', async () => {
    const [one, other] = [await node('n1'), await node('n2')];
    introduce(one, other);
    const [a, b] = [use(one), use(other)];
    await until(() => a.opened.length === 1 && b.accepted.length === 1);
    const { port } = other;
    await running.splice(1, 1)[0]!.transport.stop();
    await until(() => a.opened[0]!.downs === 1);
    const again = await node('n2', { port });
    introduce(one, again);
    use(again);
    await until(() => a.opened.length === 2);
    const [before, after] = a.opened.map(({ end }) => end.incarnation);
    expect(after).not.toBe(before);
    expect(b.accepted[0]!.downs).toBe(1);
  });

  it('what waits is bounded: refused, room again, nothing lost in between', async () => {
    const wish = { backlogBytes: 1 << 20 };
    const [one, other] = [await node('n1', wish), await node('n2', wish)];
    introduce(one, other);
    const [a, b] = [use(one), use(other)];
    await until(() => a.opened.length === 1 && b.accepted.length === 1);
    const { end } = a.opened[0]!;
    let sent = 0;
    let refused = 0;
    while (sent < 100) {
      const bytes = Buffer.alloc(100_000, sent);
      if (end.send(1, [bytes])) sent += 1;
      else {
        refused += 1;
        const { rooms } = a.opened[0]!;
        await until(() => a.opened[0]!.rooms > rooms);
      }
    }
    await until(() => b.accepted[0]!.batches.length === sent);
    expect(refused).toBeGreaterThan(0);
    expect(b.accepted[0]!.batches.map(({ bytes }) => bytes[0])).toEqual(
      Array.from({ length: 100 }, (_, at) => at),
    );
  });
});
