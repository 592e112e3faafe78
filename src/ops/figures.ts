/**
 * What health and metrics are made of: plain numbers by name, from small functions. Nothing here
 * knows who gives them; nothing is counted for a scrape that is not counted anyway.
 *
 * A name is `part/what`. What belongs to a queue or a group has their names behind it, with NUL
 * between: names may hold anything else.
 */

export type Figures = ReadonlyMap<string, number>;

export const SEPARATOR = '\0';

/** What cannot be added up over shards is told for each: of shard 0 by its plain name. */
export function figureOfShard(shard: number, name: string): string {
  return shard === 0 ? name : `shard-${shard}/${name}`;
}

/** What is wrong and needs a person, as the shards call it: `alarm/<kind>[/...]`. */
export const ALARM_KINDS = [
  'disk-reserve',
  'log-damaged',
  'records-lost',
  'run-damaged',
  'spill-late',
  'damaged',
  'group-lost',
  'stuck',
] as const;

export type Stage = 'starting' | 'running' | 'stopping';

export interface OpsSources {
  readonly stage: () => Stage;
  /** Why the store takes nothing any more; undefined: it does. */
  readonly storeFailure: () => string | undefined;
  /** Addresses of the configuration where nobody can connect yet, or any more. */
  readonly closedListeners: () => readonly string[];
  /** Of the main thread: connections, publishes, subscriptions. */
  readonly node: () => Figures;
  /**
   * Of the shards, asked through their thread: may take long, may reject, may never answer.
   * Undefined before they run.
   */
  readonly shards: () => Promise<Figures> | undefined;
  /** Of the thread of the shards; undefined where they have none, and before they run. */
  readonly shardThread: () => ThreadFigures | undefined;
  readonly mainThread: () => ThreadFigures;
}

/** What a thread tells of itself, without being asked: see `thread-pulse.ts`. */
export interface ThreadFigures {
  /** Since it last turned. */
  readonly silentMs: number;
  /** How late its timers were, over the last ten seconds. */
  readonly delayMs: { readonly p50: number; readonly p99: number; readonly max: number };
  /** Since its start. */
  readonly busyMs: number;
  /** Writes of the log with their sync, by how long they took. */
  readonly writes: Durations;
}

export interface Durations {
  readonly count: number;
  readonly sumMs: number;
  /** How many were within each bound of `DURATION_BOUNDS_MS`, lower ones included. */
  readonly within: readonly number[];
}

/** Upper bounds in milliseconds: a sync takes 0.1 ms on a good disk, seconds on a sick one. */
export const DURATION_BOUNDS_MS = [
  0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 5_000,
] as const;
