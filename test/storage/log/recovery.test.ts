/** Recovery as a pure function from bytes to a decision: each row of the table, told by bytes. */
import { describe, expect, test } from 'vitest';

import { BatchKind } from '../../../storage/log/batch.ts';
import type { Manifest } from '../../../storage/log/manifest.ts';
import type { FilePosition, LogIndex, SegmentId } from '../../../storage/log/positions.ts';
import { LOG_ID, recover, SegmentImage } from '../../support/log-image.ts';

const LONG = new Uint8Array(1500).fill(7);

/** Three entries; returns the image and the place of each. */
function three(payload: Uint8Array = LONG) {
  const image = new SegmentImage();
  const first = image.add({ payload });
  const second = image.add({ payload });
  const third = image.add({ payload });
  return { image, first, second, third };
}

function markedBy(image: SegmentImage): Partial<Manifest> {
  return { mark: image.here };
}

describe('the end of the log', () => {
  test('the end of the file, and zeros to the end, are the end; the segment goes on', () => {
    const { image } = three();
    const here = image.end;
    for (const zeros of [0, 1, 511, 5000]) {
      if (zeros > 0) image.zeros(zeros);
      const decision = recover([image]);
      expect(decision).toMatchObject({ cut: undefined, faulty: [], resumable: true });
      expect(decision.end.lastIndex).toBe(3);
      expect(decision.segments[0]).toMatchObject({ end: here, sound: true, sealed: false });
    }
  });

  test('an empty file is an empty log', () => {
    const decision = recover([new SegmentImage()]);
    expect(decision).toMatchObject({ cut: undefined, faulty: [], resumable: true });
    expect(decision.end.lastIndex).toBe(0);
  });

  test('zeros where the manifest knows synced data are not the end but lost data', () => {
    const { image, third } = three();
    const manifest = markedBy(image);
    image.patch(third.position, new Uint8Array(third.end - third.position));
    const decision = recover([image], { manifest });
    expect(decision.cut).toBeUndefined();
    expect(decision.faulty).toMatchObject([
      { from: 3, through: undefined, fault: 'missing-bytes', position: third.position },
    ]);
    expect(decision.resumable).toBe(false);
  });
});

