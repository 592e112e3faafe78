/**
 * The runs of one folder: immutable files of values by (stream, offset), written once and read by
 * key or in order.
 *
 * What a caller may assume: every byte that `read` returns was checked against its checksums, its
 * place, its run and its owner; damage is named with its file, block and keys, and hides nothing
 * but what lies in it, also where the index or the footer is damaged; a run that was removed while
 * somebody reads it stays readable to him. What it must do: name the runs that count somewhere
 * else (`keepOnly` removes the others), and open a folder once.
 *
 * Memory: a few open files, and the sparse indexes of the runs that were read last, up to
 * `indexCacheBytes`. The library knows no queue and no log.
 */

import { assert } from '../assert.ts';
import { StorageError } from '../errors.ts';
import type { Files } from '../files.ts';
import { hasCode, removeIfThere } from '../log/file-bytes.ts';
import { inDirectory } from '../log/file-names.ts';
import { ReadHandles } from '../read-handles.ts';
import type { Hold } from '../read-handles.ts';
import type { RunKey } from './run-block.ts';
import { parseRunFileName, runFileName, temporaryRunFileName } from './run-format.ts';
import type { RunIndex } from './run-index.ts';
import { openIndex, readBlocks, wholeRun } from './run-reader.ts';
import type { RunRead, RunReadLimits } from './run-types.ts';
import { runError, RunWriter } from './run-writer.ts';

export interface RunsOptions {
  readonly files: Files;
  /** The folder; it is there. */
  readonly directory: string;
  /** 16 hexadecimal digits: whose runs these are. */
  readonly owner: string;
  /** A block is closed when it has reached this size; a larger value has one to itself. */
  readonly blockBytes: number;
  /** Sparse indexes in memory. */
  readonly indexCacheBytes: number;
  /** Wall clock in milliseconds, for the time of a run's making. */
  now(): number;
}

export interface AdoptedRun {
  readonly runId: number;
  /** Of its file, when it was finished. */
  readonly bytes: number;
}

interface KnownRun {
  readonly runId: number;
  readonly path: string;
  index: Promise<RunIndex> | undefined;
  indexBytes: number;
}

export class Runs {
  readonly #options: RunsOptions;
  readonly #handles: ReadHandles<KnownRun>;
  /** Runs that were read, in the order of the last load of their index. */
  readonly #known = new Map<number, KnownRun>();
  #indexBytes = 0;
  #bytesWritten = 0;
  #closed = false;

  constructor(options: RunsOptions) {
    this.#options = options;
    this.#handles = new ReadHandles(options.files);
  }

  /** Bytes of finished runs since the start. */
  get bytesWritten(): number {
    return this.#bytesWritten;
  }

  get indexBytes(): number {
    return this.#indexBytes;
  }

