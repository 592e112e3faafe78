/**
 * The messages of a group that nobody has had from this policy: which of them comes next.
 *
 * The invariant: from `cursor` on a message is new unless its bit is set in `#skip`; nothing before
 * it is new. Those with a priority come first, the higher level first, each level in order
 * (`priority-levels.ts`); all others by the cursor. While a message with a priority is new and
 * within the span the cursor stands, so that what it finds has none.
 *
 * Finding the next one costs the same however many are new, and passing over what is settled costs
 * one step for 32 messages, once.
 */

import type { Offset } from './ids.ts';
import { MAX_LEVEL, PriorityLevels } from './priority-levels.ts';
import { SETTLED_CHUNK, SettledChunk, chunkOf } from './settled-ranges.ts';

export interface NewMessagesStart {
  readonly floor: Offset;
  readonly nextOffset: Offset;
  /** Settled offsets above the floor, by chunk; owned by the policy from then on. */
  readonly settled: Map<number, SettledChunk>;
  /**
   * Priorities by chunk of 4,096 offsets, two a byte, the low half for the even offset; a chunk in
   * which all have 0 may be missing. Undefined: none has a priority.
   */
  readonly priorities: ReadonlyMap<number, Uint8Array> | undefined;
}

export class NewMessages {
  #floor: number;
  #nextOffset: number;
  #cursor: number;
  readonly #skip: Map<number, SettledChunk>;
  /** Made with the first message that has a priority. */
  #levels: PriorityLevels | undefined;
  #steps = 0;

  constructor(start: NewMessagesStart) {
    this.#floor = start.floor;
    this.#cursor = start.floor;
    this.#nextOffset = start.nextOffset;
    this.#skip = start.settled;
    if (start.priorities === undefined) return;
    const isNew = (offset: number): boolean => this.has(offset);
    const levels = new PriorityLevels();
    for (const chunk of [...start.priorities.keys()].sort((a, b) => a - b)) {
      levels.addPacked(chunk, start.priorities.get(chunk) as Uint8Array, isNew);
    }
    this.#levels = levels;
  }

  /** The lowest unsettled offset. */
  get floor(): number {
    return this.#floor;
  }

  get nextOffset(): number {
    return this.#nextOffset;
  }

  /** Words passed by the cursor and in the levels so far. */
  get steps(): number {
    return this.#steps + (this.#levels?.steps ?? 0);
  }

  /** Is there one from the cursor on, within the span or beyond it? Right after `next` said -1. */
  get areBeyond(): boolean {
    return this.#cursor < this.#nextOffset;
  }

  /** A message that was known already changes nothing. */
  enqueued(offset: number, priority: number): void {
    if (offset < this.#nextOffset) return;
    this.#nextOffset = offset + 1;
    if (priority === 0) return;
    this.#levels ??= new PriorityLevels();
    this.#levels.add(offset, Math.min(priority, MAX_LEVEL));
  }

  has(offset: number): boolean {
    return offset >= this.#cursor && offset < this.#nextOffset && !this.#isSkipped(offset);
  }

  /** The one to deliver next, less than `span` above the floor; -1: there is none. */
  next(span: number): number {
    const limit = Math.min(this.#floor + span, this.#nextOffset);
    const first = this.#levels?.first(limit) ?? -1;
    if (first !== -1) return first;
    while (this.#skip.size > 0) {
      const chunk = chunkOf(this.#cursor);
      const bits = this.#skip.get(chunk);
      if (bits === undefined) break;
      const at = this.#cursor - chunk * SETTLED_CHUNK;
      const next = bits.nextClear(at);
      this.#steps += (next - at + 31) >>> 5;
      this.#cursor += next - at;
      if (next < SETTLED_CHUNK) break;
      this.#skip.delete(chunk);
    }
    return this.#cursor < limit ? this.#cursor : -1;
  }

  /** It is new no more. */
  take(offset: number): void {
    this.#levels?.remove(offset);
    if (offset === this.#cursor) this.#moveTo(offset + 1);
    else if (offset > this.#cursor) this.#skipAt(offset);
  }

  /** None of [from, to) is new any more. */
  takeRange(from: number, to: number): void {
    this.#levels?.removeRange(from, to);
    if (from <= this.#cursor) {
      if (to > this.#cursor) this.#moveTo(to);
      return;
    }
    for (let at = from; at < to;) {
      const chunk = chunkOf(at);
      const end = Math.min(to, (chunk + 1) * SETTLED_CHUNK);
      if (end - at === SETTLED_CHUNK) this.#skip.set(chunk, SettledChunk.whole());
      else for (let each = at; each < end; each += 1) this.#skipAt(each);
      at = end;
    }
  }

  /** All below is settled. */
  raiseFloor(floor: number): void {
    if (floor <= this.#floor) return;
    this.#floor = floor;
    if (floor > this.#cursor) this.#moveTo(floor);
  }

  #moveTo(cursor: number): void {
    if (this.#skip.size > 0) {
      const end = chunkOf(cursor);
      for (let chunk = chunkOf(this.#cursor); chunk < end; chunk += 1) this.#skip.delete(chunk);
    }
    this.#cursor = cursor;
  }

  #isSkipped(offset: number): boolean {
    const chunk = chunkOf(offset);
    return this.#skip.get(chunk)?.has(offset - chunk * SETTLED_CHUNK) === true;
  }

  #skipAt(offset: number): void {
    const chunk = chunkOf(offset);
    let bits = this.#skip.get(chunk);
    if (bits === undefined) {
      bits = new SettledChunk();
      this.#skip.set(chunk, bits);
    }
    bits.set(offset - chunk * SETTLED_CHUNK);
  }
}
