/**
 * The sender's end of a catch-up: records as they were at the last checkpoint, by a read of the
 * store that later checkpoints do not disturb, and payloads from wherever they lie now.
 *
 * Writes go on meanwhile. What is not wanted any more when it is asked for was settled, deleted or
 * expired at an index that has been applied here, which is told: the receiver does not serve before
 * it has applied that much itself. A message that cannot be read is left out, and has its alarm
 * here. Bounded: one page of records more than was asked for, and one answer.
 */

import type { RecordStore, StoredRecord } from '#storage';
import type { CatchUpReading, CatchUpSource, ConfigurationAt } from '#raft';
import type { LogIndex, Offset, QueueId } from '../machine/ids.ts';
import type { Machine } from '../machine/machine.ts';
import { decodeQuestion, encodeRecords } from './catch-up-codec.ts';
import type { CatchUpQuestion } from './catch-up-codec.ts';
import { decodeNote } from './checkpoint.ts';
import { isLayoutKey } from './layout-keys.ts';
import { decodeMembers } from './members.ts';
import { firstSizes, PayloadsWriter } from './payloads-writer.ts';
import { PayloadCursor } from './payloads.ts';
import type { Payloads } from './payloads.ts';
import type { RecordLoader } from './record-loader.ts';

export interface CatchUpSourceOptions {
  readonly records: RecordStore;
  readonly machine: Machine;
  readonly loader: RecordLoader;
  readonly payloads: Pick<Payloads, 'get' | 'fetch'>;
  /** Writes one. */
  readonly checkpoint: () => Promise<void>;
  /** The checkpoint that is being written; undefined: none is. */
  readonly checkpointUnderWay: () => Promise<void> | undefined;
  readonly appliedIndex: () => LogIndex;
  /** Resolves in a later turn of the event loop. */
  readonly nextTurn: () => Promise<void>;
  readonly clock: { monotonicMs(): number };
  /** So long an answer is made without a pause. */
  readonly limits: { readonly sliceMs: number };
}

/** Offsets that one answer looks at; after so many of them, the time is looked at. */
const SCAN_MAX = 65_536;
const STEP = 256;
/** Of a message in an answer, about. */
const OVERHEAD_BYTES = 32;
/** Pages that may be asked for again. */
const PAGES_KEPT = 4;

export class ShardCatchUpSource implements CatchUpSource {
  readonly #options: CatchUpSourceOptions;

  constructor(options: CatchUpSourceOptions) {
    this.#options = options;
  }

  async open(least: number): Promise<CatchUpReading | undefined> {
    const { records } = this.#options;
    await this.#settled();
    const isOld = (records.checkpoint?.index ?? 0) < least;
    if (isOld && this.#options.appliedIndex() >= least) {
      await this.#options.checkpoint();
      await this.#settled();
    }
    const { checkpoint } = records;
    if (checkpoint === undefined) return undefined;
    const known = decodeNote(checkpoint.data)?.members;
    if (known === undefined) return undefined;
    const { configuration } = decodeMembers(known);
    // The read begins in this very turn: it is of this checkpoint.
    const pages = new RecordPages(records.iterate(''));
    const name = { index: checkpoint.index, term: checkpoint.term, configuration };
    return new Reading(this.#options, pages, name);
  }

  async #settled(): Promise<void> {
    const { checkpointUnderWay } = this.#options;
    for (let busy = checkpointUnderWay(); busy !== undefined; busy = checkpointUnderWay()) {
      await busy;
    }
  }
}

class Reading implements CatchUpReading {
  readonly checkpoint: {
    readonly index: number;
    readonly term: number;
    readonly configuration: ConfigurationAt;
  };
  readonly summary = new Uint8Array(0);
  readonly #options: CatchUpSourceOptions;
  readonly #pages: RecordPages;
  readonly #cursor = new PayloadCursor();
  readonly #sizes = firstSizes();

  constructor(
    options: CatchUpSourceOptions,
    pages: RecordPages,
    checkpoint: Reading['checkpoint'],
  ) {
    this.#options = options;
    this.#pages = pages;
    this.checkpoint = checkpoint;
  }

