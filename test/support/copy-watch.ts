/**
 * The files of a log with its copies watched: how many writes lie in segments and wait for their
 * sync at any time, as the disk was asked and not as the log believes.
 *
 * It throws, and so ends the log with an error that no schedule expects, where a write to a segment
 * begins before the one before it has returned, and where anything but a copy or the sync of copies
 * changes the log while copies wait: a durable write, a cut, a manifest, a removal.
 */
import type { Files, OpenFile, OpenOptions } from '../../storage/files.ts';
import { isZero } from '../../storage/log/zero-sectors.ts';

const SEGMENT = /\.log$/;
const MANIFEST = /manifest/;

export class CopyWatch {
  readonly #most = { count: 0 };
  #process = new Process(this.#most);

  /** So many copies waited for a sync at one time, in any process. */
  get most(): number {
    return this.#most.count;
  }

  /** Copies of this process that have returned and that no sync has covered. */
  get unsynced(): number {
    return this.#process.unsynced;
  }

  /** What in this process was not in order. */
  get wrong(): string | undefined {
    return this.#process.wrong;
  }

  /** A process begins: what the one before it had under way is over. */
  over(files: Files): Files {
    const process = new Process(this.#most);
    this.#process = process;
    return {
      open: async (path, options) => {
        if (MANIFEST.test(path) && options.access === 'write') process.alone(`writing ${path}`);
        const file = await files.open(path, options);
        const isData = SEGMENT.test(path) && options.access === 'write';
        return isData ? watched(file, options, process) : file;
      },
      list: (directory) => files.list(directory),
      makeDirectory: (directory) => files.makeDirectory(directory),
      syncDirectory: (directory) => files.syncDirectory(directory),
      rename: (from, to) => files.rename(from, to),
      link: (from, to) => files.link(from, to),
      remove: async (path) => {
        if (SEGMENT.test(path)) process.alone(`the removal of ${path}`);
        await files.remove(path);
      },
      space: (directory) => files.space(directory),
    };
  }
}

class Process {
  unsynced = 0;
  isWriting = false;
  wrong: string | undefined;
  readonly #most: { count: number };

  constructor(most: { count: number }) {
    this.#most = most;
  }

  copied(): void {
    this.unsynced += 1;
    this.#most.count = Math.max(this.#most.count, this.unsynced);
  }

  alone(what: string): void {
    if (this.unsynced > 0) this.refuse(`${what} while ${this.unsynced} copies wait for a sync`);
  }

  refuse(text: string): never {
    this.wrong ??= text;
    throw new Error(text);
  }
}

function watched(file: OpenFile, { durability }: OpenOptions, process: Process): OpenFile {
  const { path } = file;
  let copies = 0;
  return {
    path,
    read: (into, position) => file.read(into, position),
    write: async (bytes, position) => {
      // Zeros ahead are written beside everything.
      if (isZero(bytes, 0, bytes.length)) return file.write(bytes, position);
      if (process.isWriting) process.refuse(`two writes to ${path} at a time`);
      if (durability === 'each-write') process.alone(`a durable write to ${path}`);
      process.isWriting = true;
      const count = await file.write(bytes, position);
      process.isWriting = false;
      if (durability === 'each-write') return count;
      copies += 1;
      process.copied();
      return count;
    },
    sync: async () => {
      const covered = copies;
      await file.sync();
      copies -= covered;
      process.unsynced -= covered;
    },
    size: () => file.size(),
    truncate: async (length) => {
      process.alone(`a cut of ${path}`);
      await file.truncate(length);
    },
    close: () => file.close(),
  };
}
