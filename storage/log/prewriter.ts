/**
 * Fills a segment with zeros ahead of its data, in pieces, in the background; each piece is synced
 * before the writer may use it. A write into prewritten bytes changes no metadata, so O_DSYNC has
 * only the data to wait for.
 *
 * It must never write where data may be: the writer claims its bytes first, and a claim waits for
 * the piece under way and moves the start of the next one. Large writes go without zeros: they pay
 * for a piece in a few writes, and the second pass over the disk costs more than the metadata.
 * Without room on the disk it stops; the file then grows with its data, slower but sound. Any other
 * failure is a failed write of the log.
 */

import type { OpenFile } from '../files.ts';
import { hasCode, writeWhole } from './file-bytes.ts';

const ZEROS: Uint8Array = new Uint8Array(1024 * 1024);

/** A piece that fewer writes would use up costs more than growing the file does. */
const WRITES_A_PIECE = 16;
const AVERAGE_OVER = 8;

export interface PrewriteOptions {
  readonly pieceBytes: number;
  /** Of the last writes, before this file. */
  readonly averageBytes: number;
  /** Nothing is prewritten behind this position. */
  readonly limit: number;
  /** Whether the disk has room for another piece. */
  hasRoom(): Promise<boolean>;
  prewritten(bytes: number): void;
  onFailure(error: unknown): void;
}

/** Writes zeros and syncs them. False: the disk is full; what was written so far is harmless. */
export async function writeZeros(file: OpenFile, from: number, to: number): Promise<boolean> {
  try {
    for (let at = from; at < to; at += ZEROS.length) {
      await writeWhole(file, ZEROS.subarray(0, Math.min(ZEROS.length, to - at)), at);
    }
  } catch (error) {
    if (hasCode(error, 'ENOSPC')) return false;
    throw error;
  }
  await file.sync();
  return true;
}

export class Prewriter {
  readonly #file: OpenFile;
  readonly #options: PrewriteOptions;
  #end: number;
  #averageBytes: number;
  #underWay: Promise<void> | undefined;
  #stopped = false;

  /** `end`: up to here the file holds data or synced zeros. */
  constructor(file: OpenFile, end: number, options: PrewriteOptions) {
    this.#file = file;
    this.#end = end;
    this.#options = options;
    this.#averageBytes = options.averageBytes;
  }

  get end(): number {
    return this.#end;
  }

  /** Moving, over the last writes. */
  get averageBytes(): number {
    return this.#averageBytes;
  }

  /**
   * Whether a piece would serve enough writes of the size that they have lately to be worth its
   * sync.
   */
  get worthwhile(): boolean {
    return this.#averageBytes * WRITES_A_PIECE <= this.#options.pieceBytes;
  }

  /**
   * After a write of so many bytes: starts the next piece if less than one lies ahead of the data.
   */
  ahead(dataEnd: number, writtenBytes: number): void {
    const { pieceBytes, limit } = this.#options;
    this.#averageBytes += (writtenBytes - this.#averageBytes) / AVERAGE_OVER;
    if (!this.worthwhile) return;
    if (this.#stopped || this.#underWay !== undefined || this.#end >= limit) return;
    if (this.#end - dataEnd >= pieceBytes) return;
    this.#underWay = this.#piece().finally(() => {
      this.#underWay = undefined;
    });
  }

  /** The writer may write up to `end` when this has resolved; undefined: at once. */
  claim(end: number): Promise<void> | undefined {
    if (end <= this.#end) return undefined;
    if (this.#underWay === undefined) {
      this.#end = end;
      return undefined;
    }
    return this.#underWay.then(() => {
      this.#end = Math.max(this.#end, end);
    });
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#underWay;
    await this.#file.close();
  }

  async #piece(): Promise<void> {
    const { pieceBytes, limit } = this.#options;
    try {
      if (!(await this.#options.hasRoom())) return;
      const from = this.#end;
      const to = Math.min(from + pieceBytes, limit);
      if (await writeZeros(this.#file, from, to)) {
        this.#end = to;
        this.#options.prewritten(to - from);
      } else this.#stopped = true;
    } catch (error) {
      this.#stopped = true;
      this.#options.onFailure(error);
    }
  }
}