  async answer(bytes: Uint8Array, maxBytes: number): Promise<Uint8Array> {
    const question = decodeQuestion(bytes);
    if (question.kind === 'records') return this.#pages.page(question.page);
    return this.#payloads(question, maxBytes);
  }

  close(): void {
    this.#pages.close();
  }

  async #payloads(
    { queueId, from, to }: CatchUpQuestion & { kind: 'payloads' },
    maxBytes: number,
  ): Promise<Uint8Array> {
    const { nextTurn, appliedIndex, clock, limits } = this.#options;
    const found = new PayloadsWriter(this.#sizes);
    const end = Math.min(to, from + SCAN_MAX);
    const place = { queueId: queueId as QueueId, bytes: 0, gone: false };
    let next = from;
    let pauseAt = clock.monotonicMs() + limits.sliceMs;
    while (next < end && place.bytes < maxBytes) {
      next = await this.#step(place, { next, end, maxBytes }, found);
      if (clock.monotonicMs() < pauseAt) continue;
      await nextTurn();
      pauseAt = clock.monotonicMs() + limits.sliceMs;
    }
    return found.finish(next, place.gone ? appliedIndex() : 0);
  }

  /** Looks at a few offsets; where it stopped. */
  async #step(
    place: { readonly queueId: QueueId; bytes: number; gone: boolean },
    { next, end, maxBytes }: { next: number; end: number; maxBytes: number },
    found: PayloadsWriter,
  ): Promise<number> {
    const { machine, loader, payloads } = this.#options;
    const { queueId } = place;
    const stop = Math.min(end, next + STEP) as Offset;
    await loader.until(() => machine.wantedKeys(queueId, next as Offset, stop));
    for (let offset = next; offset < stop; offset++) {
      if (!machine.isWanted(queueId, offset as Offset)) {
        place.gone = true;
        continue;
      }
      const message = payloads.get(queueId, offset as Offset, this.#cursor);
      if (message === 'away') {
        const fetched = await payloads.fetch(queueId, offset as Offset);
        // What is known of the records may be another story now: begin again here.
        if (fetched.kind === 'ready') return offset;
        place.gone ||= !machine.isWanted(queueId, offset as Offset);
        continue;
      }
      if (message === 'lost') continue;
      const { bytes, start, end: until, index } = message;
      // An answer that has something already leaves what would make it much larger to the next.
      const length = until - start;
      if (place.bytes > 0 && place.bytes + length > maxBytes) {
        place.bytes = maxBytes;
        return offset;
      }
      found.add(offset, index, bytes.subarray(start, until));
      place.bytes += length + OVERHEAD_BYTES;
      if (place.bytes >= maxBytes) return offset + 1;
    }
    return stop;
  }
}

/** Pages of the records, one after the other; the last few may be asked for again. */
class RecordPages {
  readonly #pages: AsyncGenerator<readonly StoredRecord[], void, void>;
  readonly #kept = new Map<number, Uint8Array>();
  /** Read ahead, so that the last one is known for what it is. */
  #ahead: Promise<IteratorResult<readonly StoredRecord[], void>>;
  #next = 0;

  constructor(pages: AsyncGenerator<readonly StoredRecord[], void, void>) {
    this.#pages = pages;
    this.#ahead = pages.next();
    // Told to whoever asks for the page.
    this.#ahead.catch(() => undefined);
  }

  async page(number: number): Promise<Uint8Array> {
    const kept = this.#kept.get(number);
    if (kept !== undefined) return kept;
    if (number !== this.#next) throw new Error(`page ${number} of the records is not there`);
    this.#next++;
    const { value, done } = await this.#ahead;
    this.#ahead = this.#pages.next();
    const { done: isLast } = await this.#ahead;
    const records = done === true ? [] : (value ?? []).filter(({ key }) => !isLayoutKey(key));
    const answer = encodeRecords({
      isLast: done === true || isLast === true,
      keys: records.map(({ key }) => key),
      values: records.map(({ value: bytes }) => bytes),
    });
    this.#kept.set(number, answer);
    this.#kept.delete(number - PAGES_KEPT);
    return answer;
  }

  close(): void {
    this.#pages.return().catch(() => undefined);
  }
}
