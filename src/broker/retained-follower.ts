/**
 * Reads the queue of retained messages from its start, and goes on with it; and, while this node
 * leads, has settled what nobody needs any more.
 *
 * `load` is done before anybody may subscribe. Afterwards one read is always under way, which waits
 * for the next message. Where others publish too, `upToNow` tells when everything that was
 * acknowledged anywhere before the call has been read here.
 *
 * What was settled before this node read it is passed over, also a removal: after such a gap (its
 * replica was behind, or was replaced by a checkpoint), and when this node begins to lead, what is
 * kept is compared with what is shown (`#compare`). Settling is one request after the other, those
 * that failed first: see `retained-queue.ts` for why their order counts.
 */

import { setTimeout as pause } from 'node:timers/promises';
import type { RetainedQueue } from './retained-queue.ts';
import type { OffsetRange, RetainedPart, RetainedSource } from './retained-source.ts';

/** After an answer that did not come. */
const AGAIN_MS = 100;
/** So much garbage does not wait for the tick. */
const SETTLE_SOON = 4_096;
/** Offsets that are looked at together. */
const COMPARE_STEP = 65_536;

export class RetainedFollower {
  readonly #source: RetainedSource;
  readonly #queue: RetainedQueue;
  /** Those who wait until everything below an offset was read. */
  #waiting: { readonly end: number; readonly done: () => void }[] = [];
  /** Whoever asks now shares it: its question is not asked yet. */
  #nextRound: Promise<void> | undefined;
  #round: Promise<unknown> = Promise.resolve();
  #isStopped = false;
  #isFirst = true;
  #leads = false;
  #isComparing = false;
  #mustCompare = false;
  /** Since this node leads, everything was compared: no garbage of before is forgotten. */
  #hasCompared = false;
  #settling: Promise<void> | undefined;
  /** What was given to the shard and is not settled yet, in order. */
  #unsettled: OffsetRange[] = [];

  constructor(source: RetainedSource, queue: RetainedQueue) {
    this.#source = source;
    this.#queue = queue;
  }

