/**
 * Numbered producers: which sequences of a producer a queue has taken, so that a retry stores
 * nothing again.
 *
 *   above the highest        new; the window moves
 *   in the window, not seen  new
 *   in the window, seen      duplicate
 *   below the window         refused: nobody knows any more
 *
 * The window is the last `PRODUCER_WINDOW` sequences. One record for each producer of a queue, and
 * a list of those that there are, in chunks by serial number, so that a timer can name one. At most
 * `maxProducers` of the queue: a new one is refused then, a known one goes on. A producer goes so
 * long after its last message, or after its queue: it is looked at when its timer fires, and not
 * before, so that deleting a queue with a million of them is no work.
 *
 * Nothing says which of these records the store has: what it does not have is as if new, and what
 * has become as if new is not stored.
 */

import { assert } from './assert.ts';
import {
  type RecordData,
  type RecordKey,
  bytesOf,
  countOf,
  listOf,
  stringOf,
} from './record-data.ts';
import type { RecordContent, RecordTable } from './record-table.ts';
import { RecordsOfKind, numberName, wordName } from './records-of-kind.ts';

export const PRODUCER_WINDOW = 1_024;
const BYTES = PRODUCER_WINDOW / 8;
const SERIALS = 64;
/** Ids are 1 to so many characters, any. */
const MAX_ID_LENGTH = 255;

export type ProducerAnswer = 'new' | 'duplicate' | 'refused';

class Producer implements RecordContent {
  /** From 1; 0: this producer is not known. */
  serial = 0;
  /** The highest sequence that was seen. */
  highest = 0;
  /** When its last message came. */
  seenAt = 0;
  /** Sequence `s` is bit `s % PRODUCER_WINDOW`. */
  readonly #bits = new Uint8Array(BYTES);

  static fromData(data: RecordData): Producer {
    const [format, serial, highest, seenAt, bits] = listOf(data);
    assert(format === 1, 'producers: unknown format');
    const producer = new Producer();
    producer.serial = countOf(serial);
    producer.highest = countOf(highest);
    producer.seenAt = countOf(seenAt);
    const packed = bytesOf(bits);
    assert(packed.length === BYTES, 'producers: a wrong length');
    producer.#bits.set(packed);
    return producer;
  }

  check(sequence: number): ProducerAnswer {
    if (this.serial === 0 || sequence > this.highest) return 'new';
    if (sequence <= this.highest - PRODUCER_WINDOW) return 'refused';
    return this.#has(sequence) ? 'duplicate' : 'new';
  }

  take(sequence: number): void {
    if (sequence > this.highest) {
      const skipped = Math.min(sequence - this.highest, PRODUCER_WINDOW);
      for (let back = 0; back < skipped; back += 1) this.#clear(sequence - back);
      this.highest = sequence;
    }
    const at = sequence % PRODUCER_WINDOW;
    this.#bits[at >>> 3] = (this.#bits[at >>> 3] as number) | (1 << (at & 7));
  }

  forget(): void {
    this.serial = 0;
    this.highest = 0;
    this.seenAt = 0;
    this.#bits.fill(0);
  }