describe('a bad batch at or above the mark', () => {
  test('with a sector that was never written it is torn, with sound batches behind it too', () => {
    const { image, second } = three();
    image.patch(1024 + 512, new Uint8Array(512));
    const decision = recover([image]);
    expect(second.position).toBe(1580);
    expect(decision.cut).toMatchObject({ segmentId: 1, position: 0 });
    expect(decision.segments).toEqual([]);
    expect(decision.end.lastIndex).toBe(0);
  });

  test('the cut goes back to the end of the sound batch before it', () => {
    const { image, second } = three();
    image.patch(2048, new Uint8Array(512));
    const decision = recover([image]);
    expect(decision.cut).toMatchObject({ segmentId: 1, position: second.position });
    expect(decision.end).toMatchObject({ lastIndex: 1 });
    expect(decision.segments).toMatchObject([{ end: second.position, lastIndex: 1, sealed: true }]);
    expect(decision.faulty).toEqual([]);
    expect(decision.resumable).toBe(false);
  });

  test('a sector that it shares with a sound batch counts from its own first byte on', () => {
    const { image, second } = three();
    // Sector 3 (1536 to 2048) holds the end of the first batch and the header of the second.
    image.patch(second.position, new Uint8Array(2048 - second.position));
    expect(recover([image]).cut).toMatchObject({ position: second.position });
  });

  test('a header over two sectors of which the second was never written is torn', () => {
    const image = new SegmentImage();
    image.add({ payload: new Uint8Array(512 - 80 - 40).fill(3) });
    const second = image.add({ payload: LONG });
    expect(second.position).toBe(512 - 40);
    image.patch(512, new Uint8Array(512));
    expect(recover([image]).cut).toMatchObject({ position: second.position });
  });

  test('a payload that has zero sectors of its own is no torn one', () => {
    const { image, first } = three(new Uint8Array(1500));
    expect(recover([image])).toMatchObject({ cut: undefined, faulty: [] });
    image.flip(first.position + 80 + 700);
    const decision = recover([image]);
    expect(decision.cut).toBeUndefined();
    expect(decision.faulty).toMatchObject([
      { from: 1, through: 1, epoch: 1, fault: 'bad-payload' },
    ]);
  });

  test('zeros in the sector that its header ends in are no torn write: it was written', () => {
    const image = new SegmentImage();
    image.add();
    const last = image.add({ hardState: { term: 2, vote: '' } });
    expect(Math.floor(last.position / 512)).toBe(Math.floor((last.end - 1) / 512));
    // One bit of it would do: the term is all that is not zero.
    image.patch(last.position + 80, new Uint8Array(last.end - last.position - 80));
    const decision = recover([image]);
    expect(decision.cut).toBeUndefined();
    expect(decision.faulty).toMatchObject([{ fault: 'bad-payload', hardStateUnsure: true }]);
  });

  test('one zero sector more than the header counts is torn', () => {
    const mixed = new Uint8Array(3000).fill(9);
    mixed.fill(0, 0, 1200);
    const { image, second } = three(mixed);
    // The last sector of the second payload, which was not zero.
    const sector = Math.floor((second.end - 1) / 512) * 512;
    image.patch(sector, new Uint8Array(second.end - sector));
    expect(recover([image]).cut).toMatchObject({ position: second.position });
  });

  test('cut by the end of the file it is torn, at every length', () => {
    const { image, third } = three(new Uint8Array(60).fill(5));
    for (let length = third.end - 1; length > third.position; length -= 1) {
      image.cut(length);
      const decision = recover([image]);
      expect(decision.cut, `length ${length}`).toMatchObject({ position: third.position });
      expect(decision.end.lastIndex).toBe(2);
    }
    image.cut(third.position);
    expect(recover([image]).cut).toBeUndefined();
  });

  test('written whole and gone bad it is faulty, and the log does not grow over it', () => {
    const { image, third } = three();
    image.flip(third.position + 20);
    const decision = recover([image]);
    expect(decision.cut).toBeUndefined();
    expect(decision.faulty).toMatchObject([{ from: 3, through: undefined, fault: 'bad-header' }]);
    expect(decision.resumable).toBe(false);
  });

  test('a bad payload with a sound header names its entry, and the log may go on behind it', () => {
    const { image, third } = three();
    image.flip(third.position + 100);
    const decision = recover([image]);
    expect(decision.faulty).toMatchObject([
      { from: 3, through: 3, epoch: 1, fault: 'bad-payload' },
    ]);
    expect(decision.end.lastIndex).toBe(3);
    expect(decision.resumable).toBe(true);
  });

  test('what a stretch hides is unknown again when the cut takes what told it', () => {
    const image = new SegmentImage();
    image.add({ payload: LONG });
    const bad = image.add();
    const torn = image.add({ payload: LONG });
    image.add();
    image.flip(bad.position + 10);
    image.patch(Math.ceil(torn.position / 512) * 512 + 512, new Uint8Array(512));
    const decision = recover([image]);
    expect(decision.cut).toMatchObject({ position: torn.position });
    expect(decision.faulty).toMatchObject([{ from: 2, position: bad.position }]);
  });
});

