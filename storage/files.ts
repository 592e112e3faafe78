/**
 * The file system as the storage engine sees it: a port with two real implementations,
 * `node-files.ts` (the only file that imports `node:fs`) and the simulated disk of the tests.
 *
 * What a caller may assume: calls on one handle are carried out one after the other in the order in
 * which they were made only if each is awaited before the next; a rejected call says nothing about
 * how much of it happened; a name that was created, linked, renamed or removed survives a power cut
 * only after `syncDirectory` on its folder; bytes survive only after `sync`, or after the `write`
 * itself on a handle opened with `durability: 'each-write'` (O_DSYNC).
 *
 * Errors are those of the platform (`code` is `ENOENT`, `ENOSPC`, `EIO`, ...); the engine turns
 * them into `StorageError` where it knows what they mean.
 */

export interface OpenOptions {
  /** `read`: no writes. `write`: reads and writes. */
  readonly access: 'read' | 'write';
  /**
   * `exclusive` creates the file and fails with EEXIST if it is there; `never` fails with ENOENT if
   * not.
   */
  readonly create: 'never' | 'exclusive';
  /** `each-write` resolves a write only when its bytes are on stable storage (O_DSYNC). */
  readonly durability: 'on-sync' | 'each-write';
}

export interface OpenFile {
  readonly path: string;
  /**
   * Reads up to `into.length` bytes at `position`; resolves with the count, 0 at the end of the
   * file. May be short.
   */
  read(into: Uint8Array, position: number): Promise<number>;
  /**
   * Writes at `position`; resolves with the count, which may be short. The bytes must not change
   * meanwhile.
   */
  write(bytes: Uint8Array, position: number): Promise<number>;
  /** Makes written bytes and the size durable (fdatasync). A failure is final: never retried. */
  sync(): Promise<void>;
  size(): Promise<number>;
  /** Cuts or extends (with zeros) to `length` bytes; durable after the next `sync`. */
  truncate(length: number): Promise<void>;
  close(): Promise<void>;
}

export interface DiskSpace {
  /** Bytes that this process may still use. */
  readonly freeBytes: number;
  readonly totalBytes: number;
}

export interface Files {
  open(path: string, options: OpenOptions): Promise<OpenFile>;
  /** Names (not paths) in the folder, sorted. */
  list(directory: string): Promise<string[]>;
  /** Creates the folder and its missing parents; the caller syncs the parent. */
  makeDirectory(directory: string): Promise<void>;
  syncDirectory(directory: string): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  /**
   * A second name for a file: a hard link. A name that is there is EEXIST; EPERM, ENOTSUP, EXDEV or
   * EMLINK where the file system has none, or not here.
   */
  link(from: string, to: string): Promise<void>;
  /** Removes a file; a missing one is ENOENT. Open handles stay readable. */
  remove(path: string): Promise<void>;
  space(directory: string): Promise<DiskSpace>;
}