  toData(): RecordData | undefined {
    if (this.serial === 0) return undefined;
    return [1, this.serial, this.highest, this.seenAt, this.#bits.slice()];
  }

  #has(sequence: number): boolean {
    const at = sequence % PRODUCER_WINDOW;
    return (((this.#bits[at >>> 3] as number) >>> (at & 7)) & 1) === 1;
  }

  #clear(sequence: number): void {
    if (sequence < 0) return;
    const at = sequence % PRODUCER_WINDOW;
    this.#bits[at >>> 3] = (this.#bits[at >>> 3] as number) & ~(1 << (at & 7));
  }
}

class ProducersHead implements RecordContent {
  count = 0;
  /** 1 again when there is none, for then no timer is left either. */
  nextSerial = 1;

  static fromData(data: RecordData): ProducersHead {
    const [format, count, nextSerial] = listOf(data);
    assert(format === 1, 'producers: unknown format');
    const head = new ProducersHead();
    head.count = countOf(count);
    head.nextSerial = countOf(nextSerial);
    return head;
  }

  toData(): RecordData | undefined {
    return this.count === 0 ? undefined : [1, this.count, this.nextSerial];
  }
}

/** Ids by serial number, of those producers that there are. */
class SerialsChunk implements RecordContent {
  readonly weight = 8;
  readonly ids = new Map<number, string>();

  static fromData(data: RecordData): SerialsChunk {
    const [format, ...rows] = listOf(data);
    assert(format === 1, 'producers: unknown format');
    const chunk = new SerialsChunk();
    for (let i = 0; i < rows.length; i += 2) chunk.ids.set(countOf(rows[i]), stringOf(rows[i + 1]));
    return chunk;
  }

  toData(): RecordData | undefined {
    return this.ids.size === 0 ? undefined : [1, ...[...this.ids].flat()];
  }
}

/** A producer of a queue, and the sequence that it gave its message. */
export interface ProducerAsked {
  readonly queueId: number;
  readonly id: string;
  readonly sequence: number;
}

export class Producers {
  readonly #heads: RecordsOfKind<ProducersHead, number>;
  readonly #producers: RecordsOfKind<Producer, string>;
  readonly #serials: RecordsOfKind<SerialsChunk, string>;

  constructor(table: RecordTable) {
    this.#heads = new RecordsOfKind<ProducersHead, number>(table, {
      prefix: 'producers',
      nameOf: numberName,
      fromData: (data) => ProducersHead.fromData(data),
      fresh: () => new ProducersHead(),
    });
    this.#producers = new RecordsOfKind<Producer, string>(table, {
      prefix: 'producer',
      nameOf: wordName,
      fromData: (data) => Producer.fromData(data),
      fresh: () => new Producer(),
    });
    this.#serials = new RecordsOfKind<SerialsChunk, string>(table, {
      prefix: 'serials',
      nameOf: wordName,
      fromData: (data) => SerialsChunk.fromData(data),
      fresh: () => new SerialsChunk(),
    });
  }

  load(
    kind: 'producers' | 'producer' | 'serials',
    rest: string,
    data: RecordData | undefined,
  ): void {
    if (kind === 'producers') this.#heads.load(rest, data);
    else if (kind === 'producer') this.#producers.load(rest, data);
    else this.#serials.load(rest, data);
  }

  needsToCheck({ queueId, id }: ProducerAsked, keys: RecordKey[]): void {
    const lacksHead = this.#heads.need(queueId, keys);
    const lacksProducer = this.#producers.need(`${queueId}/${id}`, keys);
    if (lacksHead || lacksProducer) return;
    if (this.#producers.get(`${queueId}/${id}`).serial > 0) return;
    this.#serials.need(serialsName(queueId, this.#heads.get(queueId).nextSerial), keys);
  }

  /** What becomes of a message of this sequence; changes nothing. */
  check({ queueId, id, sequence }: ProducerAsked, maxProducers: number): ProducerAnswer {
    if (id.length === 0 || id.length > MAX_ID_LENGTH) return 'refused';
    const producer = this.#producers.get(`${queueId}/${id}`);
    if (producer.serial === 0 && this.#heads.get(queueId).count >= maxProducers) return 'refused';
    return producer.check(sequence);
  }

  /** The message is stored. The serial of a producer that is new and wants a timer; else 0. */
  take({ queueId, id, sequence }: ProducerAsked, now: number): number {
    const producer = this.#producers.change(`${queueId}/${id}`);
    const isNew = producer.serial === 0;
    if (isNew) {
      const head = this.#heads.change(queueId);
      producer.serial = head.nextSerial;
      head.nextSerial += 1;
      head.count += 1;
      this.#serials.change(serialsName(queueId, producer.serial)).ids.set(producer.serial, id);
    }
    producer.take(sequence);
    producer.seenAt = now;
    return isNew ? producer.serial : 0;
  }

  /** What `expire` of these serials needs; the rest of it when asked again. */
  needsToExpire(
    queueId: number,
    { from, count }: { from: number; count: number },
    keys: RecordKey[],
  ): void {
    this.#heads.need(queueId, keys);
    for (let serial = from; serial < from + count; serial += 1) {
      const name = serialsName(queueId, serial);
      if (this.#serials.need(name, keys)) continue;
      const id = this.#serials.get(name).ids.get(serial);
      if (id !== undefined) this.#producers.need(`${queueId}/${id}`, keys);
    }
  }

  /** When a producer was heard of last, 0 if it is gone; what `expire` needs is in memory. */
  seenAt(queueId: number, serial: number): number {
    const id = this.#serials.get(serialsName(queueId, serial)).ids.get(serial);
    return id === undefined ? 0 : this.#producers.get(`${queueId}/${id}`).seenAt;
  }

  /**
   * The timer of a producer fired: forgets it, unless it was heard of since; then the stamp at
   * which to look again. 0: it is gone.
   */
  expire(
    { queueId, serial }: { queueId: number; serial: number },
    { now, expiresMs }: { now: number; expiresMs: number },
  ): number {
    const name = serialsName(queueId, serial);
    const id = this.#serials.get(name).ids.get(serial);
    if (id === undefined) return 0;
    const due = this.#producers.get(`${queueId}/${id}`).seenAt + expiresMs;
    if (due > now) return due;
    this.#producers.change(`${queueId}/${id}`).forget();
    this.#serials.change(name).ids.delete(serial);
    const head = this.#heads.change(queueId);
    head.count -= 1;
    if (head.count === 0) head.nextSerial = 1;
    return 0;
  }

  count(queueId: number): number {
    return this.#heads.get(queueId).count;
  }
}

function serialsName(queueId: number, serial: number): string {
  return `${queueId}/${Math.floor(serial / SERIALS)}`;
}
