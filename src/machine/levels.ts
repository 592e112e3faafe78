/**
 * The priorities of messages: four bits an offset, in chunks of 4,096 offsets; one record each.
 *
 * They are what a dispatch policy begins with after a restart. A chunk exists only where a message
 * has a priority above 0; which ones do stands in the head of the queue. A chunk goes when nothing
 * in it is wanted any more.
 */

import { assert } from './assert.ts';
import { type RecordData, type RecordKey, bytesOf, countOf, listOf } from './record-data.ts';
import type { RecordContent, RecordTable } from './record-table.ts';
import { RecordsOfKind, numberName, wordName } from './records-of-kind.ts';

export const LEVELS_CHUNK = 4096;
const MAX_LEVEL = 9;

class LevelsChunk implements RecordContent {
  readonly weight = 6;
  /** Two offsets a byte, the even one in the low half. */
  readonly packed = new Uint8Array(LEVELS_CHUNK / 2);

  static fromData(data: RecordData): LevelsChunk {
    const [format, packed] = listOf(data);
    assert(format === 1, 'levels: unknown format');
    const bytes = bytesOf(packed);
    assert(bytes.length === LEVELS_CHUNK / 2, 'levels: a wrong length');
    const chunk = new LevelsChunk();
    chunk.packed.set(bytes);
    return chunk;
  }

  toData(): RecordData {
    return [1, this.packed.slice()];
  }
}

class LevelsHead implements RecordContent {
  /** Ascending. */
  chunks: number[] = [];
  /** It was changed once; not in the record. */
  isStored = false;

  static fromData(data: RecordData): LevelsHead {
    const [format, chunks] = listOf(data);
    assert(format === 1, 'levels: unknown format');
    const head = new LevelsHead();
    head.chunks = listOf(chunks).map(countOf);
    head.isStored = true;
    return head;
  }

  toData(): RecordData {
    return [1, [...this.chunks]];
  }
}

export class Levels {
  readonly #heads: RecordsOfKind<LevelsHead, number>;
  readonly #chunks: RecordsOfKind<LevelsChunk, string>;

  constructor(table: RecordTable) {
    this.#heads = new RecordsOfKind<LevelsHead, number>(table, {
      prefix: 'levels',
      nameOf: numberName,
      fromData: (data) => LevelsHead.fromData(data),
      fresh: () => new LevelsHead(),
    });
    this.#chunks = new RecordsOfKind<LevelsChunk, string>(table, {
      prefix: 'level',
      nameOf: wordName,
      fromData: (data) => LevelsChunk.fromData(data),
      fresh: () => new LevelsChunk(),
    });
  }

  load(kind: 'levels' | 'level', rest: string, data: RecordData | undefined): void {
    if (kind === 'levels') {
      this.#heads.load(rest, data);
      return;
    }
    const [queueId, chunk] = rest.split('/').map(Number);
    const head = this.#heads.peek(queueId as number);
    // Dropped since it was asked for.
    if (head?.chunks.includes(chunk as number) !== true) return;
    assert(data !== undefined, 'levels: a record is missing in the store');
    this.#chunks.load(rest, data);
  }

  /** All below needs the head; true when it is not in memory. */
  needsHead(queueId: number, keys: RecordKey[]): boolean {
    return this.#heads.need(queueId, keys);
  }

  needsToSet(queueId: number, offset: number, keys: RecordKey[]): void {
    if (this.needsHead(queueId, keys)) return;
    const chunk = Math.floor(offset / LEVELS_CHUNK);
    if (this.#heads.get(queueId).chunks.includes(chunk)) {
      this.#chunks.need(`${queueId}/${chunk}`, keys);
    }
  }

  /** Is it the first of its chunk? Then what is below may be dropped, now and then. */
  opensChunk(queueId: number, offset: number): boolean {
    const head = this.#heads.peek(queueId);
    return head?.chunks.includes(Math.floor(offset / LEVELS_CHUNK)) === false;
  }

  /** The priority of a message that comes, 1 to 9; a message that is not told of has 0. */
  set(queueId: number, offset: number, priority: number): void {
    assert(priority >= 1 && priority <= MAX_LEVEL, 'levels: no such priority');
    const chunk = Math.floor(offset / LEVELS_CHUNK);
    const name = `${queueId}/${chunk}`;
    const { chunks } = this.#heads.get(queueId);
    let content: LevelsChunk;
    if (chunks.includes(chunk)) {
      content = this.#chunks.change(name);
    } else {
      const head = this.#heads.change(queueId);
      head.chunks.push(chunk);
      head.isStored = true;
      content = this.#chunks.create(name);
    }
    const at = offset - chunk * LEVELS_CHUNK;
    const byte = at >>> 1;
    content.packed[byte] = (content.packed[byte] as number) | (priority << ((at & 1) * 4));
  }

  /** Keys of all chunks that have an offset at or above `from`. */
  needsToCopy(queueId: number, from: number, keys: RecordKey[]): void {
    if (this.needsHead(queueId, keys)) return;
    for (const chunk of this.#from(queueId, from)) this.#chunks.need(`${queueId}/${chunk}`, keys);
  }

  /** Copies of them by chunk, two offsets a byte; undefined: no message there has a priority. */
  copy(queueId: number, from: number): ReadonlyMap<number, Uint8Array> | undefined {
    const chunks = this.#from(queueId, from);
    if (chunks.length === 0) return undefined;
    return new Map(
      chunks.map((chunk) => [chunk, this.#chunks.get(`${queueId}/${chunk}`).packed.slice()]),
    );
  }

  /** Nothing below `offset` is wanted any more. */
  drop(queueId: number, offset: number): void {
    const { chunks } = this.#heads.get(queueId);
    const keep = chunks.findIndex((chunk) => (chunk + 1) * LEVELS_CHUNK > offset);
    const gone = keep === -1 ? chunks.length : keep;
    if (gone === 0) return;
    const head = this.#heads.change(queueId);
    for (const chunk of head.chunks.splice(0, gone)) this.#chunks.remove(`${queueId}/${chunk}`);
  }

  /** All of the queue; its head is in memory. */
  remove(queueId: number): void {
    const { chunks, isStored } = this.#heads.get(queueId);
    for (const chunk of chunks) this.#chunks.remove(`${queueId}/${chunk}`);
    if (isStored) this.#heads.remove(queueId);
  }

  #from(queueId: number, from: number): number[] {
    const { chunks } = this.#heads.get(queueId);
    return chunks.filter((chunk) => (chunk + 1) * LEVELS_CHUNK > from);
  }
}
