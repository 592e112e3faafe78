/**
 * The stream of one sender: what makes the retry of an enqueue safe.
 *
 * A sender (a node) numbers its enqueues from 1 without gaps and sends each number until it knows
 * the outcome. One record remembers its boot, the last number, and the *refusals* that are not
 * answered yet:
 *
 *   number                 outcome
 *   the next one           applied
 *   a lower one            the outcome that it had: accepted, unless it is among the refusals
 *   at or below answered   'answered': the sender knows it already and must not care
 *   a higher one           'gap': refused, nothing is consumed
 *   > answered + 4,096     'window': refused, nothing is consumed
 *
 * A lower boot is an earlier life of the sender: refused whole. A boot that was never opened
 * likewise.
 */

import { assert } from './assert.ts';
import { OUTCOMES, type Outcome } from './effect.ts';
import { type RecordData, countOf, listOf } from './record-data.ts';

/** At most this many numbers lie above `answeredUpTo`. */
export const STREAM_WINDOW = 4096;

/** The place of an outcome in `OUTCOMES`. */
export function outcomeCode(outcome: Outcome): number {
  return OUTCOMES.indexOf(outcome);
}

/** What `check` says of a number whose turn it is. */
export const IN_TURN = -1;
const ACCEPTED = outcomeCode('accepted');
const ANSWERED = outcomeCode('answered');
const GAP = outcomeCode('gap');
const WINDOW = outcomeCode('window');
const STALE_BOOT = outcomeCode('stale-boot');
const UNKNOWN_BOOT = outcomeCode('unknown-boot');

export class Stream {
  /** 0: never opened. */
  #boot = 0;
  #last = 0;
  #answeredUpTo = 0;
  /** Refused numbers above `#answeredUpTo`, ascending, and the code of each one's outcome. */
  #refused: number[] = [];
  #codes: number[] = [];

  static fromData(data: RecordData): Stream {
    const [format, boot, last, answeredUpTo, refused, codes] = listOf(data);
    assert(format === 1, 'stream: unknown format');
    const stream = new Stream();
    stream.#boot = countOf(boot);
    stream.#last = countOf(last);
    stream.#answeredUpTo = countOf(answeredUpTo);
    stream.#refused = listOf(refused).map(countOf);
    stream.#codes = listOf(codes).map(countOf);
    return stream;
  }

  get boot(): number {
    return this.#boot;
  }

  /** The last number that was applied. */
  get last(): number {
    return this.#last;
  }

  get unansweredRefusals(): number {
    return this.#refused.length;
  }

  /** The boot of the sender's new life. */
  open(): number {
    this.#boot += 1;
    this.#last = 0;
    this.#answeredUpTo = 0;
    this.#refused = [];
    this.#codes = [];
    return this.#boot;
  }

  /** Takes note of what the sender knows; another boot says nothing about this one. */
  answered(boot: number, upTo: number): void {
    if (boot !== this.#boot || upTo <= this.#answeredUpTo) return;
    this.#answeredUpTo = Math.min(upTo, this.#last);
    if (this.#refused.length > 0) this.#forgetAnswered();
  }

  /** `IN_TURN`, or the code of the outcome that the number had or has. Changes nothing. */
  check(boot: number, number: number): number {
    if (boot !== this.#boot) return boot < this.#boot ? STALE_BOOT : UNKNOWN_BOOT;
    if (number <= this.#last)
      return number <= this.#answeredUpTo ? ANSWERED : this.#outcomeOf(number);
    if (number !== this.#last + 1) return GAP;
    return number - this.#answeredUpTo > STREAM_WINDOW ? WINDOW : IN_TURN;
  }

  /** The number in turn was applied. */
  accept(): void {
    this.#last += 1;
  }

  /** The number in turn was refused for good. */
  refuse(code: number): void {
    this.#last += 1;
    this.#refused.push(this.#last);
    this.#codes.push(code);
  }

  /** Numbers of this stream that were refused, and their outcomes, above `upTo`. */
  refusedAbove(upTo: number): { readonly number: number; readonly outcome: Outcome }[] {
    return this.#refused.flatMap((number, at) =>
      number > upTo ? [{ number, outcome: OUTCOMES[this.#codes[at] as number] as Outcome }] : [],
    );
  }

  toData(): RecordData {
    return [1, this.#boot, this.#last, this.#answeredUpTo, [...this.#refused], [...this.#codes]];
  }

  #outcomeOf(number: number): number {
    const refused = this.#refused;
    let low = 0;
    let high = refused.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((refused[middle] as number) < number) low = middle + 1;
      else high = middle;
    }
    return refused[low] === number ? (this.#codes[low] as number) : ACCEPTED;
  }

  #forgetAnswered(): void {
    let keep = 0;
    while (keep < this.#refused.length && (this.#refused[keep] as number) <= this.#answeredUpTo)
      keep += 1;
    if (keep === 0) return;
    this.#refused.splice(0, keep);
    this.#codes.splice(0, keep);
  }
}
