/** What a shard may use of memory, and how much it does at a time. Every bound has a default. */

export interface ShardLimits {
  /** Largest entry, but for one larger message. */
  readonly entryBytesMax: number;
  /** Proposed and not committed above this: senders are told to hold back. */
  readonly uncommittedBytesMax: number;
  /** Sent to the other thread and not worked off above this: nothing is delivered. */
  readonly outstandingBytesMax: number;
  /** Recent entries in memory. */
  readonly tailBytes: number;
  /** Entries read back from the log in memory. */
  readonly readBytes: number;
  /** Of the location index, what could be loaded again. */
  readonly locationBytes: number;
  /** Records of the machine that stay in memory although nothing changed them lately. */
  readonly residentRecordsMax: number;
  readonly checkpointBytes: number;
  readonly checkpointLogBytes: number;
  readonly checkpointIntervalMs: number;
  /** Of the newest entries, what is not spilled into runs. */
  readonly windowBytes: number;
  readonly windowMessages: number;
  /** Payloads that a spill holds at once. */
  readonly spillBufferBytes: number;
  /** Of the time, for rewriting runs: above 0, at most 1. */
  readonly compactionShare: number;
  /** So long a consumer may be without its leader, and keep what it holds. */
  readonly reattachGraceMs: number;
  /** How long one turn may work. */
  readonly sliceMs: number;
}

const MIB = 1 << 20;

export const DEFAULT_SHARD_LIMITS: ShardLimits = {
  entryBytesMax: MIB,
  uncommittedBytesMax: 64 * MIB,
  outstandingBytesMax: 4 * MIB,
  tailBytes: 16 * MIB,
  readBytes: 32 * MIB,
  locationBytes: 16 * MIB,
  residentRecordsMax: 100_000,
  checkpointBytes: 16 * MIB,
  checkpointLogBytes: 256 * MIB,
  checkpointIntervalMs: 60_000,
  windowBytes: 512 * MIB,
  windowMessages: 1_000_000,
  spillBufferBytes: 8 * MIB,
  compactionShare: 0.25,
  reattachGraceMs: 2_000,
  sliceMs: 8,
};

/** Records looked at for eviction in one turn. */
export const EVICT_STEPS = 256;
