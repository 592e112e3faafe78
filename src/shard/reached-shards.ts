/**
 * Which of the shards that there are this node has reached. Shard 0 has the map of all; reached is
 * one whose client is open, and stays so.
 *
 *     in the map ------------------------------(its leader is reached)---> reached
 *         \---(a start goes on)---> done without ---(the same)-------------^
 *
 * Another node may use a shard of which nobody has told this one yet: who needs all of them asks
 * shard 0 (`missing`), and waits for those that come in time. Those that a start went on without
 * are missing at once, since nobody knows for how long.
 */

import { AdminError } from '../broker/ports.ts';
import type { ShardMap } from '../machine/shard-map.ts';
import { ShardError } from './shard-error.ts';

export interface ReachedShardsParts {
  /** As of now, by the word of the leader of shard 0; rejects with an AdminError. */
  readonly map: () => Promise<ShardMap>;
  /** Nothing is asked any more. */
  readonly isClosed: () => boolean;
  /** Other nodes use the shards too. */
  readonly isShared: boolean;
  readonly timeoutMs: number;
}

export class ReachedShards {
  readonly #parts: ReachedShardsParts;
  /** Behind shard 0. */
  readonly #reached = new Set<number>();
  readonly #doneWithout = new Set<number>();
  /** Called when one more is reached. */
  readonly #waiting = new Set<() => void>();
  #isClosed = false;
  /** Settled, or of a question that was sent. */
  #underWay: Promise<unknown> | undefined;
  /** Of one that is still to be sent. */
  #nextMap: Promise<ShardMap> | undefined;

  constructor(parts: ReachedShardsParts) {
    this.#parts = parts;
  }

  /** Those that a start went on without, and that were not reached since. */
  get doneWithout(): ReadonlySet<number> {
    return this.#doneWithout;
  }

  /** True: a start went on without it. */
  add(number: number): boolean {
    this.#reached.add(number);
    for (const look of this.#waiting) look();
    return this.#doneWithout.delete(number);
  }

  /** Nobody waits any more. */
  close(): void {
    this.#isClosed = true;
    for (const look of this.#waiting) look();
  }

  /**
   * Resolves with an empty list when each shard that there is now was reached. Where that takes
   * longer than `withinMs` behind the answer of shard 0: with the numbers of those that are done
   * without from now on. Rejects with a ShardError when it is given up, with an AdminError when
   * shard 0 is gone.
   */
  async complete(withinMs: number, signal?: AbortSignal): Promise<readonly number[]> {
    let giveUp: () => void = () => undefined;
    const givenUp = new Promise<never>((_resolve, reject) => {
      giveUp = () => reject(new ShardError('unavailable', 'the start was given up'));
    });
    signal?.addEventListener('abort', giveUp);
    if (signal?.aborted === true) giveUp();
    return Promise.race([this.#complete(withinMs), givenUp]).finally(() =>
      signal?.removeEventListener('abort', giveUp),
    );
  }

  async #complete(withinMs: number): Promise<readonly number[]> {
    const numbers = behindZero(await this.#firstMap());
    await this.reached(numbers, withinMs);
    // In one go: one that is reached between a look and a note would be missing for ever.
    for (const number of this.#notReached(numbers)) this.#doneWithout.add(number);
    return [...this.#doneWithout];
  }

  /** A start waits for a leader as long as it takes. */
  async #firstMap(): Promise<ShardMap> {
    for (;;) {
      try {
        return await this.#parts.map();
      } catch (error) {
        const isLeaderless = error instanceof AdminError && error.code === 'unavailable';
        if (!isLeaderless || this.#parts.isClosed()) throw error;
      }
    }
  }

  /**
   * Of the shards that there were when this was called, on whichever node, those that are not
   * reached in time: another node may use them. Rejects with an AdminError when nobody leads
   * shard 0 for so long.
   */
  async missing(): Promise<readonly number[]> {
    if (!this.#parts.isShared || this.#doneWithout.size > 0) return [...this.#doneWithout];
    const numbers = behindZero(await this.#map());
    await this.reached(numbers, this.#parts.timeoutMs);
    return this.#notReached(numbers);
  }

  /**
   * One question is under way, so that many sessions that come at once cost few. Who asks meanwhile
   * waits for the next one: what was answered before proves nothing to it.
   */
  #map(): Promise<ShardMap> {
    this.#nextMap ??= this.#askNext();
    return this.#nextMap;
  }

  async #askNext(): Promise<ShardMap> {
    await this.#underWay;
    this.#nextMap = undefined;
    const map = this.#parts.map();
    this.#underWay = map.catch(() => undefined);
    return map;
  }

  /** Resolves when all of them were reached, or that takes longer. */
  reached(numbers: readonly number[], withinMs: number): Promise<void> {
    const isOver = (): boolean => this.#isClosed || this.#notReached(numbers).length === 0;
    if (isOver()) return Promise.resolve();
    return new Promise((resolve) => {
      let timer: NodeJS.Timeout | undefined;
      const end = (): void => {
        clearTimeout(timer);
        this.#waiting.delete(look);
        resolve();
      };
      const look = (): void => {
        if (isOver()) end();
      };
      this.#waiting.add(look);
      if (withinMs !== Number.POSITIVE_INFINITY) timer = setTimeout(end, withinMs).unref();
    });
  }

  #notReached(numbers: readonly number[]): readonly number[] {
    return numbers.filter((number) => !this.#reached.has(number));
  }
}

function behindZero(map: ShardMap): readonly number[] {
  return map.map(({ number }) => number).filter((number) => number !== 0);
}
