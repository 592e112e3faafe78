/**
 * Writes one run: values in the order of their keys, once, into a file under a temporary name that
 * gets its own when every byte is on stable storage.
 *
 * What a caller may assume: when `finish` has resolved, the file, whole and synced, has its name,
 * and its name is durable. A crash before that leaves a temporary file or a run that nothing names;
 * both are removed at start. What it must do: keys ascend strictly; `drain` when `pendingBytes` has
 * grown; `finish` or `abandon` in the end, also after an error. Nothing is tried again: a write or
 * sync that failed makes the file worthless.
 *
 * The bytes are synced every few MiB while they are written, so that no sync has much to carry: one
 * of a whole segment would stand in the way of the log's.
 */

import { assert } from '../assert.ts';
import { StorageError } from '../errors.ts';
import type { Files, OpenFile } from '../files.ts';
import { hasCode, removeIfThere, writeWhole } from '../log/file-bytes.ts';
import { inDirectory } from '../log/file-names.ts';
import { BlockBuilder } from './run-block.ts';
import {
  encodeRunFooter,
  encodeRunHeader,
  RUN_FOOTER_BYTES,
  runFileName,
  temporaryRunFileName,
} from './run-format.ts';
import type { RunName } from './run-format.ts';
import { entryOf, RunIndex } from './run-index.ts';
import type { IndexEntry } from './run-index.ts';

export interface RunWriterOptions extends RunName {
  readonly files: Files;
  readonly directory: string;
  readonly blockBytes: number;
  readonly createdMs: number;
}

export interface FinishedRun {
  readonly runId: number;
  readonly fileBytes: number;
  readonly blocks: number;
  readonly values: number;
  readonly valueBytes: number;
}

const SYNC_BYTES = 4 * 1024 * 1024;
const FIRST_OUT_BYTES = 64 * 1024;

export class RunWriter {
  readonly runId: number;
  readonly #options: RunWriterOptions;
  readonly #counted: (bytes: number) => void;
  readonly #file: OpenFile;
  readonly #builder: BlockBuilder;
  readonly #entries: IndexEntry[] = [];
  /** What waits to be written, from its start on; used again and again. */
  #out = new Uint8Array(FIRST_OUT_BYTES);
  #pendingBytes = 0;
  /** Of everything that is written or pending. */
  #position = 0;
  #written = 0;
  #synced = 0;
  #values = 0;
  #valueBytes = 0;
  #lastStream = -1;
  #lastOffset = -1;
  #over = false;

  /** `counted` hears of all bytes that reach the file. */
  static async create(
    options: RunWriterOptions,
    counted: (bytes: number) => void,
  ): Promise<RunWriter> {
    const path = inDirectory(options.directory, temporaryRunFileName(options.runId));
    try {
      await removeIfThere(options.files, path);
      const file = await options.files.open(path, {
        access: 'write',
        create: 'exclusive',
        durability: 'on-sync',
      });
      return new RunWriter(options, file, counted);
    } catch (error) {
      throw runError(error, 'a run cannot be made');
    }
  }

  private constructor(options: RunWriterOptions, file: OpenFile, counted: (bytes: number) => void) {
    this.runId = options.runId;
    this.#options = options;
    this.#counted = counted;
    this.#file = file;
    this.#builder = new BlockBuilder(options.blockBytes);
    this.#push(encodeRunHeader(options));
  }

  /** Full blocks that wait to be written. */
  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  get values(): number {
    return this.#values;
  }

  get bytesWritten(): number {
    return this.#written;
  }

  /** Where the value that was reserved last goes; the next `reserve` may change it. */
  get room(): Uint8Array {
    return this.#builder.room;
  }

