/**
 * What the checked store needs from a store of bytes beneath it: two implementations, an embedded
 * database and memory. Nothing that comes from here is trusted; only the checked store calls it.
 *
 * Errors are `StorageError`s already. `write` is atomic and durable when it resolves.
 */

export interface RawStore {
  /** In the order of the keys; the bytes belong to the caller. */
  getMany(keys: readonly string[]): Promise<(Uint8Array | undefined)[]>;
  /** Pages of all pairs from `from` on, ascending by the keys' UTF-8 bytes, from one snapshot. */
  iterate(from: string): AsyncGenerator<readonly (readonly [string, Uint8Array])[], void, void>;
  batch(): RawBatch;
  close(): Promise<void>;
}

export interface RawBatch {
  /** The bytes are copied before this returns. */
  put(key: string, bytes: Uint8Array): void;
  delete(key: string): void;
  write(): Promise<void>;
  discard(): void;
}
