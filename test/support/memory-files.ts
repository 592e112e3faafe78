/**
 * A small file system in memory for unit tests of the log: fast, with one place to look at calls or
 * make them fail, and a `crash` that keeps exactly what was synced. The simulated disk is the one
 * that tears and loses.
 */

import type { DiskSpace, Files, OpenFile, OpenOptions } from '../../storage/files.ts';

export interface MemoryCall {
  readonly operation: string;
  readonly path: string;
  readonly position?: number;
  readonly length?: number;
}

class Inode {
  seen: Buffer = Buffer.alloc(0);
  durable: Buffer = Buffer.alloc(0);

  write(bytes: Uint8Array, position: number): void {
    this.seen = patched(this.seen, bytes, position);
  }

  truncate(length: number): void {
    const cut = Buffer.alloc(length);
    this.seen.copy(cut, 0, 0, length);
    this.seen = cut;
  }

  sync(): void {
    this.durable = Buffer.from(this.seen);
  }
}

export class MemoryFiles implements Files {
  /** Every call that was made, if `tracing`. */
  readonly trace: MemoryCall[] = [];
  tracing = false;
  /** Called before each call; may throw, or wait. */
  before: (call: MemoryCall) => Promise<void> | void = () => undefined;
  /** Bytes that may be written before ENOSPC. */
  freeBytes = Number.MAX_SAFE_INTEGER;
  /** Largest count that one read or write carries. */
  shortBytes = Number.MAX_SAFE_INTEGER;
  #names: Map<string, Inode>;
  #durableNames: Map<string, Inode>;

  constructor(names: Map<string, Inode> = new Map()) {
    this.#names = names;
    this.#durableNames = new Map(names);
  }

  /** Cuts the power: this instance never answers again; the one returned has what was synced. */
  crash(): MemoryFiles {
    const left = this.durableClone();
    this.before = () => new Promise(() => undefined);
    return left;
  }

  /** An independent copy of what a power cut right now would leave. */
  durableClone(): MemoryFiles {
    const names = new Map<string, Inode>();
    for (const [path, { durable }] of this.#durableNames) {
      const inode = new Inode();
      inode.seen = Buffer.from(durable);
      inode.durable = Buffer.from(durable);
      names.set(path, inode);
    }
    return new MemoryFiles(names);
  }

  /** An independent copy of everything as it is seen, all of it durable. */
  clone(): MemoryFiles {
    const names = new Map<string, Inode>();
    for (const [path, { seen }] of this.#names) {
      const inode = new Inode();
      inode.seen = Buffer.from(seen);
      inode.durable = Buffer.from(seen);
      names.set(path, inode);
    }
    return new MemoryFiles(names);
  }

  paths(): string[] {
    return [...this.#names.keys()].toSorted();
  }

  bytes(path: string): Buffer {
    return this.#inode(path, 'bytes').seen;
  }

  put(path: string, bytes: Uint8Array): void {
    const inode = new Inode();
    inode.seen = Buffer.from(bytes);
    inode.durable = Buffer.from(bytes);
    this.#names.set(path, inode);
    this.#durableNames.set(path, inode);
  }

  take(path: string): void {
    this.#names.delete(path);
    this.#durableNames.delete(path);
  }

  async open(path: string, options: OpenOptions): Promise<OpenFile> {
    await this.#called({ operation: 'open', path });
    if (options.create === 'exclusive') {
      if (this.#names.has(path)) throw failure('EEXIST', path);
      this.#names.set(path, new Inode());
    }
    return this.#file(path, this.#inode(path, 'open'), options);
  }

  async list(directory: string): Promise<string[]> {
    await this.#called({ operation: 'list', path: directory });
    const from = `${directory}/`;
    return this.paths()
      .filter((path) => path.startsWith(from))
      .map((path) => path.slice(from.length));
  }

  async makeDirectory(directory: string): Promise<void> {
    await this.#called({ operation: 'make-directory', path: directory });
  }

  async syncDirectory(directory: string): Promise<void> {
    await this.#called({ operation: 'sync-directory', path: directory });
    this.#durableNames = new Map(this.#names);
  }

  async rename(from: string, to: string): Promise<void> {
    await this.#called({ operation: 'rename', path: to });
    const inode = this.#inode(from, 'rename');
    this.#names.delete(from);
    this.#names.set(to, inode);
  }

  async link(from: string, to: string): Promise<void> {
    await this.#called({ operation: 'link', path: to });
    const inode = this.#inode(from, 'link');
    if (this.#names.has(to)) throw failure('EEXIST', to);
    this.#names.set(to, inode);
  }

  async remove(path: string): Promise<void> {
    await this.#called({ operation: 'remove', path });
    this.#inode(path, 'remove');
    this.#names.delete(path);
  }

  async space(directory: string): Promise<DiskSpace> {
    await this.#called({ operation: 'space', path: directory });
    return { freeBytes: this.freeBytes, totalBytes: Number.MAX_SAFE_INTEGER };
  }

  #file(path: string, inode: Inode, { durability }: OpenOptions): OpenFile {
    return {
      path,
      read: async (into, position) => {
        await this.#called({ operation: 'read', path, position, length: into.length });
        const end = Math.min(inode.seen.length, position + Math.min(into.length, this.shortBytes));
        if (position >= end) return 0;
        into.set(inode.seen.subarray(position, end));
        return end - position;
      },
      write: async (bytes, position) => {
        await this.#called({ operation: 'write', path, position, length: bytes.length });
        if (bytes.length > this.freeBytes) throw failure('ENOSPC', path);
        this.freeBytes -= bytes.length;
        const part = bytes.subarray(0, this.shortBytes);
        inode.write(part, position);
        if (durability === 'each-write') inode.durable = patched(inode.durable, part, position);
        return part.length;
      },
      sync: async () => {
        await this.#called({ operation: 'sync', path });
        inode.sync();
      },
      size: async () => {
        await this.#called({ operation: 'size', path });
        return inode.seen.length;
      },
      truncate: async (length) => {
        await this.#called({ operation: 'truncate', path, length });
        inode.truncate(length);
      },
      close: async () => this.#called({ operation: 'close', path }),
    };
  }

  async #called(call: MemoryCall): Promise<void> {
    if (this.tracing) this.trace.push(call);
    await this.before(call);
  }

  #inode(path: string, operation: string): Inode {
    const inode = this.#names.get(path);
    if (inode === undefined) throw failure('ENOENT', `${operation} ${path}`);
    return inode;
  }
}

function patched(image: Buffer, bytes: Uint8Array, position: number): Buffer {
  const end = position + bytes.length;
  const into =
    end <= image.length ? image : Buffer.concat([image, Buffer.alloc(end - image.length)]);
  into.set(bytes, position);
  return into;
}

export function failure(code: string, path: string): NodeJS.ErrnoException {
  return Object.assign(new Error(`${code}: ${path}`), { code });
}