  /** Room for the next value; gives the place of its first byte in `room`. All of it is written. */
  reserve(stream: number, offset: number, length: number): number {
    assert(!this.#over, 'a run is written once');
    const ascends =
      stream > this.#lastStream || (stream === this.#lastStream && offset > this.#lastOffset);
    assert(ascends, 'the keys of a run ascend');
    this.#lastStream = stream;
    this.#lastOffset = offset;
    const builder = this.#builder;
    if (builder.values > 0 && builder.valueBytes + length > this.#options.blockBytes) this.#seal();
    this.#values += 1;
    this.#valueBytes += length;
    return builder.reserve(stream, offset, length);
  }

  add(stream: number, offset: number, value: Uint8Array): void {
    const at = this.reserve(stream, offset, value.length);
    this.room.set(value, at);
  }

  /**
   * Writes what is pending; nothing may be added until it has resolved. Rejects with StorageError
   * `full` or `failed`; then `abandon`.
   */
  async drain(): Promise<void> {
    const bytes = this.#out.subarray(0, this.#pendingBytes);
    if (bytes.length === 0) return;
    const position = this.#position - bytes.length;
    this.#pendingBytes = 0;
    try {
      await writeWhole(this.#file, bytes, position);
      this.#written += bytes.length;
      this.#counted(bytes.length);
      if (this.#written - this.#synced < SYNC_BYTES) return;
      this.#synced = this.#written;
      await this.#file.sync();
    } catch (error) {
      throw runError(error, 'a run cannot be written');
    }
  }

  /** Index, footer, sync, name. */
  async finish(): Promise<FinishedRun> {
    assert(!this.#over, 'a run is written once');
    const { files, directory, runId, owner } = this.#options;
    if (this.#builder.values > 0) this.#seal();
    const index = new RunIndex(this.#entries).encode(runId);
    const footer = encodeRunFooter({
      runId,
      owner,
      blocks: this.#entries.length,
      indexPosition: this.#position,
      indexBytes: index.length,
      values: this.#values,
      valueBytes: this.#valueBytes,
    });
    assert(footer.length === RUN_FOOTER_BYTES, 'a footer has its size');
    this.#push(index);
    this.#push(footer);
    await this.drain();
    this.#over = true;
    try {
      try {
        await this.#file.sync();
      } finally {
        await this.#file.close();
      }
      const temporary = inDirectory(directory, temporaryRunFileName(runId));
      await files.rename(temporary, inDirectory(directory, runFileName(runId)));
      await files.syncDirectory(directory);
    } catch (error) {
      throw runError(error, 'a run cannot be finished');
    }
    return {
      runId,
      fileBytes: this.#position,
      blocks: this.#entries.length,
      values: this.#values,
      valueBytes: this.#valueBytes,
    };
  }

  /** The file goes, as far as the disk lets it; a start removes what stays. Never rejects. */
  async abandon(): Promise<void> {
    const { files, directory, runId } = this.#options;
    if (!this.#over) await this.#file.close().catch(() => undefined);
    this.#over = true;
    const names = [temporaryRunFileName(runId), runFileName(runId)];
    for (const name of names) {
      await removeIfThere(files, inDirectory(directory, name)).catch(() => undefined);
    }
  }

  #seal(): void {
    const { runId, owner } = this.#options;
    const place = { runId, owner, block: this.#entries.length, position: this.#position };
    const room = this.#take(this.#builder.blockBytes);
    this.#entries.push(entryOf(this.#builder.finish(room, place)));
  }

  #push(bytes: Uint8Array): void {
    this.#take(bytes.length).set(bytes);
  }

  /** The next so many bytes of the file. */
  #take(length: number): Uint8Array {
    const start = this.#pendingBytes;
    const end = start + length;
    if (end > this.#out.length) {
      const larger = new Uint8Array(Math.max(end, 2 * this.#out.length));
      larger.set(this.#out.subarray(0, start));
      this.#out = larger;
    }
    this.#pendingBytes = end;
    this.#position += length;
    return this.#out.subarray(start, end);
  }
}

/** A full disk is worth another try later; anything else is not. */
export function runError(error: unknown, what: string): Error {
  if (error instanceof StorageError) return error;
  if (!(error instanceof Error) || !('code' in error)) return error as Error;
  const code = hasCode(error, 'ENOSPC') || hasCode(error, 'EDQUOT') ? 'full' : 'failed';
  return new StorageError(code, `${what}: ${error.message}`, { cause: error });
}
