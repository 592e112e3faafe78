/**
 * Marks of a queue: a sparse index of (offset, stamp, stored bytes of all before it).
 *
 * A mark is made with the first message, then when 256 messages, a second, or a step of bytes have
 * passed since the last one. So all messages of a *block* (from a mark up to the next one) came
 * within a second of its mark; retention by age and bytes, the offset of a time, and the stored
 * bytes of a stretch follow from that, each erring to the side of keeping.
 *
 * Marks lie in chunks of 256; of the first mark of each chunk there is one in the chunks of the
 * level above, and of the first of those one in the head, so that a look-up reads two chunks in a
 * queue of any length. Where marks were not made for a while (the queue had no use for them), a
 * mark at the beginning of the gap says of all in it that they came at its end.
 */

import { assert } from './assert.ts';
import { type RecordData, type RecordKey, countOf, listOf } from './record-data.ts';
import type { RecordContent, RecordTable } from './record-table.ts';
import { RecordsOfKind, numberName, wordName } from './records-of-kind.ts';

const MARK_MESSAGES = 256;
export const MARK_MS = 1_000;
/** Marks in a chunk. */
export const MARK_CHUNK = 256;
const CHUNK = MARK_CHUNK;
const COLUMNS = 3;

export interface Mark {
  readonly offset: number;
  readonly stamp: number;
  /** Stored bytes of all messages of the queue below `offset`. */
  readonly bytes: number;
}

/** A mark, and how many bytes may pass until the next one; Infinity: no matter. */
export interface MarkAsked extends Mark {
  readonly step: number;
}

export type MarkColumn = keyof Mark;
const COLUMN = { offset: 0, stamp: 1, bytes: 2 } as const satisfies Record<MarkColumn, number>;

class MarkChunk implements RecordContent {
  readonly weight = 16;
  #size = 0;
  #cells = new Float64Array(4 * COLUMNS);

