/**
 * The real file system behind the port `files.ts`. The only module of the product that imports
 * `node:fs`.
 *
 * It never makes a synchronous call, never retries and never hides an error: what a failed write or
 * sync means is the engine's to decide. A handle that was closed refuses every call with EBADF
 * instead of passing on a number that the system may have given to another file meanwhile, and
 * `close` waits for calls under way for the same reason.
 *
 * `durability: 'each-write'` is O_DSYNC on Linux, one hop into the thread pool. Elsewhere the flag
 * is missing or does not reach the platter (macOS), so there each write is followed by fdatasync
 * before it resolves.
 */
import {
  close,
  constants,
  fdatasync,
  fstat,
  fsync,
  ftruncate,
  link,
  mkdir,
  open,
  read,
  readdir,
  rename,
  statfs,
  unlink,
  write,
} from 'node:fs';

import type { DiskSpace, Files, OpenFile, OpenOptions } from './files.ts';

const FILE_MODE = 0o600;
const DIRECTORY_MODE = 0o700;
const HAS_DSYNC = process.platform === 'linux';

export function nodeFiles(): Files {
  return new NodeFiles();
}

class NodeFiles implements Files {
  async open(path: string, options: OpenOptions): Promise<OpenFile> {
    const eachWrite = options.durability === 'each-write';
    const flags =
      (options.access === 'read' ? constants.O_RDONLY : constants.O_RDWR) |
      (options.create === 'exclusive' ? constants.O_CREAT | constants.O_EXCL : 0) |
      (eachWrite && HAS_DSYNC ? constants.O_DSYNC : 0);
    const fd = await openDescriptor(path, flags);
    return new NodeFile(path, fd, eachWrite && !HAS_DSYNC);
  }

  list(directory: string): Promise<string[]> {
    return new Promise((resolve, reject) => {
      readdir(directory, (error, names) => {
        if (error === null) resolve(names.toSorted());
        else reject(error);
      });
    });
  }

  makeDirectory(directory: string): Promise<void> {
    return new Promise((resolve, reject) => {
      mkdir(directory, { recursive: true, mode: DIRECTORY_MODE }, settle(resolve, reject));
    });
  }

  async syncDirectory(directory: string): Promise<void> {
    const fd = await openDescriptor(directory, constants.O_RDONLY | constants.O_DIRECTORY);
    try {
      await new Promise<void>((resolve, reject) => fsync(fd, settle(resolve, reject)));
    } finally {
      await closeDescriptor(fd);
    }
  }

  rename(from: string, to: string): Promise<void> {
    return new Promise((resolve, reject) => rename(from, to, settle(resolve, reject)));
  }

  link(from: string, to: string): Promise<void> {
    return new Promise((resolve, reject) => link(from, to, settle(resolve, reject)));
  }

  remove(path: string): Promise<void> {
    return new Promise((resolve, reject) => unlink(path, settle(resolve, reject)));
  }

  space(directory: string): Promise<DiskSpace> {
    return new Promise((resolve, reject) => {
      statfs(directory, (error, stats) => {
        if (error !== null) reject(error);
        else
          resolve({
            // `bavail`, not `bfree`: what root alone may use is not ours.
            freeBytes: stats.bavail * stats.bsize,
            totalBytes: stats.blocks * stats.bsize,
          });
      });
    });
  }
}

class NodeFile implements OpenFile {
  readonly path: string;
  readonly #fd: number;
  readonly #syncEachWrite: boolean;
  #closed = false;
  #underWay = 0;
  #whenIdle: (() => void) | undefined;

  constructor(path: string, fd: number, syncEachWrite: boolean) {
    this.path = path;
    this.#fd = fd;
    this.#syncEachWrite = syncEachWrite;
  }

  async read(into: Uint8Array, position: number): Promise<number> {
    assertPosition(position);
    return this.#call((done) => {
      read(this.#fd, into, 0, into.length, position, done);
    });
  }

  async write(bytes: Uint8Array, position: number): Promise<number> {
    assertPosition(position);
    const written = await this.#call<number>((done) => {
      write(this.#fd, bytes, 0, bytes.length, position, done);
    });
    if (this.#syncEachWrite) await this.sync();
    return written;
  }

  sync(): Promise<void> {
    return this.#call((done) => {
      fdatasync(this.#fd, done);
    });
  }

  async size(): Promise<number> {
    const stats = await this.#call<{ size: number }>((done) => {
      fstat(this.#fd, done);
    });
    return stats.size;
  }

  async truncate(length: number): Promise<void> {
    assertPosition(length);
    return this.#call((done) => {
      ftruncate(this.#fd, length, done);
    });
  }

  async close(): Promise<void> {
    if (this.#closed) throw badDescriptor('close', this.path);
    this.#closed = true;
    if (this.#underWay > 0) {
      await new Promise<void>((resolve) => {
        this.#whenIdle = resolve;
      });
    }
    await closeDescriptor(this.#fd);
  }

  #call<Result>(
    start: (done: (error: NodeJS.ErrnoException | null, result?: Result) => void) => void,
  ): Promise<Result> {
    if (this.#closed) return Promise.reject(badDescriptor('use', this.path));
    this.#underWay += 1;
    return new Promise((resolve, reject) => {
      start((error, result) => {
        this.#underWay -= 1;
        if (this.#underWay === 0) this.#whenIdle?.();
        if (error === null) resolve(result as Result);
        else reject(error);
      });
    });
  }
}

function openDescriptor(path: string, flags: number): Promise<number> {
  return new Promise((resolve, reject) => {
    open(path, flags, FILE_MODE, (error, fd) => {
      if (error === null) resolve(fd);
      else reject(error);
    });
  });
}

function closeDescriptor(fd: number): Promise<void> {
  return new Promise((resolve, reject) => close(fd, settle(resolve, reject)));
}

function settle(resolve: () => void, reject: (error: Error) => void) {
  return (error: NodeJS.ErrnoException | null): void => {
    if (error === null) resolve();
    else reject(error);
  };
}

/** Node takes a negative or fractional position as "wherever the file stands", without a word. */
function assertPosition(position: number): void {
  if (Number.isSafeInteger(position) && position >= 0) return;
  throw Object.assign(new RangeError(`no position in a file: ${position}`), {
    code: 'ERR_OUT_OF_RANGE',
  });
}

function badDescriptor(call: string, path: string): NodeJS.ErrnoException {
  return Object.assign(new Error(`EBADF: file is closed, ${call} '${path}'`), { code: 'EBADF' });
}
