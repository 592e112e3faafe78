/**
 * How much of the log is its window: the newest `windowBytes` and `windowMessages`. A segment that
 * has so much behind it leaves the window, and what is still wanted of it is spilled.
 *
 * Messages are counted where they are applied; a few samples (entry, messages so far) tell how many
 * lie behind an entry. They are a record in the checkpoint, because entries below it are not
 * applied again. Losing them would only make segments leave later.
 */

import type { HeldFor } from '#raft';
import type { LogIndex } from '../machine/ids.ts';
import type { PlainData } from './record-codec.ts';
import type { ShardLog } from './shard-log.ts';

export interface WindowLimits {
  readonly windowBytes: number;
  readonly windowMessages: number;
}

interface Sample {
  /** The first entry with messages that are not counted in `messages`. */
  readonly index: number;
  readonly messages: number;
}

const FORMAT = 1;
const SAMPLES_A_WINDOW = 64;
/** Above so many windows publishes wait. */
const LATE_FACTOR = 2;
/** From so many windows on that are not spilled publishes wait for a part of the time. */
const SLOW_FACTOR = 1.5;
/**
 * Above so many windows the log is not held any more for what reads a checkpoint, and for what has
 * just made one current; so that publishes need not wait for either.
 */
export const HELD_WINDOWS = { transfers: 1.25, current: 1.75 };

export const WINDOW_KEY = 'log-window';

export class LogWindow {
  readonly #limits: WindowLimits;
  readonly #step: number;
  #samples: Sample[] = [{ index: 0, messages: 0 }];
  #messages = 0;

  constructor(limits: WindowLimits) {
    this.#limits = limits;
    this.#step = Math.max(1, Math.floor(limits.windowMessages / SAMPLES_A_WINDOW));
  }

  /** The entry is about to be applied. */
  begun(index: LogIndex): void {
    const last = this.#samples.at(-1) as Sample;
    if (this.#messages - last.messages < this.#step) return;
    this.#samples.push({ index, messages: this.#messages });
    const keep = this.#messages - this.#limits.windowMessages * LATE_FACTOR;
    let drop = 0;
    while ((this.#samples[drop + 1]?.messages ?? Infinity) < keep) drop++;
    if (drop > 0) this.#samples.splice(0, drop);
  }

  /** One message was stored. */
  enqueued(): void {
    this.#messages++;
  }

  /** Everything below has left the window; 0: nothing has. */
  leftBelow(log: Pick<ShardLog, 'sealed' | 'bytes' | 'start'>): LogIndex {
    let below = 0 as LogIndex;
    let behind = log.bytes;
    if (behind < this.#limits.windowBytes && !this.#isFull(log.start, 1)) return below;
    for (const { last, bytes } of log.sealed) {
      behind -= bytes;
      if (behind < this.#limits.windowBytes && !this.#isFull(last + 1, 1)) break;
      below = (last + 1) as LogIndex;
    }
    return below;
  }

  /** The log is so long that publishes must wait for the spill. */
  isLate({ start, bytes }: Pick<ShardLog, 'start' | 'bytes'>): boolean {
    return bytes >= this.#limits.windowBytes * LATE_FACTOR || this.#isFull(start, LATE_FACTOR);
  }

  /**
   * For which part of the time publishes are to wait for the spill, 0 to 1: more and more of it the
   * nearer what lies at or behind `from` comes to where they wait for good.
   */
  slowness({ sealed, bytes }: Pick<ShardLog, 'sealed' | 'bytes'>, from: LogIndex): number {
    let left = bytes;
    for (const segment of sealed) {
      if (segment.last >= from) break;
      left -= segment.bytes;
    }
    const { windowBytes, windowMessages } = this.#limits;
    const windows = Math.max(left / windowBytes, this.#messagesFrom(from) / windowMessages);
    return Math.min(1, Math.max(0, (windows - SLOW_FACTOR) / (LATE_FACTOR - SLOW_FACTOR)));
  }

  /** By the messages that lie behind its start. */
  heldFor({ start }: Pick<ShardLog, 'start'>): HeldFor {
    if (!this.#isFull(start, HELD_WINDOWS.transfers)) return 'all';
    return this.#isFull(start, HELD_WINDOWS.current) ? 'nobody' : 'current';
  }

  encode(): PlainData {
    return [FORMAT, this.#messages, ...this.#samples.flatMap((one) => [one.index, one.messages])];
  }

  restore(data: PlainData | undefined): void {
    if (data === undefined) return;
    const [format, messages, ...pairs] = data as readonly number[];
    if (format !== FORMAT || messages === undefined) throw new Error('log window: unknown format');
    this.#messages = messages;
    this.#samples = [];
    for (let at = 0; at + 1 < pairs.length; at += 2) {
      this.#samples.push({ index: pairs[at] as number, messages: pairs[at + 1] as number });
    }
    if (this.#samples.length === 0) this.#samples.push({ index: 0, messages });
  }

  /** At least so many windows of messages lie at or behind the entry. */
  #isFull(index: number, windows: number): boolean {
    return this.#messagesFrom(index) >= this.#limits.windowMessages * windows;
  }

  /** At or behind the entry; at most a step less. */
  #messagesFrom(index: number): number {
    // The first sample at or behind it has counted at least what lies before it.
    const sample = this.#samples.find((one) => one.index >= index);
    return this.#messages - (sample?.messages ?? this.#messages);
  }
}
