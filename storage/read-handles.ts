/**
 * Counted handles for reading the files of segments or runs. A handle that somebody holds stays
 * open, also after its file was removed; a few that nobody holds stay open for the next read.
 */

import type { Files, OpenFile } from './files.ts';

const MAX_IDLE = 32;

interface Counted {
  readonly opening: Promise<OpenFile>;
  holders: number;
  dropped: boolean;
}

/** What lies in one file. */
interface Source {
  readonly path: string;
}

export interface Hold<Of extends Source> {
  readonly source: Of;
  readonly file: OpenFile;
  release(): void;
}

export class ReadHandles<Of extends Source> {
  readonly #files: Files;
  /** In the order of last use. */
  readonly #open = new Map<Of, Counted>();

  constructor(files: Files) {
    this.#files = files;
  }

  /** Release the hold exactly once; a rejected call holds nothing. */
  async hold(source: Of): Promise<Hold<Of>> {
    let counted = this.#open.get(source);
    if (counted === undefined) {
      const opening = this.#files.open(source.path, {
        access: 'read',
        create: 'never',
        durability: 'on-sync',
      });
      counted = { opening, holders: 0, dropped: false };
      this.#open.set(source, counted);
    }
    const held = counted;
    held.holders += 1;
    try {
      const file = await held.opening;
      return { source, file, release: () => this.#release(source, held) };
    } catch (error) {
      if (this.#open.get(source) === held) this.#open.delete(source);
      throw error;
    }
  }

  /** The file is gone from its folder: closed as soon as nobody holds it. */
  drop(source: Of): void {
    const counted = this.#open.get(source);
    if (counted === undefined) return;
    counted.dropped = true;
    if (counted.holders === 0) this.#close(source, counted);
  }

  /** For the end: closes what nobody holds now, and the rest when it is released. */
  dropAll(): void {
    for (const source of this.#open.keys()) this.drop(source);
  }

  #release(source: Of, held: Counted): void {
    held.holders -= 1;
    if (held.holders > 0) return;
    if (held.dropped) {
      this.#close(source, held);
      return;
    }
    this.#open.delete(source);
    this.#open.set(source, held);
    this.#closeIdle();
  }

  #closeIdle(): void {
    let idle = 0;
    for (const { holders } of this.#open.values()) if (holders === 0) idle += 1;
    for (const [source, counted] of this.#open) {
      if (idle <= MAX_IDLE) return;
      if (counted.holders > 0) continue;
      this.#close(source, counted);
      idle -= 1;
    }
  }

  #close(source: Of, counted: Counted): void {
    if (this.#open.get(source) === counted) this.#open.delete(source);
    // A failed close of a file that was only read loses nothing.
    counted.opening.then((file) => file.close()).catch(() => undefined);
  }
}
