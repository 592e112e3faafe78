/**
 * Timers, as records: a wheel of three levels whose slots are chunks of rows.
 *
 *   level 0   a slot is a tick of 100 ms
 *   level 1   a slot is a page of 1,024 ticks, some 102 s
 *   level 2   a slot is a book of 1,024 pages, some 29 hours
 *
 * A timer goes to the lowest level whose slots have been opened for its time. `step` fires what is
 * due, chunk by chunk; when nothing is due, it deals out one chunk of the page (or book) that comes
 * next to the level below. Each timer is moved twice at most, each step reads a few chunks and
 * writes at most one chunk a row, and memory holds only the slots (level 2 has 3,000 for ten years)
 * and those chunks that are in use: the rest is on disk.
 *
 * A timer never fires early, and fires at most a tick after its time. Nothing is ever cancelled:
 * who is told that a timer fired looks whether it still matters. What is in memory must never
 * change where a timer goes, or replicas would differ: so a slot counts what its last chunk took.
 */

import { assert } from './assert.ts';
import { type RecordData, type RecordKey, countOf, listOf } from './record-data.ts';
import {
  type RecordContent,
  type RecordHolder,
  type RecordTable,
  Resident,
} from './record-table.ts';
import { RecordsOfKind, numberName } from './records-of-kind.ts';
import {
  TIMER_CHUNK,
  TIMER_KINDS,
  type Timer,
  TimerChunk,
  type TimerKind,
  type TimerRow,
} from './timer-chunk.ts';

export const TICK_MS = 100;
/** Slots of a level in one slot of the level above. */
const FAN_OUT = 1024;
/** A page is dealt out so many ticks before its first, so that its timers are in time. */
const LEAD_TICKS = 50;
/** Chunks that a slot can have; what comes then goes to the next slot, and so is late. */
const SLOT_CHUNKS = 262_144;
/** Chunks that one step looks at. */
const STEP_CHUNKS = 8;
const LEVELS = [0, 1, 2] as const;
type Level = (typeof LEVELS)[number];

export interface DueTimer {
  readonly kind: TimerKind;
  readonly queueId: number;
  readonly from: number;
  readonly count: number;
}

/** The highest page and book of which nothing goes to their own level any more. */
interface Opened {
  readonly page: number;
  readonly book: number;
}

interface Slot {
  /** Chunks [first, end) of the slot exist. */
  first: number;
  end: number;
  /** Rows that the last chunk has taken, those that are gone included. */
  tail: number;
}

/** The slots of one level, found in order. */
class Slots {
  readonly #slots = new Map<number, Slot>();
  /** Ascending. */
  readonly #order: number[] = [];

  get lowest(): number {
    return this.#order[0] ?? Number.POSITIVE_INFINITY;
  }

  get order(): readonly number[] {
    return this.#order;
  }

  get(slot: number): Slot | undefined {
    return this.#slots.get(slot);
  }

  add(number: number, slot: Slot): void {
    const order = this.#order;
    let at = order.length;
    while (at > 0 && (order[at - 1] as number) > number) at -= 1;
    order.splice(at, 0, number);
    this.#slots.set(number, slot);
  }

  remove(number: number): void {
    this.#slots.delete(number);
    this.#order.splice(this.#order.indexOf(number), 1);
  }
}

/** The head record: which slots there are. */
class Wheel implements RecordContent {
  readonly weight = 16;
  /** The highest page and book that were opened: what is due in them goes below. */
  page = 0;
  book = 0;
  readonly levels: readonly [Slots, Slots, Slots] = [new Slots(), new Slots(), new Slots()];

  static fromData(data: RecordData): Wheel {
    const [format, page, book, ...levels] = listOf(data);
    assert(format === 1 && levels.length === LEVELS.length, 'timers: unknown format');
    const wheel = new Wheel();
    wheel.page = countOf(page);
    wheel.book = countOf(book);
    for (const level of LEVELS) {
      const flat = listOf(levels[level]).map(countOf);
      for (let i = 0; i < flat.length; i += 4) {
        const [number, first, end, tail] = flat.slice(i, i + 4) as [number, number, number, number];
        wheel.levels[level].add(number, { first, end, tail });
      }
    }
    return wheel;
  }

  toData(): RecordData {
    const levels = this.levels.map((slots) =>
      slots.order.flatMap((number) => {
        const { first, end, tail } = slots.get(number) as Slot;
        return [number, first, end, tail];
      }),
    );
    return [1, this.page, this.book, ...levels];
  }
}

export class Timers implements RecordHolder {
  readonly #table: RecordTable;
  readonly #headKey: RecordKey;
  readonly #chunks: readonly RecordsOfKind<TimerChunk, number>[];
  /** Always in memory once it was loaded. */
  #head: Resident<Wheel> | undefined;

