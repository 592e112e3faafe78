/**
 * The segment that is being written: data at its end, each write durable before it resolves, zeros
 * ahead.
 *
 * One write at a time. No byte is written twice: the end only moves up, and what lies behind it is
 * zeros or the end of the file. A rejected write leaves the segment of no use: the log has failed.
 */

import { assert } from '../assert.ts';
import type { OpenFile } from '../files.ts';
import { writeWhole } from './file-bytes.ts';
import { Prewriter } from './prewriter.ts';
import type { LogSettings } from './settings.ts';

export interface ActiveFile {
  readonly path: string;
  /** Where data ends. */
  readonly end: number;
  /** Size of the file; from `end` on it holds zeros, and they are synced. */
  readonly fileBytes: number;
}

export class ActiveSegment {
  readonly #file: OpenFile;
  readonly #prewriter: Prewriter | undefined;
  #end: number;
  #fileBytes: number;

  private constructor(file: OpenFile, prewriter: Prewriter | undefined, active: ActiveFile) {
    this.#file = file;
    this.#prewriter = prewriter;
    this.#end = active.end;
    this.#fileBytes = active.fileBytes;
  }

  static async open(
    settings: LogSettings,
    active: ActiveFile,
    onFailure: (error: unknown) => void,
  ): Promise<ActiveSegment> {
    const { files, directory, prewriteBytes: pieceBytes, segmentBytes } = settings;
    const { path, fileBytes } = active;
    if (settings.syncMode === 'fdatasync') {
      const file = await files.open(path, {
        access: 'write',
        create: 'never',
        durability: 'on-sync',
      });
      return new ActiveSegment(file, undefined, active);
    }
    const file = await files.open(path, {
      access: 'write',
      create: 'never',
      durability: 'each-write',
    });
    // Zeros go through a handle of their own: there one sync for a piece is enough.
    const zeros = await files.open(path, {
      access: 'write',
      create: 'never',
      durability: 'on-sync',
    });
    const prewriter = new Prewriter(zeros, fileBytes, {
      pieceBytes,
      limit: segmentBytes,
      hasRoom: async () => (await files.space(directory)).freeBytes >= 2 * pieceBytes,
      prewritten: (bytes) => settings.prewritten(bytes),
      onFailure,
    });
    return new ActiveSegment(file, prewriter, active);
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

  /** Resolves when the bytes are on stable storage. They must not change until then. */
  async write(bytes: Uint8Array): Promise<void> {
    const end = this.#end + bytes.length;
    assert(end <= 0xffff_ffff, 'a position in a segment has 32 bits');
    const waiting = this.#prewriter?.claim(end);
    if (waiting !== undefined) await waiting;
    await writeWhole(this.#file, bytes, this.#end);
    if (this.#prewriter === undefined) await this.#file.sync();
    this.#end = end;
    this.#prewriter?.ahead(end, bytes.length);
  }

  /** Waits for zeros on their way and closes the files. */
  async finish(): Promise<void> {
    await this.#prewriter?.stop();
    this.#fileBytes = this.fileBytes;
    await this.#file.close();
  }
}
