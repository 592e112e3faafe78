/**
 * The kernel of a simulation: one heap of (time, sequence), and the trace of what happened.
 *
 * Nothing in a simulation knows another time than `nowUs`, and nothing another order than that of
 * the heap: two events of one instant run in the order in which they were scheduled. After each
 * event everything that it let run (promises, next ticks) runs to its end, before the next event.
 * The hash over the whole trace is what two runs of one seed must have in common.
 */

import { EventHeap } from './event-heap.ts';
import type { Timer } from './event-heap.ts';
import { Random } from './random.ts';

/** Taken before a simulation forbids them. */
const realSetImmediate = setImmediate;

const TRACE_LINES = 400;

/** Turns in one round of the event loop. */
const ROUND_TURNS = 64;
/** Events in one turn where none of them leaves a promise behind. */
const TURN_EVENTS = 64;

export class Kernel {
  readonly seed: string;
  readonly #random: Random;
  readonly #heap = new EventHeap();
  readonly #lines: string[] = [];
  #nowUs = 0;
  #events = 0;
  #hashLow = 0x811c9dc5;
  #hashHigh = 0x01000193;
  #turnEvents = 1;

  constructor(seed: number | string) {
    this.seed = String(seed);
    this.#random = new Random(seed);
  }

  get nowUs(): number {
    return this.#nowUs;
  }

  get events(): number {
    return this.#events;
  }

  /** Of every line of the trace so far, in order. */
  get traceHash(): string {
    const hex = (word: number): string => (word >>> 0).toString(16).padStart(8, '0');
    return hex(this.#hashHigh) + hex(this.#hashLow);
  }

  /** The last lines of the trace. */
  get trace(): readonly string[] {
    return this.#lines;
  }

  /** Random numbers that depend on the seed and the name alone. */
  stream(name: string): Random {
    return this.#random.stream(name);
  }

  /** From now on no event makes promises or next ticks: several of them run in one turn. */
  withoutPromises(): void {
    this.#turnEvents = TURN_EVENTS;
  }

  after(delayUs: number, run: () => void): Timer {
    if (!Number.isSafeInteger(delayUs) || delayUs < 0) {
      throw new Error(`a delay is a whole number of microseconds, not ${delayUs}`);
    }
    return this.#heap.add(this.#nowUs + delayUs, run);
  }

  note(line: string): void {
    const text = `${this.#nowUs} ${line}`;
    let low = this.#hashLow;
    for (let at = 0; at < text.length; at += 1) {
      low = Math.imul(low ^ text.charCodeAt(at), 0x01000193);
    }
    const high = Math.imul(this.#hashHigh ^ low, 0x85ebca6b);
    this.#hashLow = low;
    this.#hashHigh = high ^ (high >>> 13);
    this.#lines.push(text);
    if (this.#lines.length > 2 * TRACE_LINES) this.#lines.splice(0, TRACE_LINES);
  }

  /**
   * Runs events until the condition holds, which is looked at after each; false when the heap is
   * empty or the time is over first.
   */
  runUntil(holds: () => boolean, untilUs: number): Promise<boolean> {
    return new Promise((resolve, reject) => {
      let over = false;
      const next = (): void => {
        if (over) return;
        try {
          let held = holds();
          for (let left = this.#turnEvents; !held && this.#runNext(untilUs); held = holds()) {
            left -= 1;
            if (left === 0) return;
          }
          over = true;
          resolve(held);
        } catch (error) {
          over = true;
          reject(error as Error);
        }
      };
      // Promises and next ticks run to their end before the next immediate does, also of one round.
      const round = (): void => {
        if (over) return;
        for (let left = ROUND_TURNS; left > 0; left -= 1) realSetImmediate(next);
        realSetImmediate(round);
      };
      next();
      round();
    });
  }

  /** False: nothing is due by then. */
  #runNext(untilUs: number): boolean {
    const event = this.#heap.next(untilUs);
    if (event === undefined) {
      this.#nowUs = Math.max(this.#nowUs, untilUs);
      return false;
    }
    this.#nowUs = event.timeUs;
    this.#events += 1;
    event.run();
    return true;
  }

  async runFor(durationUs: number): Promise<void> {
    await this.runUntil(() => false, this.#nowUs + durationUs);
  }
}
