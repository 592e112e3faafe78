/**
 * The segment that is being written: data at its end, zeros ahead. A `write` is durable before it
 * resolves; a `copy` only once a `sync` that began after it has ended.
 *
 * One write or copy at a time; a sync may run beside a copy. A write follows copies only when they
 * are synced. No byte is written twice: the end only moves up, and what lies behind it is zeros or
 * the end of the file. What is rejected leaves the segment of no use: the log has failed.
 */

import { assert } from '../assert.ts';
import type { Files, OpenFile } from '../files.ts';
import { writeWhole } from './file-bytes.ts';
import { Prewriter } from './prewriter.ts';
import type { LogSettings } from './settings.ts';

export interface ActiveFile {
  readonly path: string;
  /** Where data ends. */
  readonly end: number;
  /** Size of the file; from `end` on it holds zeros, and they are synced. */
  readonly fileBytes: number;
  /** Of the last writes of the log. */
  readonly averageBytes: number;
}

interface Opened {
  readonly file: OpenFile;
  readonly copies: OpenFile | undefined;
  readonly prewriter: Prewriter | undefined;
}

export class ActiveSegment {
  readonly #file: OpenFile;
  /**
   * For copies; from the first one on. A handle of its own, so that an error of the system that
   * belongs to a copy is told to its sync and to no other call.
   */
  #copies: OpenFile | undefined;
  readonly #openCopies: () => Promise<OpenFile>;
  readonly #prewriter: Prewriter | undefined;
  #end: number;
  #fileBytes: number;

  private constructor(files: Files, active: ActiveFile, opened: Opened) {
    this.#file = opened.file;
    this.#copies = opened.copies;
    this.#prewriter = opened.prewriter;
    this.#openCopies = () => openToWrite(files, active.path, 'on-sync');
    this.#end = active.end;
    this.#fileBytes = active.fileBytes;
  }

  static async open(
    settings: LogSettings,
    active: ActiveFile,
    onFailure: (error: unknown) => void,
  ): Promise<ActiveSegment> {
    const { files, directory, prewriteBytes: pieceBytes, segmentBytes } = settings;
    const { path, fileBytes, averageBytes } = active;
    if (settings.syncMode === 'fdatasync') {
      const file = await openToWrite(files, path, 'on-sync');
      return new ActiveSegment(files, active, { file, copies: file, prewriter: undefined });
    }
    const file = await openToWrite(files, path, 'each-write');
    // Zeros go through a handle of their own: there one sync for a piece is enough.
    const zeros = await openToWrite(files, path, 'on-sync');
    const prewriter = new Prewriter(zeros, fileBytes, {
      pieceBytes,
      averageBytes,
      limit: segmentBytes,
      hasRoom: async () => (await files.space(directory)).freeBytes >= 2 * pieceBytes,
      prewritten: (bytes) => settings.prewritten(bytes),
      onFailure,
    });
    return new ActiveSegment(files, active, { file, copies: undefined, prewriter });
  }

  get end(): number {
    return this.#end;
  }

  get fileBytes(): number {
    return Math.max(this.#fileBytes, this.#end, this.#prewriter?.end ?? 0);
  }

  /** Whether the next segment should begin with zeros. */
  get prewrites(): boolean {
    return this.#prewriter?.worthwhile ?? false;
  }

  /** Of the last writes; for the next segment. 0 where nothing is prewritten. */
  get averageBytes(): number {
    return this.#prewriter?.averageBytes ?? 0;
  }

  /** Resolves when the bytes are on stable storage. They must not change until then. */
  async write(bytes: Uint8Array): Promise<void> {
    const waiting = this.#claim(bytes.length);
    if (waiting !== undefined) await waiting;
    await writeWhole(this.#file, bytes, this.#end);
    if (this.#prewriter === undefined) await this.#file.sync();
    this.#moveEnd(bytes.length);
  }

  /** Resolves when the bytes are in the file, and may change again; not durable before a sync. */
  async copy(bytes: Uint8Array): Promise<void> {
    const waiting = this.#claim(bytes.length);
    if (waiting !== undefined) await waiting;
    this.#copies ??= await this.#openCopies();
    await writeWhole(this.#copies, bytes, this.#end);
    this.#moveEnd(bytes.length);
  }

  /** Makes every copy durable that has ended when it begins. */
  async sync(): Promise<void> {
    assert(this.#copies !== undefined, 'a sync follows a copy');
    await this.#copies.sync();
  }

  /** Waits for zeros on their way and closes the files. */
  async finish(): Promise<void> {
    await this.#prewriter?.stop();
    this.#fileBytes = this.fileBytes;
    if (this.#copies !== this.#file) await this.#copies?.close();
    await this.#file.close();
  }

  #claim(length: number): Promise<void> | undefined {
    const end = this.#end + length;
    assert(end <= 0xffff_ffff, 'a position in a segment has 32 bits');
    return this.#prewriter?.claim(end);
  }

  #moveEnd(length: number): void {
    this.#end += length;
    this.#prewriter?.ahead(this.#end, length);
  }
}

function openToWrite(
  files: Files,
  path: string,
  durability: 'on-sync' | 'each-write',
): Promise<OpenFile> {
  return files.open(path, { access: 'write', create: 'never', durability });
}