  /** Everything that is retained is read. Rejects when the store is gone, or it is given up. */
  async load(signal?: AbortSignal): Promise<void> {
    const end = await this.asked(() => this.#source.end(), signal);
    while (this.#queue.next < end) {
      this.#take(await this.asked(() => this.#source.read(this.#queue.next, end), signal));
    }
    this.#isFirst = false;
    // What was settled between two reads, the second one did not see.
    this.#mustCompare = true;
    void this.#compare();
    void this.#follow();
  }

  stop(): void {
    this.#isStopped = true;
    for (const { done } of this.#waiting.splice(0)) done();
  }

  /** Once a second. */
  tick(): void {
    if (!this.#isFirst) this.#settleGarbage();
  }

  /**
   * Resolves when all that was acknowledged anywhere before this call is read here, or after
   * `withinMs`: then with what is there. Never rejects.
   */
  upToNow(withinMs: number): Promise<void> {
    this.#nextRound ??= this.#round.then(() => {
      this.#nextRound = undefined;
      const done = this.#catchUp(withinMs);
      this.#round = done;
      return done;
    });
    return this.#nextRound;
  }

  async #catchUp(withinMs: number): Promise<void> {
    const given = new AbortController();
    const late = pause(withinMs, undefined, { ref: false, signal: given.signal });
    await Promise.race([this.#readToEnd(), late.catch(() => undefined)]);
    given.abort();
  }

  async #readToEnd(): Promise<void> {
    let end: number;
    try {
      end = await this.#source.end();
      if (this.#queue.next >= end || this.#isStopped) return;
      // The one that is under way may wait for a word of who leads; this one asks for it.
      const read = this.#source.read(this.#queue.next, end);
      read.then(
        (part) => this.#take(part),
        () => undefined,
      );
    } catch {
      // Nobody could be asked: what is here is all that is known.
      return;
    }
    await new Promise<void>((done) => {
      this.#waiting.push({ end, done });
      this.#tell();
    });
  }

  async #follow(): Promise<void> {
    while (!this.#isStopped && !this.#source.isClosed) {
      const { next } = this.#queue;
      try {
        this.#take(await this.#source.read(next, next));
      } catch {
        await pause(AGAIN_MS, undefined, { ref: false });
      }
    }
  }

  /** As often as it takes. */
  async asked<T>(ask: () => Promise<T>, signal: AbortSignal | undefined): Promise<T> {
    for (;;) {
      signal?.throwIfAborted();
      try {
        return await ask();
      } catch (error) {
        if (this.#source.isClosed || this.#isStopped) throw error;
      }
      await pause(AGAIN_MS);
    }
  }

  #take(part: RetainedPart): void {
    if (this.#isStopped || !this.#queue.take(part)) return;
    const read = part.next - part.from;
    if (part.messages.length < read) this.#mustCompare = true;
    if (part.leads !== this.#leads) this.#leadChanged(part.leads);
    this.#tell();
    if (this.#isFirst) return;
    if (this.#mustCompare) void this.#compare();
    if (this.#queue.garbageCount >= SETTLE_SOON) this.#settleGarbage();
  }

  #leadChanged(leads: boolean): void {
    this.#leads = leads;
    this.#hasCompared = false;
    this.#unsettled = [];
    if (leads) this.#mustCompare = true;
  }

  #tell(): void {
    const { next } = this.#queue;
    if (this.#waiting.length === 0) return;
    const told = this.#waiting.filter(({ end }) => end <= next);
    this.#waiting = this.#waiting.filter(({ end }) => end > next);
    for (const { done } of told) done();
  }

  /** What is shown and not kept goes; what is kept and not shown is garbage, if this node leads. */
  async #compare(): Promise<void> {
    if (this.#isComparing) return;
    this.#isComparing = true;
    try {
      while (this.#mustCompare && !this.#isStopped) {
        this.#mustCompare = false;
        const wasLeading = this.#leads;
        await this.#compareOnce(this.#queue.next);
        // Unless it has begun to lead meanwhile: then it is to be done once more.
        if (wasLeading && !this.#mustCompare) this.#hasCompared = this.#leads;
      }
    } catch {
      this.#mustCompare = true;
    } finally {
      this.#isComparing = false;
    }
  }

  async #compareOnce(to: number): Promise<void> {
    const shown = this.#queue.offsets();
    let offset = shown.next();
    for (let from = 0; from < to && !this.#isStopped;) {
      const { end, ranges } = await this.#source.kept(from, Math.min(to, from + COMPARE_STEP));
      if (end <= from) return;
      let at = 0;
      const isKept = (each: number): boolean => {
        while (at < ranges.length && (ranges[at] as OffsetRange)[1] <= each) at++;
        return at < ranges.length && (ranges[at] as OffsetRange)[0] <= each;
      };
      for (; offset.done !== true && offset.value < end; offset = shown.next()) {
        if (!isKept(offset.value)) this.#queue.lose(offset.value);
      }
      if (this.#leads) await this.#settleAll(ranges);
      from = end;
    }
  }

  async #settleAll(kept: readonly OffsetRange[]): Promise<void> {
    const garbage: number[] = [];
    for (const [from, to] of kept) {
      for (let at = from; at < to; at++) if (!this.#queue.has(at)) garbage.push(at);
    }
    await this.#settle(garbage);
  }

  #settleGarbage(): void {
    if (this.#mustCompare) void this.#compare();
    if (this.#leads && !this.#hasCompared) return;
    const garbage = this.#queue.takeGarbage();
    // Who leads next finds it by itself.
    if (this.#leads) void this.#settle(garbage.sort((a, b) => a - b));
  }

  /** Ascending. */
  #settle(garbage: readonly number[]): Promise<void> {
    for (const range of rangesOf(garbage)) this.#unsettled.push(range);
    this.#settling ??= this.#settleOn().finally(() => {
      this.#settling = undefined;
    });
    return this.#settling;
  }

  /** One request after the other; never rejects. */
  async #settleOn(): Promise<void> {
    try {
      while (this.#unsettled.length > 0 && this.#leads) {
        const unsettled = this.#unsettled;
        const ranges = unsettled.slice(0, SETTLE_SOON);
        await this.#source.settle(ranges);
        unsettled.splice(0, ranges.length);
      }
    } catch {
      // Again with the next tick; where another node leads by now, it does it.
    }
  }
}

/** Of offsets, ascending: those next to each other are one range. */
function rangesOf(offsets: readonly number[]): OffsetRange[] {
  const ranges: [from: number, to: number][] = [];
  for (const offset of offsets) {
    const last = ranges.at(-1);
    if (last?.[1] === offset) last[1] = offset + 1;
    else ranges.push([offset, offset + 1]);
  }
  return ranges;
}
