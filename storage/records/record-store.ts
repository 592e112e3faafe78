/**
 * The port to the records of a shard: the small state that is written at checkpoints, only what
 * changed.
 *
 * What a caller may assume: a checkpoint is atomic and durable when `write` resolves, and nothing
 * of it is there when the machine stops before that (or all of it: a rejected or interrupted write
 * says neither). What comes back was written under this key, byte for byte, or the call rejects
 * with `damaged` and names it: every value carries a checksum over key and value, and each
 * checkpoint the number and combined sum of all records, which `open` compares with a pass over
 * everything. A whole checkpoint that the store beneath has forgotten shows as an older
 * `checkpoint`; the caller holds its index against its log.
 *
 * What it must not do: keep two batches under way, or use keys that are empty, begin with U+0000,
 * hold a lone surrogate or exceed 1,024 bytes of UTF-8.
 *
 * Damage of single records may be mended by the caller while the store opens (`RecordMend`): where
 * number and sum show that the unreadable records are all that is wrong. Anything else is refused.
 *
 * Errors are `StorageError`s: `damaged`, `locked` (another opener), `closed`, and `full` or
 * `failed` for a write that failed. The first failed write ends the writing: the store beneath may
 * have a torn tail, so later batches are refused with `failed` until it was closed and opened
 * again. Reads go on.
 */

/**
 * What a checkpoint says about itself; all of it is written in the same atomic batch as its
 * records.
 */
export interface Checkpoint {
  /** The last log index whose effects are in the records. */
  readonly index: number;
  /** The fencing number of that entry (Raft's term). */
  readonly term: number;
  /** Whatever else the caller wants to find again, at most 1 MiB. */
  readonly data: Uint8Array;
}

export interface DurableCheckpoint extends Checkpoint {
  readonly recordCount: number;
  /** Sum modulo 2^53 of the checksums of all records. */
  readonly sum: number;
}

export interface StoredRecord {
  readonly key: string;
  /** Belongs to the caller; the store never changes it. */
  readonly value: Uint8Array;
}

export interface RecordStore {
  /** The last durable checkpoint; undefined in a store that was never written. */
  readonly checkpoint: DurableCheckpoint | undefined;
  get(key: string): Promise<Uint8Array | undefined>;
  /** In the order of the keys. */
  getMany(keys: readonly string[]): Promise<(Uint8Array | undefined)[]>;
  /**
   * Records whose key begins with `prefix`, in the order of the keys' UTF-8 bytes, in pages of
   * bounded size, as they were when the first page was asked for. `behind`: only those behind this
   * key, which begins with the prefix.
   */
  iterate(prefix: string, behind?: string): AsyncGenerator<readonly StoredRecord[], void, void>;
  /** Begins the one batch that may be under way. */
  begin(): RecordBatch;
  /**
   * Waits for a write under way; a batch that is not being written is discarded. Again: nothing.
   */
  close(): Promise<void>;
}

/**
 * A checkpoint in the making; the last `put` or `delete` of a key counts. Cheap enough for slices.
 */
export interface RecordBatch {
  /** Bytes of keys and values so far. */
  readonly bytes: number;
  /** The value is copied before this returns. */
  put(key: string, value: Uint8Array): void;
  /** Deleting what is not there is allowed. */
  delete(key: string): void;
  /** All of it and the checkpoint, atomic and synced. The batch is over, however it ends. */
  write(checkpoint: Checkpoint): Promise<void>;
  discard(): void;
}

/** What is wrong with a store whose other records are proved whole by number and sum. */
export interface RecordDamage {
  readonly checkpoint: DurableCheckpoint;
  /** Keys as they stand there, 1 to 1,024 of them; damage may have changed the keys too. */
  readonly unreadable: readonly string[];
  /** Undefined for what is not there and for what cannot be read. */
  get(key: string): Promise<Uint8Array | undefined>;
  /** As of the store, without what cannot be read. */
  iterate(prefix: string): AsyncGenerator<readonly StoredRecord[], void, void>;
}

/** What is written in the place of the unreadable records, which go. */
export interface Mend {
  readonly put: readonly StoredRecord[];
  readonly remove: readonly string[];
}

/** Rejects with a `StorageError` where the store is not to be opened. */
export type RecordMend = (damage: RecordDamage) => Promise<Mend>;
