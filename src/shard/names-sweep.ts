/**
 * Rows of shard 0 for names without a queue: its deletion was broken off between two steps, or its
 * declaration never came to its end. They do no harm but to the choice of the emptiest shard, and
 * to the number of names that there may be; the leader of shard 0 gives them up, a few at a time.
 *
 * A declaration may be between its steps as well: the name has its place, and the queue is not yet
 * there. So a row goes as in a deletion (decision 0016): the fence of its shard is raised to its
 * version first, then the shard is asked whether the queue is there, and then the row is given
 * up at that version. Who was about to make the queue is refused by the fence, and places the name
 * anew; who has placed it meanwhile has a later version, at which the row stays.
 *
 * A row is given up only when two passes in a row found it so: mostly a declaration under way is
 * done by the second, and nobody is refused. Soft state of the leader: another one begins again.
 */

import type { NamesChunk, PlacedName } from '../machine/names.ts';
import type { OtherShards } from './other-shards.ts';
import type { ShardLogger } from './shard-logger.ts';

/** From the end of one pass to the next one; also before the first. */
const REST_MS = 10 * 60_000;
/** Between the chunks of a pass, of 64 rows each. */
const STEP_MS = 1_000;
/** Rows without a queue that one pass remembers for the next; more wait for a later pass. */
const SUSPECTS_MAX = 4_096;

export interface NamesSweepOptions {
  readonly names: {
    readonly size: number;
    chunkBehind(chunk: number): NamesChunk | undefined;
  };
  readonly others: Pick<OtherShards, 'missing'>;
  readonly unplace: (name: string, version: number) => Promise<void>;
  readonly now: () => number;
  /** `look` is to be called: the next step has a time now. */
  readonly wake: () => void;
  readonly logger: ShardLogger;
}

export class NamesSweep {
  readonly #options: NamesSweepOptions;
  #next: number;
  #isUnderWay = false;
  /** The last chunk of this pass that was looked at. */
  #chunk = -1;
  /** Versions of what the pass before has found to have no queue. */
  #before = new Map<string, number>();
  #found = new Map<string, number>();

  constructor(options: NamesSweepOptions) {
    this.#options = options;
    this.#next = options.now() + REST_MS;
  }

  /** When `look` wants to be called although nothing happens; Infinity: not at all. */
  get nextWake(): number {
    const isIdle = this.#isUnderWay || this.#options.names.size === 0;
    return isIdle ? Number.POSITIVE_INFINITY : this.#next;
  }

  /** One step at most, and none while one is under way. */
  look(): void {
    const { now, names, wake } = this.#options;
    if (this.#isUnderWay || names.size === 0 || now() < this.#next) return;
    const chunk = names.chunkBehind(this.#chunk);
    if (chunk === undefined) {
      this.#chunk = -1;
      this.#before = this.#found;
      this.#found = new Map();
      this.#next = now() + REST_MS;
      return;
    }
    this.#chunk = chunk.number;
    this.#isUnderWay = true;
    this.#step(chunk.rows)
      // The lead is lost, or the shard stops: a later pass finds them again.
      .catch(() => undefined)
      .finally(() => {
        this.#isUnderWay = false;
        this.#next = now() + STEP_MS;
        wake();
      });
  }

  async #step(rows: readonly PlacedName[]): Promise<void> {
    const shards = new Set(rows.map(({ shard }) => shard));
    for (const shard of shards) {
      const here = rows.filter((row) => row.shard === shard);
      const gone = await this.#missing(shard, here, 0);
      const sure = gone.filter(({ name, version }) => this.#before.get(name) === version);
      for (const { name, version } of gone) {
        if (this.#found.size < SUSPECTS_MAX) this.#found.set(name, version);
      }
      if (sure.length > 0) await this.#giveUp(shard, sure);
    }
  }

  async #giveUp(shard: number, rows: readonly PlacedName[]): Promise<void> {
    const { unplace, logger } = this.#options;
    const fence = Math.max(...rows.map(({ version }) => version));
    const gone = await this.#missing(shard, rows, fence);
    for (const { name, version } of gone) {
      await unplace(name, version);
      this.#found.delete(name);
    }
    if (gone.length === 0) return;
    logger.info({ shard, names: gone.length }, 'names whose queue is gone were given up');
  }

  /** Those of the rows whose queue is not in the shard, once its fence is at `fence`. */
  async #missing(
    shard: number,
    rows: readonly PlacedName[],
    fence: number,
  ): Promise<readonly PlacedName[]> {
    const names = rows.map(({ name }) => name);
    const answer = await this.#options.others.missing(shard, names, fence);
    if ('kind' in answer) return [];
    const missing = new Set(answer);
    return rows.filter(({ name }) => missing.has(name));
  }
}
