/**
 * Every limit of the storage engine, with its range and default. Configuration takes its
 * documentation from here; `checkedLimit` refuses a value outside its range before anything is
 * opened.
 */

import { StorageError } from './errors.ts';

export interface Limit {
  readonly min: number;
  readonly max: number;
  readonly default: number;
}

const KIB = 1024;
const MIB = 1024 * KIB;

export const LOG_LIMITS = {
  /** A segment is sealed when it has reached this size; it may exceed it by one batch. */
  segmentBytes: { min: 4 * KIB, max: 1024 * MIB, default: 64 * MIB },
  /** One entry of the sparse index for so many bytes of log. */
  indexIntervalBytes: { min: 512, max: MIB, default: 4 * KIB },
  /** What is collected for one write and one sync; a larger batch is written alone. */
  maxWriteBytes: { min: 4 * KIB, max: 16 * MIB, default: MIB },
  /** Largest payload of one batch. */
  maxBatchBytes: { min: 1, max: 256 * MIB, default: 16 * MIB },
  /** Zeros are written ahead in pieces of this size (mode `prewritten-dsync`). */
  prewriteBytes: { min: 4 * KIB, max: 64 * MIB, default: MIB },
  /**
   * A write of at least so many bytes is copied into the file and synced beside the next, where no
   * zeros are written ahead and more comes than one sync at a time takes.
   */
  copyBytes: { min: 1, max: 1024 * MIB, default: 64 * KIB },
  /** So much of what was copied may wait for its sync; a larger write waits alone. */
  unsyncedBytes: { min: 1, max: 64 * MIB, default: 4 * MIB },
  /** Silence after which a batch that only carries the durable mark is written; 0: never. */
  idleMarkMs: { min: 0, max: 60_000, default: 100 },
} as const satisfies Record<string, Limit>;

export type LogLimitName = keyof typeof LOG_LIMITS;

/** The value, or the default where none was given; refuses what is out of range. */
export function checkedLimit(name: LogLimitName, value: number | undefined): number {
  const limit: Limit = LOG_LIMITS[name];
  const chosen = value ?? limit.default;
  if (Number.isSafeInteger(chosen) && chosen >= limit.min && chosen <= limit.max) return chosen;
  throw new StorageError(
    'out-of-range',
    `${name} is ${chosen}; it must be a whole number from ${limit.min} to ${limit.max}`,
  );
}
