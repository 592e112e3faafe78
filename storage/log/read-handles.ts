/**
 * Counted handles for reading segments. A handle that somebody holds stays open, also after its
 * file was removed; a few that nobody holds stay open for the next read.
 */

import type { Files, OpenFile } from '../files.ts';
import type { LogSegment } from './log-segment.ts';

const MAX_IDLE = 32;

interface Counted {
  readonly opening: Promise<OpenFile>;
  holders: number;
  dropped: boolean;
}

export interface Hold {
  readonly segment: LogSegment;
  readonly file: OpenFile;
  release(): void;
}

export class ReadHandles {
  readonly #files: Files;
  /** In the order of last use. */
  readonly #open = new Map<LogSegment, Counted>();

  constructor(files: Files) {
    this.#files = files;
  }

  /** Release the hold exactly once; a rejected call holds nothing. */
  async hold(segment: LogSegment): Promise<Hold> {
    let counted = this.#open.get(segment);
    if (counted === undefined) {
      const opening = this.#files.open(segment.path, {
        access: 'read',
        create: 'never',
        durability: 'on-sync',
      });
      counted = { opening, holders: 0, dropped: false };
      this.#open.set(segment, counted);
    }
    const held = counted;
    held.holders += 1;
    try {
      const file = await held.opening;
      return { segment, file, release: () => this.#release(segment, held) };
    } catch (error) {
      if (this.#open.get(segment) === held) this.#open.delete(segment);
      throw error;
    }
  }

  /** The segment's file is gone from the log: closed as soon as nobody holds it. */
  drop(segment: LogSegment): void {
    const counted = this.#open.get(segment);
    if (counted === undefined) return;
    counted.dropped = true;
    if (counted.holders === 0) this.#close(segment, counted);
  }

  /** For the end of the log: closes what nobody holds now, and the rest when it is released. */
  dropAll(): void {
    for (const segment of this.#open.keys()) this.drop(segment);
  }

  #release(segment: LogSegment, held: Counted): void {
    held.holders -= 1;
    if (held.holders > 0) return;
    if (held.dropped) {
      this.#close(segment, held);
      return;
    }
    this.#open.delete(segment);
    this.#open.set(segment, held);
    this.#closeIdle();
  }

  #closeIdle(): void {
    let idle = 0;
    for (const { holders } of this.#open.values()) if (holders === 0) idle += 1;
    for (const [segment, counted] of this.#open) {
      if (idle <= MAX_IDLE) return;
      if (counted.holders > 0) continue;
      this.#close(segment, counted);
      idle -= 1;
    }
  }

  #close(segment: LogSegment, counted: Counted): void {
    if (this.#open.get(segment) === counted) this.#open.delete(segment);
    // A failed close of a file that was only read loses nothing.
    counted.opening.then((file) => file.close()).catch(() => undefined);
  }
}