describe('two writes beside a sync', () => {
  test('are one torn write, whichever sectors of either the disk has', () => {
    const image = new SegmentImage();
    const before = image.add({ payload: new Uint8Array(700).fill(1) });
    const mark = image.here;
    // A copy begins when the one before has ended, so a sector that both touch has the bytes from
    // before, or those of the first too, or those of both.
    const first = [
      image.add({ payload: new Uint8Array(900).fill(2), mark }),
      image.add({ payload: new Uint8Array(700).fill(3), mark }),
    ];
    const second = [
      image.add({ payload: new Uint8Array(20).fill(4), mark }),
      image.add({ payload: new Uint8Array(1100).fill(5), mark }),
    ];
    const whole = Buffer.from(image.bytes);
    const ends = [before.end, first[1]?.end ?? 0, second[1]?.end ?? 0];
    const states = sectorStates(ends);
    const seen = new Set<number>();
    for (let nth = 0; nth < states.count; nth += 1) {
      image.patch(0, Buffer.alloc(whole.length));
      for (const { from, to } of states.nth(nth)) image.patch(from, whole.subarray(from, to));
      const { faulty, cut, end } = recover([image]);
      expect(faulty, `state ${nth}`).toEqual([]);
      const kept = [before, ...first, ...second][end.lastIndex - 1];
      const has = whole.subarray(0, kept?.end).equals(image.bytes.subarray(0, kept?.end));
      expect(has, `state ${nth}`).toBe(true);
      if (cut !== undefined) expect(cut.position).toBe(kept?.end);
      seen.add(end.lastIndex);
    }
    expect([...seen].toSorted((a, b) => a - b)).toEqual([1, 2, 3, 4, 5]);
  });
});

/** Every way in which each sector may hold the bytes up to one of these ends, and no further. */
function sectorStates(ends: readonly number[]): {
  count: number;
  nth(state: number): { from: number; to: number }[];
} {
  const sectors: number[][] = [];
  for (let from = 0; from < (ends.at(-1) ?? 0); from += 512) {
    const within = ends.map((end) => Math.min(Math.max(end, from), from + 512));
    sectors.push([...new Set(within)]);
  }
  return {
    count: sectors.reduce((product, ways) => product * ways.length, 1),
    nth: (state) => {
      let left = state;
      return sectors.map((ways, sector) => {
        const to = ways[left % ways.length] ?? 0;
        left = Math.floor(left / ways.length);
        return { from: sector * 512, to };
      });
    },
  };
}

describe('the durable mark', () => {
  test('of any sound batch, also behind, keeps a hole below it from being truncated', () => {
    const image = new SegmentImage();
    image.add({ payload: LONG });
    const second = image.add({ payload: LONG });
    image.add({ mark: { segmentId: 1 as SegmentId, position: second.end as FilePosition } });
    image.patch(2048, new Uint8Array(512));
    const decision = recover([image]);
    expect(decision.cut).toBeUndefined();
    expect(decision.faulty).toMatchObject([
      { from: 2, through: 2, epoch: 1, fault: 'bad-payload' },
    ]);
    expect(decision.end.lastIndex).toBe(3);
  });

  test('exactly at a bad batch it does not cover it', () => {
    const image = new SegmentImage();
    const first = image.add({ payload: LONG });
    image.add({
      payload: LONG,
      mark: { segmentId: 1 as SegmentId, position: first.end as FilePosition },
    });
    const third = image.add({ mark: image.here });
    image.patch(third.position, new Uint8Array(80));
    image.add();
    // Nobody vouches for the third: its own mark is gone with it.
    expect(recover([image]).faulty.concat()).toMatchObject([{ from: 3, fault: 'bad-header' }]);
  });

  test('of the manifest counts as well', () => {
    const { image, second } = three();
    const manifest = { mark: { segmentId: 1 as SegmentId, position: second.end as FilePosition } };
    image.patch(2048, new Uint8Array(512));
    expect(recover([image], { manifest }).cut).toBeUndefined();
  });

  test('of a batch that does not follow counts for nothing', () => {
    const { image, third } = three();
    image.patch(third.position, new Uint8Array(third.end - third.position));
    image.add({ index: 1, mark: image.here });
    expect(recover([image]).cut).toMatchObject({ position: third.position });
  });
});