  static fromData(data: RecordData): MarkChunk {
    const [format, flat] = listOf(data);
    assert(format === 1, 'marks: unknown format');
    const chunk = new MarkChunk();
    chunk.#cells = Float64Array.from(listOf(flat).map(countOf));
    chunk.#size = chunk.#cells.length / COLUMNS;
    assert(Number.isInteger(chunk.#size) && chunk.#size <= CHUNK, 'marks: a wrong length');
    return chunk;
  }

  get size(): number {
    return this.#size;
  }

  push({ offset, stamp, bytes }: Mark): void {
    const cell = this.#size * COLUMNS;
    if (cell === this.#cells.length) {
      const cells = new Float64Array(Math.max(4, this.#size * 2) * COLUMNS);
      cells.set(this.#cells);
      this.#cells = cells;
    }
    this.#cells[cell] = offset;
    this.#cells[cell + 1] = stamp;
    this.#cells[cell + 2] = bytes;
    this.#size += 1;
  }

  mark(at: number): Mark {
    assert(at < this.#size, 'marks: no such mark');
    const cell = at * COLUMNS;
    return {
      offset: this.#cells[cell] as number,
      stamp: this.#cells[cell + 1] as number,
      bytes: this.#cells[cell + 2] as number,
    };
  }

  /** The last one whose column is not above `value`; -1 when all are. */
  find(column: MarkColumn, value: number): number {
    let low = 0;
    let high = this.#size;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#cells[middle * COLUMNS + COLUMN[column]] as number) <= value) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  toData(): RecordData {
    return [1, [...this.#cells.subarray(0, this.#size * COLUMNS)]];
  }
}

/** Marks [first, end) of a queue exist. */
class MarksHead implements RecordContent {
  readonly weight = 4;
  first = 0;
  end = 0;
  last: Mark = { offset: 0, stamp: 0, bytes: 0 };
  /** Where the messages that were seen end; what lies between there and the next is a gap. */
  upTo = 0;
  upToBytes = 0;
  /** When the retention of the queue is looked at again; 0: when a message comes. */
  checkAt = 0;
  /** The first mark of each chunk of the level above, from the one that has `first` on. */
  readonly tops: Mark[] = [];

  static fromData(data: RecordData): MarksHead {
    const [format, first, end, last, upTo, upToBytes, checkAt, ...tops] = listOf(data);
    assert(format === 1, 'marks: unknown format');
    const head = new MarksHead();
    head.first = countOf(first);
    head.end = countOf(end);
    head.last = markOf(last);
    head.upTo = countOf(upTo);
    head.upToBytes = countOf(upToBytes);
    head.checkAt = countOf(checkAt);
    head.tops.push(...tops.map(markOf));
    return head;
  }

  toData(): RecordData {
    const { first, end, last, upTo, upToBytes, checkAt, tops } = this;
    return [1, first, end, markData(last), upTo, upToBytes, checkAt, ...tops.map(markData)];
  }
}

export class Marks {
  readonly #heads: RecordsOfKind<MarksHead, number>;
  readonly #chunks: RecordsOfKind<MarkChunk, string>;
  readonly #above: RecordsOfKind<MarkChunk, string>;

  constructor(table: RecordTable) {
    this.#heads = new RecordsOfKind<MarksHead, number>(table, {
      prefix: 'marks',
      nameOf: numberName,
      fromData: (data) => MarksHead.fromData(data),
      fresh: () => new MarksHead(),
    });
    const kind = {
      nameOf: wordName,
      fromData: (data: RecordData) => MarkChunk.fromData(data),
      fresh: () => new MarkChunk(),
    };
    this.#chunks = new RecordsOfKind(table, { prefix: 'mark', ...kind });
    this.#above = new RecordsOfKind(table, { prefix: 'marktop', ...kind });
  }

  load(kind: 'marks' | 'mark' | 'marktop', rest: string, data: RecordData | undefined): void {
    if (kind === 'marks') {
      this.#heads.load(rest, data);
      return;
    }
    const [queueId, chunk] = rest.split('/').map(Number);
    const head = this.#heads.peek(queueId as number);
    const size = kind === 'mark' ? CHUNK : CHUNK * CHUNK;
    // Dropped since it was asked for.
    if (head === undefined || (chunk as number) < Math.floor(head.first / size)) return;
    assert(data !== undefined, 'marks: a record is missing in the store');
    (kind === 'mark' ? this.#chunks : this.#above).load(rest, data);
  }

  /** All below needs the head; true when it is not in memory. */
  needsHead(queueId: number, keys: RecordKey[]): boolean {
    return this.#heads.need(queueId, keys);
  }

  /** Marks [first, end) exist; what lies from `upTo` on came without marks. */
  range(queueId: number): { readonly first: number; readonly end: number; readonly upTo: number } {
    return this.#heads.get(queueId);
  }

  checkAt(queueId: number): number {
    return this.#heads.get(queueId).checkAt;
  }

  setCheckAt(queueId: number, stamp: number): void {
    if (this.#heads.get(queueId).checkAt !== stamp) this.#heads.change(queueId).checkAt = stamp;
  }

  /** False, as for most messages: the head is in memory, and the message makes no mark. */
  needsToAppend(queueId: number, asked: MarkAsked, keys: RecordKey[]): boolean {
    const head = this.#heads.peek(queueId);
    if (head === undefined) this.needsHead(queueId, keys);
    else if (isDue(head, asked)) this.needsToBegin(queueId, keys);
    else return false;
    return true;
  }

  /** What a mark needs, due or not. */
  needsToBegin(queueId: number, keys: RecordKey[]): void {
    if (this.needsHead(queueId, keys)) return;
    const { end } = this.#heads.get(queueId);
    if (end % CHUNK > 0) this.#chunks.need(chunkName(queueId, end), keys);
    // Where there is a gap, two marks are made.
    for (let index = end; index <= end + 1; index += 1) {
      const chunk = index / CHUNK;
      if (index % CHUNK === 0 && chunk % CHUNK > 0) {
        this.#above.need(aboveName(queueId, index), keys);
      }
    }
  }

  /** Does the mark that the message makes begin a chunk, other than the first one? */
  opensChunk(queueId: number, asked: MarkAsked): boolean {
    const head = this.#heads.peek(queueId);
    return head !== undefined && head.end > 0 && head.end % CHUNK === 0 && isDue(head, asked);
  }

  /** The message at `offset` comes; makes a mark if one is due. */
  append(queueId: number, asked: MarkAsked, bytes: number): void {
    const head = this.#heads.change(queueId);
    if (isDue(head, asked)) this.#pushBehind(queueId, head, asked);
    head.upTo = asked.offset + 1;
    head.upToBytes = asked.bytes + bytes;
  }

  /** The same where no mark is due; false: one is, and nothing was done. */
  appendUnmarked(queueId: number, asked: MarkAsked, bytes: number): boolean {
    const head = this.#heads.change(queueId);
    if (isDue(head, asked)) return false;
    head.upTo = asked.offset + 1;
    head.upToBytes = asked.bytes + bytes;
    return true;
  }

  /** Makes a mark where the queue ends, if it has none for what came last. */
  begin(queueId: number, asked: MarkAsked): void {
    const head = this.#heads.change(queueId);
    if (head.end > head.first && head.upTo === asked.offset) return;
    this.#pushBehind(queueId, head, asked);
    head.upTo = asked.offset;
    head.upToBytes = asked.bytes;
  }

  /** Undefined when there is no such mark, or (then a key was added) its chunk is missing. */
  mark(queueId: number, index: number, keys: RecordKey[]): Mark | undefined {
    const { first, end, last } = this.#heads.get(queueId);
    if (index < first || index >= end) return undefined;
    if (index === end - 1) return last;
    const name = chunkName(queueId, index);
    if (this.#chunks.need(name, keys)) return undefined;
    return this.#chunks.get(name).mark(index % CHUNK);
  }

  /**
   * The last mark whose column is not above `value`; -1 when there is none. Not to be used when a
   * key was added.
   */
  find(
    queueId: number,
    { column, value }: { column: MarkColumn; value: number },
    keys: RecordKey[],
  ): number {
    const head = this.#heads.get(queueId);
    if (head.first === head.end) return -1;
    if (head.last[column] <= value) return head.end - 1;
    let top = head.tops.length - 1;
    while (top >= 0 && (head.tops[top] as Mark)[column] > value) top -= 1;
    if (top === -1) return -1;
    const above = Math.floor(head.first / CHUNK / CHUNK) + top;
    const name = `${queueId}/${above}`;
    if (this.#above.need(name, keys)) return -1;
    const chunk = above * CHUNK + this.#above.get(name).find(column, value);
    if (chunk < Math.floor(head.first / CHUNK)) return -1;
    const below = `${queueId}/${chunk}`;
    if (this.#chunks.need(below, keys)) return -1;
    const index = chunk * CHUNK + this.#chunks.get(below).find(column, value);
    return index < head.first ? -1 : index;
  }

  /**
   * Stored bytes of all messages below `offset`, about: even within a block. `end` is where the
   * queue ends. As `find`.
   */
  bytesBelow(
    queueId: number,
    { offset, end }: { offset: number; end: Pick<Mark, 'offset' | 'bytes'> },
    keys: RecordKey[],
  ): number {
    if (offset >= end.offset) return end.bytes;
    const index = this.find(queueId, { column: 'offset', value: offset }, keys);
    const low = this.mark(queueId, index, keys) ?? { offset: 0, bytes: 0 };
    const behind = index === -1 ? this.#heads.get(queueId).first : index + 1;
    const high = this.mark(queueId, behind, keys) ?? end;
    if (high.offset <= low.offset) return low.bytes;
    const share = (offset - low.offset) / (high.offset - low.offset);
    return Math.round(low.bytes + (high.bytes - low.bytes) * share);
  }

  /** No more than `bytesBelow` says of this offset, now or later. As `find`. */
  bytesBelowAtLeast(queueId: number, offset: number, keys: RecordKey[]): number {
    const index = this.find(queueId, { column: 'offset', value: offset }, keys);
    return this.mark(queueId, index, keys)?.bytes ?? 0;
  }

  /**
   * Where messages of this stamp or a later one begin, up to a second early; undefined: before the
   * first mark. `end` is the next offset of the queue. As `find`.
   */
  offsetAt(
    queueId: number,
    { ms, end }: { ms: number; end: number },
    keys: RecordKey[],
  ): number | undefined {
    const index = this.find(queueId, { column: 'stamp', value: ms - 1 }, keys);
    const low = this.mark(queueId, index, keys);
    if (low === undefined) return undefined;
    if (low.stamp + MARK_MS > ms) return low.offset;
    // What came without marks since then may be of any time.
    const { upTo } = this.#heads.get(queueId);
    return this.mark(queueId, index + 1, keys)?.offset ?? Math.min(end, upTo);
  }

  /** The marks below `index` go, with the chunks that only they need. */
  drop(queueId: number, index: number): void {
    const head = this.#heads.get(queueId);
    if (index <= head.first) return;
    assert(index <= head.end, 'marks: more than there are');
    this.#heads.change(queueId);
    const { first } = head;
    head.first = index;
    for (let chunk = Math.floor(first / CHUNK); (chunk + 1) * CHUNK <= index; chunk += 1) {
      this.#chunks.remove(`${queueId}/${chunk}`);
    }
    const size = CHUNK * CHUNK;
    for (let above = Math.floor(first / size); (above + 1) * size <= index; above += 1) {
      this.#above.remove(`${queueId}/${above}`);
      head.tops.shift();
    }
  }

  /** All of the queue; its head is in memory. */
  remove(queueId: number): void {
    const { first, end, checkAt } = this.#heads.get(queueId);
    if (end === 0 && checkAt === 0) return;
    for (let chunk = Math.floor(first / CHUNK); chunk * CHUNK < end; chunk += 1) {
      this.#chunks.remove(`${queueId}/${chunk}`);
    }
    const size = CHUNK * CHUNK;
    for (let above = Math.floor(first / size); above * size < end; above += 1) {
      this.#above.remove(`${queueId}/${above}`);
    }
    this.#heads.remove(queueId);
  }

  /** The mark; and one where the gap before it begins, if there is one. */
  #pushBehind(queueId: number, head: MarksHead, { offset, stamp, bytes }: Mark): void {
    if (head.end > head.first && head.upTo < offset) {
      this.#push(queueId, head, { offset: head.upTo, stamp, bytes: head.upToBytes });
    }
    this.#push(queueId, head, { offset, stamp, bytes });
  }

  #push(queueId: number, head: MarksHead, mark: Mark): void {
    const index = head.end;
    head.end += 1;
    head.last = mark;
    const name = chunkName(queueId, index);
    if (index % CHUNK > 0) {
      this.#chunks.change(name).push(mark);
      return;
    }
    this.#chunks.create(name).push(mark);
    const above = aboveName(queueId, index);
    if ((index / CHUNK) % CHUNK > 0) {
      this.#above.change(above).push(mark);
      return;
    }
    this.#above.create(above).push(mark);
    head.tops.push(mark);
  }
}

function isDue(
  { first, end, last }: MarksHead,
  { offset, stamp, bytes, step }: MarkAsked,
): boolean {
  return (
    first === end ||
    offset - last.offset >= MARK_MESSAGES ||
    stamp - last.stamp >= MARK_MS ||
    bytes - last.bytes >= step
  );
}

function chunkName(queueId: number, index: number): string {
  return `${queueId}/${Math.floor(index / CHUNK)}`;
}

function aboveName(queueId: number, index: number): string {
  return `${queueId}/${Math.floor(index / CHUNK / CHUNK)}`;
}

function markData({ offset, stamp, bytes }: Mark): RecordData {
  return [offset, stamp, bytes];
}

function markOf(data: RecordData | undefined): Mark {
  const [offset, stamp, bytes] = listOf(data);
  return { offset: countOf(offset), stamp: countOf(stamp), bytes: countOf(bytes) };
}