  pathOf(runId: number): string {
    return inDirectory(this.#options.directory, runFileName(runId));
  }

  /**
   * Removes every run that is not named, and what was being written; `missing` are those that are
   * named and not there. Durable when it resolves. Other files are left alone.
   */
  async keepOnly(
    named: ReadonlySet<number>,
  ): Promise<{ removed: readonly string[]; missing: readonly number[] }> {
    const { files, directory } = this.#options;
    const removed: string[] = [];
    const missing = new Set(named);
    try {
      for (const name of await files.list(directory)) {
        const run = parseRunFileName(name);
        if (run === undefined) continue;
        if (run.finished && named.has(run.runId)) {
          missing.delete(run.runId);
          continue;
        }
        await removeIfThere(files, inDirectory(directory, name));
        removed.push(name);
      }
      if (removed.length > 0) await files.syncDirectory(directory);
    } catch (error) {
      throw runError(error, 'the folder of the runs cannot be tidied');
    }
    return { removed, missing: [...missing] };
  }

  /** A new run; its id was never used. */
  create(runId: number): Promise<RunWriter> {
    this.#refuseClosed();
    const { files, directory, owner, blockBytes } = this.#options;
    const counted = (bytes: number): void => void (this.#bytesWritten += bytes);
    return RunWriter.create(
      { files, directory, owner, blockBytes, runId, createdMs: this.#options.now() },
      counted,
    );
  }

  /**
   * Finished runs of another folder, of the same owner, as further names of their files: which of
   * them. Those that are gone, or not of their length any more, or that this file system gives no
   * second name, are not among them. Durable when it resolves; the other folder may remove them
   * then.
   */
  async adopt(from: Runs, known: Iterable<AdoptedRun>): Promise<ReadonlySet<number>> {
    this.#refuseClosed();
    const { files, directory, owner } = this.#options;
    const adopted = new Set<number>();
    if (from.#options.owner !== owner) return adopted;
    for (const { runId, bytes } of known) {
      if ((await from.#fileBytes(runId)) !== bytes) continue;
      const isLinked = await files.link(from.pathOf(runId), this.pathOf(runId)).then(
        () => true,
        () => false,
      );
      if (isLinked) adopted.add(runId);
    }
    try {
      if (adopted.size > 0) await files.syncDirectory(directory);
    } catch (error) {
      throw runError(error, 'runs cannot be taken over');
    }
    return adopted;
  }

  /** Undefined: it cannot be told. */
  async #fileBytes(runId: number): Promise<number | undefined> {
    const { files } = this.#options;
    try {
      const how = { access: 'read', create: 'never', durability: 'on-sync' } as const;
      const file = await files.open(this.pathOf(runId), how);
      try {
        return await file.size();
      } finally {
        await file.close();
      }
    } catch {
      // Whoever reads it is told what is wrong with it.
      return undefined;
    }
  }

  /** Blocks from the one on that holds `from`, or else the first key behind it. */
  async read(runId: number, from: RunKey, limits: RunReadLimits): Promise<RunRead> {
    this.#refuseClosed();
    const run = this.#run(runId);
    let hold: Hold<KnownRun>;
    try {
      hold = await this.#handles.hold(run);
    } catch (error) {
      if (hasCode(error, 'ENOENT')) return wholeRun(run, 'missing-file', from);
      if (hasCode(error, 'EIO')) return wholeRun(run, 'unreadable', from);
      throw runError(error, 'a run cannot be opened');
    }
    try {
      const { owner } = this.#options;
      const index = await this.#index(run, hold);
      return await readBlocks({ file: hold.file, run, owner, index }, from, limits);
    } catch (error) {
      if (hasCode(error, 'EIO')) return wholeRun(run, 'unreadable', from);
      throw runError(error, 'a run cannot be read');
    } finally {
      hold.release();
    }
  }

  /** The files go; who reads one goes on. Durable when it resolves. */
  async remove(runIds: readonly number[]): Promise<void> {
    if (runIds.length === 0) return;
    const { files, directory } = this.#options;
    try {
      for (const runId of runIds) {
        this.#forget(runId);
        await removeIfThere(files, this.pathOf(runId));
        await removeIfThere(files, inDirectory(directory, temporaryRunFileName(runId)));
      }
      await files.syncDirectory(directory);
    } catch (error) {
      throw runError(error, 'a run cannot be removed');
    }
  }

  /** Lets go of the files; who reads goes on. Later calls get StorageError `closed`. */
  close(): void {
    this.#closed = true;
    this.#handles.dropAll();
  }

  #run(runId: number): KnownRun {
    let run = this.#known.get(runId);
    if (run === undefined) {
      assert(Number.isSafeInteger(runId) && runId > 0, 'a run id is a whole number from 1');
      run = { runId, path: this.pathOf(runId), index: undefined, indexBytes: 0 };
      this.#known.set(runId, run);
    }
    return run;
  }

  #index(run: KnownRun, hold: Hold<KnownRun>): Promise<RunIndex> {
    run.index ??= this.#load(run, hold).catch((error: unknown) => {
      run.index = undefined;
      throw error;
    });
    return run.index;
  }

  async #load(run: KnownRun, hold: Hold<KnownRun>): Promise<RunIndex> {
    const { owner } = this.#options;
    const index = await openIndex(hold.file, { runId: run.runId, owner });
    if (this.#known.get(run.runId) !== run) return index;
    run.indexBytes = index.memoryBytes;
    this.#indexBytes += run.indexBytes;
    this.#known.delete(run.runId);
    this.#known.set(run.runId, run);
    for (const [runId, oldest] of this.#known) {
      if (this.#indexBytes <= this.#options.indexCacheBytes || oldest === run) break;
      if (oldest.indexBytes > 0) this.#forget(runId);
    }
    return index;
  }

  #forget(runId: number): void {
    const run = this.#known.get(runId);
    if (run === undefined) return;
    this.#known.delete(runId);
    this.#indexBytes -= run.indexBytes;
    this.#handles.drop(run);
  }

  #refuseClosed(): void {
    if (this.#closed) throw new StorageError('closed', 'the runs are closed');
  }
}