describe('batches that do not belong here', () => {
  test('a sound batch with the wrong chain is faulty', () => {
    const image = new SegmentImage();
    image.add();
    image.add({ chain: 12345 });
    image.add({ index: 3 });
    const decision = recover([image]);
    expect(decision.faulty).toMatchObject([{ from: 2, through: 2, fault: 'wrong-chain' }]);
    expect(decision.end.lastIndex).toBe(3);
  });

  test.each([
    ['an index that was there already', { index: 1 }],
    ['an index that skips one', { index: 3 }],
    ['an epoch that goes back', { epoch: 1 }],
    ['a mark that repeats another index', { kind: BatchKind.mark, index: 0 }],
  ])('%s is faulty', (_what, wish) => {
    const image = new SegmentImage();
    image.add({ epoch: 2 });
    image.add(wish);
    expect(recover([image]).faulty).toMatchObject([{ from: 2, fault: 'wrong-order' }]);
  });

  test.each([
    ['another log', { logId: 'ffffffffffffffff' }, 'foreign-log'],
    ['another segment', { segmentId: 2 }, 'misdirected'],
    ['another position', { position: 4096 }, 'misdirected'],
  ])('a header of %s is named as such', (_what, wish, fault) => {
    const image = new SegmentImage();
    image.add();
    image.add(wish);
    expect(recover([image]).faulty).toMatchObject([{ from: 2, fault }]);
    expect(recover([image]).cut).toBeUndefined();
  });

  test('a copy of the log inside a payload is never taken for the log', () => {
    const { image } = three();
    const copy = new SegmentImage();
    const outer = copy.add({ payload: new Uint8Array(image.bytes) });
    copy.add();
    copy.flip(outer.position + 8);
    const decision = recover([copy]);
    expect(decision.faulty).toMatchObject([{ from: 1, through: 1, end: outer.end }]);
    expect(decision.end.lastIndex).toBe(2);
  });

  test('a batch of a kind or version that is not known is a bad header', () => {
    const image = new SegmentImage();
    image.add({ kind: 9 as BatchKind });
    expect(recover([image]).faulty).toMatchObject([{ fault: 'bad-header' }]);
  });
});

describe('segments', () => {
  function two() {
    const first = new SegmentImage();
    first.add();
    first.add();
    const second = new SegmentImage(2, 3, first.chain);
    second.add();
    return { first, second };
  }

  test('the chain goes on from one to the next', () => {
    const { first, second } = two();
    expect(recover([first, second])).toMatchObject({ cut: undefined, faulty: [] });
    const other = new SegmentImage(2, 3, 1);
    other.add();
    expect(recover([first, other]).faulty).toMatchObject([{ from: 3, fault: 'wrong-chain' }]);
  });

  test('one that is missing hides exactly its indexes', () => {
    const { first, second } = two();
    const decision = recover([first, second], { missing: [first] });
    expect(decision.faulty).toMatchObject([
      { from: 1, through: 2, fault: 'missing-segment', segmentId: 1 },
    ]);
    expect(decision.end.lastIndex).toBe(3);
  });

  test('the last one missing leaves the end unknown', () => {
    const { first, second } = two();
    const decision = recover([first, second], { missing: [second] });
    expect(decision.faulty).toMatchObject([{ from: 3, through: undefined }]);
    expect(decision.resumable).toBe(false);
  });

  test('a gap between two is faulty', () => {
    const { first } = two();
    const later = new SegmentImage(3, 7);
    later.add();
    const decision = recover([first, later]);
    expect(decision.faulty).toMatchObject([{ from: 3, through: 6, fault: 'missing-segment' }]);
    expect(decision.end.lastIndex).toBe(7);
  });

  test('a sealed one that ends early is faulty up to the next one', () => {
    const { first, second } = two();
    const length = first.end as FilePosition;
    first.cut(first.end - 80);
    const segments = [
      { segmentId: first.segmentId, firstIndex: first.firstIndex, length },
      { segmentId: second.segmentId, firstIndex: second.firstIndex, length: undefined },
    ];
    const decision = recover([first, second], { manifest: { segments } });
    expect(decision.faulty).toMatchObject([{ from: 2, through: 2, fault: 'missing-bytes' }]);
  });
});