  /** `name` is the first part of the keys of all its records. */
  constructor(name: string, table: RecordTable) {
    this.#table = table;
    this.#headKey = name as RecordKey;
    this.#chunks = LEVELS.map(
      (level) =>
        new RecordsOfKind<TimerChunk, number>(table, {
          prefix: `${name}/${level}`,
          nameOf: numberName,
          fromData: (data) => TimerChunk.fromData(data),
          // A tick has few rows mostly, a page or a book fills its chunks.
          fresh: () => new TimerChunk(level === 0 ? 4 : 32),
        }),
    );
  }

  get headKey(): RecordKey {
    return this.#headKey;
  }

  get isLoaded(): boolean {
    return this.#head !== undefined;
  }

  loadHead(data: RecordData | undefined): void {
    const wheel = data === undefined ? new Wheel() : Wheel.fromData(data);
    this.#head ??= new Resident(this.#headKey, wheel, this);
  }

  /** What stands behind the name in the key. */
  loadChunk(rest: string, data: RecordData | undefined): void {
    const level = Number(rest.slice(0, 1)) as Level;
    const number = Number(rest.slice(2));
    const slot = this.#wheel.levels[level].get(slotOf(number));
    const index = number % SLOT_CHUNKS;
    // Dealt out or fired since it was asked for.
    if (slot === undefined || index < slot.first || index >= slot.end) return;
    assert(data !== undefined, 'timers: a chunk is missing in the store');
    this.#chunksOf(level).load(rest.slice(2), data);
  }

  /** The stamp from which on `step` does something; Infinity when there is no timer. */
  next(): number {
    const [ticks, pages, books] = this.#wheel.levels;
    const page = pages.lowest * FAN_OUT - LEAD_TICKS;
    const book = books.lowest * FAN_OUT * FAN_OUT - LEAD_TICKS;
    return Math.max(0, Math.min(ticks.lowest, page, book) * TICK_MS);
  }

  /** Adds the key of the record that `add` needs and that is not in memory. */
  needsToAdd(due: number, now: number, keys: RecordKey[]): void {
    this.#needsToPlace(tickOf(due), this.#openedAt(now), keys);
  }

  add(timer: Timer, now: number): void {
    const tick = tickOf(timer.due);
    const row = {
      tick,
      kind: TIMER_KINDS.indexOf(timer.kind),
      queueId: timer.queueId,
      from: timer.number,
      count: 1,
    };
    this.#place(row, this.#openedAt(now));
  }

  /** Adds the keys of what `due` or `deal` reads or writes and that is not in memory. */
  needsToStep(now: number, keys: RecordKey[]): void {
    const due = this.#dueChunks(now);
    for (const number of due) this.#chunksOf(0).need(number, keys);
    if (due.length > 0) return;
    const from = this.#dealable(now);
    if (from === undefined) return;
    if (this.#chunksOf(from.level).need(from.chunk, keys)) return;
    const chunk = this.#chunksOf(from.level).get(from.chunk);
    const opened = this.#openedBy(from, now);
    for (let at = 0; at < chunk.size; at += 1) {
      this.#needsToPlace(chunk.row(at).tick, opened, keys);
    }
  }

  /** The first timers that are due, at most `max`; in the order in which `take` takes them. */
  due(now: number, max: number): DueTimer[] {
    const timers: DueTimer[] = [];
    for (const number of this.#dueChunks(now)) {
      const chunk = this.#chunksOf(0).get(number);
      for (let at = 0; at < chunk.size && timers.length < max; at += 1) {
        const { kind, queueId, from, count } = chunk.row(at);
        timers.push({ kind: TIMER_KINDS[kind] as TimerKind, queueId, from, count });
      }
    }
    return timers;
  }

  /** Removes the first `timers` of `due`, and `rest` numbers of the one behind them. */
  take(now: number, timers: number, rest: number): void {
    let left = timers;
    for (const number of this.#dueChunks(now)) {
      if (left === 0 && rest === 0) break;
      const chunk = this.#chunksOf(0).change(number);
      const here = Math.min(left, chunk.size);
      left -= here;
      chunk.take(here, left === 0 && here < chunk.size ? rest : 0);
      if (chunk.size > 0) break;
      this.#removeFirst(0, number);
    }
    assert(left === 0, 'timers: more were taken than are due');
  }

  /**
   * When nothing is due: deals out one chunk of what comes next. False when it is not time for it.
   */
  deal(now: number): boolean {
    const from = this.#dealable(now);
    if (from === undefined) return false;
    const opened = this.#openedBy(from, now);
    const wheel = this.#touched();
    wheel.page = opened.page;
    wheel.book = opened.book;
    const chunk = this.#chunksOf(from.level).get(from.chunk);
    for (let at = 0; at < chunk.size; at += 1) this.#place(chunk.row(at), opened);
    this.#removeFirst(from.level, from.chunk);
    return true;
  }

  evicted(): void {
    assert(false, 'timers: the head is never evicted');
  }

  get #wheel(): Wheel {
    assert(this.#head !== undefined, 'timers: not loaded');
    return this.#head.content;
  }

  #touched(): Wheel {
    assert(this.#head !== undefined, 'timers: not loaded');
    this.#table.touch(this.#head);
    return this.#head.content;
  }

  #chunksOf(level: Level): RecordsOfKind<TimerChunk, number> {
    return this.#chunks[level] as RecordsOfKind<TimerChunk, number>;
  }

  /** The first chunks of the slots that are due. */
  #dueChunks(now: number): number[] {
    const numbers: number[] = [];
    const slots = this.#wheel.levels[0];
    for (const slot of slots.order) {
      if (slot * TICK_MS > now) break;
      const { first, end } = slots.get(slot) as Slot;
      for (let index = first; index < end; index += 1) {
        numbers.push(slot * SLOT_CHUNKS + index);
        if (numbers.length === STEP_CHUNKS) return numbers;
      }
    }
    return numbers;
  }

  #dealable(now: number): { level: 1 | 2; slot: number; chunk: number } | undefined {
    const [, pages, books] = this.#wheel.levels;
    const tick = Math.floor(now / TICK_MS) + LEAD_TICKS;
    const page = pages.lowest;
    const book = books.lowest;
    // A book comes before its pages, for some of them are still in it.
    if (book * FAN_OUT <= page && book * FAN_OUT * FAN_OUT <= tick) {
      return { level: 2, slot: book, chunk: book * SLOT_CHUNKS + firstOf(books, book) };
    }
    if (page * FAN_OUT > tick) return undefined;
    return { level: 1, slot: page, chunk: page * SLOT_CHUNKS + firstOf(pages, page) };
  }

  /** What has begun by the clock counts as opened, unless something of it is to be dealt out. */
  #openedAt(now: number): Opened {
    const { levels, page, book } = this.#wheel;
    const [, pages, books] = levels;
    const present = Math.floor(now / TICK_MS / FAN_OUT);
    const openBook = Math.max(book, Math.min(Math.floor(present / FAN_OUT), books.lowest - 1));
    const lastPage = openBook * FAN_OUT + FAN_OUT - 1;
    return {
      book: openBook,
      page: Math.max(page, Math.min(present, pages.lowest - 1, lastPage)),
    };
  }

  /** The same, once what is dealt out counts as opened. */
  #openedBy(from: { level: 1 | 2; slot: number }, now: number): Opened {
    const { page, book } = this.#openedAt(now);
    return from.level === 1
      ? { book, page: Math.max(page, from.slot) }
      : { book: Math.max(book, from.slot), page };
  }

  /** Which level and slot a tick goes to. */
  #slotFor(tick: number, opened: Opened): { level: Level; number: number } {
    const page = Math.floor(tick / FAN_OUT);
    if (page <= opened.page) return this.#withRoom(0, tick);
    const book = Math.floor(page / FAN_OUT);
    return book <= opened.book ? this.#withRoom(1, page) : this.#withRoom(2, book);
  }

  #withRoom(level: Level, number: number): { level: Level; number: number } {
    let at = number;
    for (;;) {
      const slot = this.#wheel.levels[level].get(at);
      if (slot === undefined || slot.end < SLOT_CHUNKS || slot.tail < TIMER_CHUNK) break;
      at += 1;
    }
    return { level, number: at };
  }

  #needsToPlace(tick: number, opened: Opened, keys: RecordKey[]): void {
    const { level, number } = this.#slotFor(tick, opened);
    const slot = this.#wheel.levels[level].get(number);
    if (slot === undefined) return;
    this.#chunksOf(level).need(number * SLOT_CHUNKS + slot.end - 1, keys);
  }

  #place(row: TimerRow, opened: Opened): void {
    const { level, number } = this.#slotFor(row.tick, opened);
    const chunks = this.#chunksOf(level);
    const slots = this.#wheel.levels[level];
    let slot = slots.get(number);
    if (slot !== undefined) {
      const last = chunks.change(number * SLOT_CHUNKS + slot.end - 1);
      if (last.join(row)) return;
      if (slot.tail < TIMER_CHUNK) {
        this.#touched();
        last.push(row);
        slot.tail += 1;
        return;
      }
    }
    this.#touched();
    if (slot === undefined) {
      slot = { first: 0, end: 0, tail: 0 };
      slots.add(number, slot);
    }
    chunks.create(number * SLOT_CHUNKS + slot.end).push(row);
    slot.end += 1;
    slot.tail = 1;
  }

  /** The first chunk of its slot is worked off. */
  #removeFirst(level: Level, chunk: number): void {
    this.#touched();
    const slots = this.#wheel.levels[level];
    const number = slotOf(chunk);
    const slot = slots.get(number);
    assert(slot !== undefined && slot.first === chunk % SLOT_CHUNKS, 'timers: not the first chunk');
    this.#chunksOf(level).remove(chunk);
    slot.first += 1;
    if (slot.first === slot.end) slots.remove(number);
  }
}

function tickOf(due: number): number {
  return Math.ceil(due / TICK_MS);
}

function slotOf(chunk: number): number {
  return Math.floor(chunk / SLOT_CHUNKS);
}

function firstOf(slots: Slots, number: number): number {
  const slot = slots.get(number);
  assert(slot !== undefined, 'timers: no such slot');
  return slot.first;
}
