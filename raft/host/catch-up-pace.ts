/**
 * How fast a replica reads what peers lack: older entries of its log, and answers of a transfer.
 *
 * Each MiB that a peer lacks costs as much of the cores and of the disk as one that is published,
 * so a peer that comes back would take most of both from the publishers. While entries of theirs
 * are committed, one behind the other, reads are bounded to `bytesPerSecond`, or to
 * `GROWTH_FACTOR` times what the log grows by where that is more: a peer that is behind comes
 * nearer whatever is written. While nothing is committed nobody is disturbed, and a quorum may be
 * waiting for this very peer: nothing is bounded then. All peers share it, in the order in which
 * they ask. Nothing here may keep a read for good: a pause is never longer than `PAUSE_MS_MAX`, and
 * is looked at again when commits may have ended. It is told what was read and does not read
 * itself; a crash has nothing to lose here.
 */

import type { Clock, Timer } from './ports.ts';

export interface CatchUpPaceOptions {
  readonly clock: Pick<Clock, 'monotonicMs' | 'after'>;
  /** While entries are committed, if the log does not grow by so much that it has to be more. */
  readonly bytesPerSecond: number;
}

interface Waiting {
  readonly bytes: number;
  readonly begin: () => void;
}

/** `RaftNodeOptions.catchUpBytesPerSecond` where nothing else is said. */
export const CATCH_UP_BYTES_PER_SECOND = 16 << 20;

const GROWTH_FACTOR = 1.5;
/**
 * Without a commit for so long, nobody is disturbed. Nor is anybody by a commit that had none so
 * long before it: a peer that comes is noted with one, and would be kept waiting by it.
 */
const QUIET_MS = 1_000;
/** The log's growth is counted over so long. */
const PERIOD_MS = 1_000;
/** What was not read for so long may be made up for, so that timers may be late. */
const BURST_MS = 50;
/** Behind a single large read. Four peers in turn are served before a transfer loses patience. */
const PAUSE_MS_MAX = 2_000;

export class CatchUpPace {
  readonly #options: CatchUpPaceOptions;
  #waiting: Waiting[] = [];
  #timer: Timer | undefined;
  #committedMs = Number.NEGATIVE_INFINITY;
  /** The last commit that came soon behind another one. */
  #servedMs = Number.NEGATIVE_INFINITY;
  /** Of the log: in the period before, in bytes a second, and in this one. */
  #growth = 0;
  #grown = 0;
  #periodMs = 0;
  /** May be read, as of `#roomMs`; below 0: more was read than there was room for. */
  #room = 0;
  /** Of it, what reads that are under way may come to. */
  #asked = 0;
  #roomMs = 0;
  #closed = false;

  constructor(options: CatchUpPaceOptions) {
    this.#options = options;
  }

  /** Proposals were taken. */
  grew(bytes: number): void {
    this.#countGrowth(this.#options.clock.monotonicMs());
    this.#grown += bytes;
  }

  /** Somebody was served. */
  committed(): void {
    const nowMs = this.#options.clock.monotonicMs();
    if (nowMs - this.#committedMs < QUIET_MS) this.#servedMs = nowMs;
    this.#committedMs = nowMs;
  }

  /**
   * Calls `begin` when about so many bytes may be read: now, if they may. `read` is to be called
   * with what it has come to.
   */
  take(bytes: number, begin: () => void): void {
    if (this.#closed) return;
    this.#waiting.push({ bytes, begin });
    this.#serve();
  }

  /** What `take` was called for came to so many bytes. */
  read(asked: number, bytes: number): void {
    this.#refill();
    const least = (-this.#rate(this.#roomMs) * PAUSE_MS_MAX) / 1000;
    this.#asked -= asked;
    this.#room = Math.max(this.#room - bytes, least);
    this.#timer?.cancel();
    this.#goOn();
  }

  /** Who waits is not called any more. */
  close(): void {
    this.#closed = true;
    this.#waiting = [];
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #serve(): void {
    while (this.#timer === undefined) {
      const [next] = this.#waiting;
      if (next === undefined) return;
      const pauseMs = this.#pauseMs();
      if (pauseMs > 0) {
        this.#timer = this.#options.clock.after(pauseMs, () => this.#goOn());
        return;
      }
      this.#waiting.shift();
      this.#asked += next.bytes;
      next.begin();
    }
  }

  #goOn(): void {
    this.#timer = undefined;
    if (!this.#closed) this.#serve();
  }

  /** Until more may be read; in whole milliseconds, as timers count. */
  #pauseMs(): number {
    this.#refill();
    const nowMs = this.#roomMs;
    const busyMs = this.#servedMs + QUIET_MS - nowMs;
    const lacking = this.#asked - this.#room;
    if (busyMs <= 0 || lacking <= 0) return 0;
    return Math.ceil(Math.min((lacking * 1000) / this.#rate(nowMs), busyMs));
  }

  #refill(): void {
    const nowMs = this.#options.clock.monotonicMs();
    const rate = this.#rate(nowMs);
    const room = this.#room + (rate * (nowMs - this.#roomMs)) / 1000;
    // A read that never ends keeps nobody for good: what it may come to is made room for.
    this.#room = Math.min(room, this.#asked + (rate * BURST_MS) / 1000);
    this.#roomMs = nowMs;
  }

  /** In bytes a second. */
  #rate(nowMs: number): number {
    this.#countGrowth(nowMs);
    const growth = Math.max(this.#growth, (this.#grown * 1000) / PERIOD_MS);
    return Math.max(this.#options.bytesPerSecond, GROWTH_FACTOR * growth);
  }

  #countGrowth(nowMs: number): void {
    const passedMs = nowMs - this.#periodMs;
    if (passedMs < PERIOD_MS) return;
    this.#growth = (this.#grown * 1000) / passedMs;
    this.#grown = 0;
    this.#periodMs = nowMs;
  }
}