describe('closed in order', () => {
  test('the manifest knows the last index of a tail that is lost', () => {
    const { image, third } = three();
    const manifest = { ...markedBy(image), clean: true, durable: 3 as LogIndex };
    image.cut(third.position);
    const decision = recover([image], { manifest });
    expect(decision.faulty).toMatchObject([{ from: 3, through: 3, fault: 'missing-bytes' }]);
    expect(decision.end.lastIndex).toBe(3);
  });
});

describe('hard state', () => {
  const state = { term: 5, vote: 'b' };

  test('the last one behind the mark of the manifest counts', () => {
    const image = new SegmentImage();
    image.add({ hardState: { term: 4, vote: 'a' } });
    image.add();
    image.add({ hardState: state });
    expect(recover([image]).end.hardState).toEqual(state);
  });

  test('the manifest is newer than what lies below its mark', () => {
    const image = new SegmentImage();
    image.add({ hardState: { term: 4, vote: 'a' } });
    const manifest = { hardState: state, mark: image.here };
    expect(recover([image], { manifest }).end.hardState).toEqual(state);
  });

  test('one that a torn write held is gone, and the one before it counts', () => {
    const image = new SegmentImage();
    image.add({ hardState: state });
    image.add({ hardState: { term: 6, vote: 'c' } });
    image.cut(image.end - 1);
    expect(recover([image]).end.hardState).toEqual(state);
  });

  test('damage that may hide one says so, until a later one is seen', () => {
    const image = new SegmentImage();
    image.add();
    const lost = image.add({ hardState: { term: 6, vote: 'c' } });
    image.add();
    image.flip(lost.position + 30);
    expect(recover([image]).faulty).toMatchObject([{ from: 2, through: 1, hardStateUnsure: true }]);
    image.add({ hardState: { term: 7, vote: 'd' } });
    const decision = recover([image]);
    expect(decision.faulty).toMatchObject([{ hardStateUnsure: false }]);
    expect(decision.end.hardState).toEqual({ term: 7, vote: 'd' });
  });

  test('a damaged entry hides none', () => {
    const { image, second } = three();
    image.flip(second.position + 200);
    expect(recover([image]).faulty).toMatchObject([{ hardStateUnsure: false }]);
  });
});

test('the decision does not depend on the windows in which the bytes come', () => {
  const { image, second } = three();
  image.flip(second.position + 3);
  image.add({ hardState: { term: 1, vote: 'x' } });
  image.add({ payload: LONG });
  image.flip(image.end - 5);
  image.zeros(3000);
  const plain = JSON.stringify(recover([image], { pieceBytes: 1 << 20 }));
  for (const pieceBytes of [1, 7, 80, 81, 511, 512, 513, 1024, 4096]) {
    expect(JSON.stringify(recover([image], { pieceBytes }))).toBe(plain);
  }
  expect(LOG_ID).toHaveLength(16);
});

test('damage all over costs bounded memory: neighbours become one range', () => {
  const image = new SegmentImage();
  for (let nth = 0; nth < 10_050; nth += 1) image.add({ payload: new Uint8Array(4).fill(1) });
  for (let nth = 0; nth < 10_050; nth += 1) image.flip(nth * 84 + 81);
  image.add();
  const decision = recover([image], { pieceBytes: 1 << 20 });
  expect(decision.faulty.length).toBeLessThanOrEqual(10_000);
  expect(decision.faulty.at(-1)).toMatchObject({ through: 10_050 });
  expect(decision.end.lastIndex).toBe(10_051);
});
