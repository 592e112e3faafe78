/**
 * The records that are in memory: which of them changed, the cut of a checkpoint, and eviction.
 *
 * A checkpoint is all records as they were at one index. `freeze` fixes that cut at once by
 * starting a new *era*; what changed in the era before is encoded slice by slice with `capture`,
 * and a record that is about to change meanwhile is captured first (copy-on-write, in `touch`).
 * `thaw` says that the cut is durable. A failed checkpoint has no way back: the process ends, and
 * replay makes the state again.
 *
 * Only clean records are evicted: those whose last change is in a durable cut. The choice is by
 * second chance (a hand goes round and drops what was not used since it last came by), so a use
 * costs one store.
 *
 * What must never happen: a change without `touch` before it; a record dropped whose change is not
 * durable.
 */

import { assert } from './assert.ts';
import type { CapturedRecord, RecordData, RecordKey } from './record-data.ts';

export interface RecordContent {
  /** What it counts in bounds, about one for each 400 bytes; 1 when it does not say. */
  readonly weight?: number;
  /**
   * Shares no memory with the record. Undefined: it is as if new, and the store need not have it;
   * only for records of which nothing else says whether they exist.
   */
  toData(): RecordData | undefined;
}

/** Who refers to a resident record, and forgets it when it is evicted. */
export interface RecordHolder {
  evicted(resident: Resident<RecordContent>): void;
}

export class Resident<T extends RecordContent> {
  readonly key: RecordKey;
  readonly content: T;
  readonly holder: RecordHolder;
  readonly weight: number;
  /** Set by every use; taken away by the hand. */
  used = true;
  /** The era of the last change; 0 when it is as the store has it. */
  changedIn = 0;
  /** The era whose beginning captured it early. */
  capturedIn = 0;
  /** Its place in the round of the hand, -1 when it is not in it. */
  place = -1;

  constructor(key: RecordKey, content: T, holder: RecordHolder) {
    this.key = key;
    this.content = content;
    this.holder = holder;
    this.weight = content.weight ?? 1;
  }
}

type AnyResident = Resident<RecordContent>;
/** Changed records by key; undefined: removed. */
type Changes = Map<RecordKey, AnyResident | undefined>;

export class RecordTable {
  #era = 1;
  #changes: Changes = new Map();
  #changedWeight = 0;
  /** The changes of the era before, as long as its cut is not durable. */
  #frozen: Changes | undefined;
  #uncaptured: Iterator<[RecordKey, AnyResident | undefined]> | undefined;
  #early: CapturedRecord[] = [];
  readonly #round: AnyResident[] = [];
  #weight = 0;
  #hand = 0;

  /** Records changed since the last freeze. */
  get changed(): number {
    return this.#changes.size;
  }

  /** What they weigh; a removed one weighs 1. */
  get changedWeight(): number {
    return this.#changedWeight;
  }

  get size(): number {
    return this.#round.length;
  }

  /** Of all that may be evicted. */
  get weight(): number {
    return this.#weight;
  }

  get isFrozen(): boolean {
    return this.#frozen !== undefined;
  }

  /** A record as the store has it. */
  adopt(resident: AnyResident): void {
    resident.place = this.#round.length;
    this.#round.push(resident);
    this.#weight += resident.weight;
  }

  /** A record that the store does not have yet. */
  create(resident: AnyResident): void {
    this.adopt(resident);
    this.touch(resident);
  }

  /** Called before each change. */
  touch(resident: AnyResident): void {
    if (resident.changedIn === this.#era) return;
    this.#captureFirst(resident);
    resident.changedIn = this.#era;
    this.#changedWeight += resident.weight;
    this.#changes.set(resident.key, resident);
  }

  /** The record is gone from the state; it never changes again, so a cut that has it may wait. */
  remove(resident: AnyResident): void {
    this.removeAbsent(resident.key);
    if (resident.place !== -1) this.#leaveRound(resident);
  }

  /** The same for one that is not resident, and so is as the store has it. */
  removeAbsent(key: RecordKey): void {
    this.#changedWeight += 1;
    this.#changes.set(key, undefined);
  }

  freeze(): void {
    assert(this.#frozen === undefined, 'freeze: the cut before is not durable');
    this.#frozen = this.#changes;
    this.#uncaptured = this.#frozen.entries();
    this.#changes = new Map();
    this.#changedWeight = 0;
    this.#era += 1;
  }

  /** Adds at most `max` records of the cut to `into`; true when that was the last of them. */
  capture(max: number, into: CapturedRecord[]): boolean {
    const rest = this.#uncaptured;
    if (rest === undefined) return true;
    let room = max;
    while (room > 0 && this.#early.length > 0) {
      into.push(this.#early.pop() as CapturedRecord);
      room -= 1;
    }
    while (room > 0) {
      const next = rest.next();
      if (next.done === true) {
        this.#uncaptured = undefined;
        return true;
      }
      const [key, resident] = next.value;
      if (resident === undefined) {
        into.push({ key, data: undefined });
      } else {
        if (resident.capturedIn === this.#era) continue;
        resident.capturedIn = this.#era;
        into.push({ key, data: resident.content.toData() });
      }
      room -= 1;
    }
    return false;
  }

  thaw(): void {
    assert(this.#frozen !== undefined, 'thaw: nothing is frozen');
    assert(this.#uncaptured === undefined, 'thaw: the cut is not complete');
    this.#frozen = undefined;
  }

  /**
   * Drops clean records, those not used lately first, until the rest weighs no more than `bound` or
   * `maxSteps` were looked at; none is looked at more than twice, so it ends also where all are
   * unsaved.
   */
  evict(bound: number, maxSteps: number): number {
    const round = this.#round;
    const steps = Math.min(maxSteps, round.length * 2);
    let evicted = 0;
    for (let step = 0; step < steps && this.#weight > bound; step += 1) {
      if (this.#hand >= round.length) this.#hand = 0;
      const resident = round[this.#hand] as AnyResident;
      if (resident.used || this.#isUnsaved(resident)) {
        resident.used = false;
        this.#hand += 1;
        continue;
      }
      this.#leaveRound(resident);
      resident.holder.evicted(resident);
      evicted += 1;
    }
    return evicted;
  }

  #isUnsaved(resident: AnyResident): boolean {
    const { changedIn } = resident;
    return changedIn === this.#era || (this.#frozen !== undefined && changedIn === this.#era - 1);
  }

  /** Captures a record of the cut that is about to change before its turn. */
  #captureFirst(resident: AnyResident): void {
    if (this.#uncaptured === undefined) return;
    if (resident.changedIn !== this.#era - 1 || resident.capturedIn === this.#era) return;
    resident.capturedIn = this.#era;
    this.#early.push({ key: resident.key, data: resident.content.toData() });
  }

  #leaveRound(resident: AnyResident): void {
    this.#weight -= resident.weight;
    const last = this.#round.pop() as AnyResident;
    if (last !== resident) {
      last.place = resident.place;
      this.#round[resident.place] = last;
    }
    resident.place = -1;
  }
}
