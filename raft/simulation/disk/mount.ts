/**
 * The simulated disk as a process sees it: the port `storage/files.ts` over one boot of the disk.
 * What each call does, and what each injected fault makes of it; when it happens is the disk's to
 * decide.
 */
import type { DiskSpace, Files, OpenFile, OpenOptions } from '#storage';
import type { ArmedFault, Operation } from './faults.ts';
import { Inode, SECTOR_BYTES, type Change } from './inode.ts';
import { DIRECTORY, type Names, parentOf } from './names.ts';

/** What the steps of one call do. An error thrown by either rejects the call. */
export interface Steps<Result> {
  readonly effect?: () => void;
  /** For the trace. */
  readonly detail?: () => string;
  readonly finish: () => Result;
}

export interface DiskCall {
  /** A call of an earlier boot never returns. */
  readonly boot: number;
  readonly operation: Operation;
  readonly path: string;
}

/** What a mount needs from its disk. */
export interface MountedDisk {
  readonly names: Names;
  readonly capacityBytes: number;
  perform<Result>(
    call: DiskCall,
    steps: (fault: ArmedFault | undefined) => Steps<Result>,
  ): Promise<Result>;
  inode(path: string, operation: string): Inode;
  hold(inode: Inode): void;
  letGo(inode: Inode): void;
  freeBytes(): number;
  /** How many of these bytes find room. */
  roomFor(inode: Inode, position: number, length: number): number;
  /** An integer in [0, limit) for the shape of a fault. */
  draw(limit: number): number;
}

export class Mount implements Files {
  readonly #disk: MountedDisk;
  readonly #boot: number;

  constructor(disk: MountedDisk, boot: number) {
    this.#disk = disk;
    this.#boot = boot;
  }

  open(path: string, options: OpenOptions): Promise<OpenFile> {
    const disk = this.#disk;
    return this.#call('open', path, () => {
      if (disk.names.get(parentOf(path)) !== DIRECTORY) throw ioError('ENOENT', 'open', path);
      if (options.create === 'exclusive') {
        if (disk.names.get(path) !== undefined) throw ioError('EEXIST', 'open', path);
        disk.names.create(path, new Inode()).returned = true;
      }
      const inode = disk.inode(path, 'open');
      disk.hold(inode);
      return new SimulatedFile(disk, { boot: this.#boot, path, inode, options });
    });
  }

  list(directory: string): Promise<string[]> {
    return this.#call('list', directory, () => {
      this.#directory(directory, 'list');
      return this.#disk.names.children(directory);
    });
  }

  makeDirectory(directory: string): Promise<void> {
    const { names } = this.#disk;
    return this.#call('make-directory', directory, () => {
      const missing: string[] = [];
      for (let path = directory; names.get(path) !== DIRECTORY; path = parentOf(path)) {
        if (names.get(path) !== undefined) throw ioError('EEXIST', 'make-directory', path);
        missing.unshift(path);
      }
      for (const path of missing) names.create(path, DIRECTORY).returned = true;
    });
  }

  syncDirectory(directory: string): Promise<void> {
    const { names } = this.#disk;
    const call: DiskCall = { boot: this.#boot, operation: 'sync-directory', path: directory };
    return this.#disk.perform(call, (fault) => {
      const covered = names.coveredBySync(directory);
      return {
        effect: () => this.#directory(directory, 'sync-directory'),
        finish: () => {
          if (fault?.fault.kind === 'eio') throw ioError('EIO', 'sync-directory', directory);
          names.makeDurable(covered);
        },
      };
    });
  }

  rename(from: string, to: string): Promise<void> {
    return this.#call('rename', from, () => {
      this.#disk.inode(from, 'rename');
      if (this.#disk.names.get(to) === DIRECTORY) throw ioError('EISDIR', 'rename', to);
      this.#disk.names.rename(from, to).returned = true;
    });
  }

  link(from: string, to: string): Promise<void> {
    const { names } = this.#disk;
    return this.#call('link', from, () => {
      const inode = this.#disk.inode(from, 'link');
      if (names.get(parentOf(to)) !== DIRECTORY) throw ioError('ENOENT', 'link', to);
      if (names.get(to) !== undefined) throw ioError('EEXIST', 'link', to);
      names.create(to, inode).returned = true;
    });
  }

  remove(path: string): Promise<void> {
    return this.#call('remove', path, () => {
      this.#disk.inode(path, 'remove');
      this.#disk.names.remove(path).returned = true;
    });
  }

  space(directory: string): Promise<DiskSpace> {
    return this.#call('space', directory, () => {
      this.#directory(directory, 'space');
      return { freeBytes: this.#disk.freeBytes(), totalBytes: this.#disk.capacityBytes };
    });
  }

  #call<Result>(operation: Operation, path: string, finish: () => Result): Promise<Result> {
    return this.#disk.perform({ boot: this.#boot, operation, path }, () => ({ finish }));
  }

  #directory(path: string, operation: string): void {
    const entry = this.#disk.names.get(path);
    if (entry === undefined) throw ioError('ENOENT', operation, path);
    if (entry !== DIRECTORY) throw ioError('ENOTDIR', operation, path);
  }
}

interface OpenedAs {
  readonly boot: number;
  readonly path: string;
  readonly inode: Inode;
  readonly options: OpenOptions;
}

class SimulatedFile implements OpenFile {
  readonly path: string;
  readonly #disk: MountedDisk;
  readonly #boot: number;
  readonly #inode: Inode;
  readonly #options: OpenOptions;
  #closed = false;

  constructor(disk: MountedDisk, opened: OpenedAs) {
    this.#disk = disk;
    this.path = opened.path;
    this.#boot = opened.boot;
    this.#inode = opened.inode;
    this.#options = opened.options;
  }

  read(into: Uint8Array, position: number): Promise<number> {
    if (!isPosition(position)) return Promise.reject(outOfRange(position));
    return this.#call('read', (fault) => ({
      finish: () => {
        const short = fault?.fault.kind === 'short' && into.length > 1;
        const asked = short ? 1 + this.#disk.draw(into.length - 1) : into.length;
        const count = this.#inode.read(into.subarray(0, asked), position);
        if (fault?.fault.kind === 'flipped') flipSomeBit(this.#disk, into.subarray(0, count));
        return count;
      },
    }));
  }

  write(bytes: Uint8Array, position: number): Promise<number> {
    if (!isPosition(position)) return Promise.reject(outOfRange(position));
    return this.#call('write', (fault) => {
      if (this.#options.access === 'read') throw ioError('EBADF', 'write', this.path);
      let change: Change | undefined;
      let count = 0;
      return {
        detail: () => ` ${bytes.length} bytes at ${position}, ${this.#options.durability}`,
        effect: () => {
          count = this.#countToWrite(bytes, position, fault);
          const kind = fault?.fault.kind;
          if (count === 0 || kind === 'lost') return;
          const shift = kind === 'misdirected' ? SECTOR_BYTES * (1 + this.#disk.draw(8)) : 0;
          change = this.#inode.write(bytes.subarray(0, count), position + shift);
          if (kind === 'flipped') {
            const at = position + this.#disk.draw(count);
            const bit = this.#disk.draw(8);
            this.#inode.corrupt(at, (byte) => byte ^ (1 << bit));
          }
        },
        finish: () => {
          const kind = fault?.fault.kind;
          if (change !== undefined) change.returned = true;
          if (kind === 'eio' || kind === 'enospc' || (count === 0 && bytes.length > 0)) {
            if (change !== undefined) change.abandoned = true;
            throw ioError(kind === 'eio' ? 'EIO' : 'ENOSPC', 'write', this.path);
          }
          if (change !== undefined && this.#options.durability === 'each-write') {
            this.#inode.makeDurable([change]);
          }
          return count;
        },
      };
    });
  }

  sync(): Promise<void> {
    return this.#call('sync', (fault) => {
      const covered = this.#inode.coveredBySync();
      return {
        effect: () => undefined,
        finish: () => {
          if (fault?.fault.kind === 'eio') {
            for (const change of covered) change.abandoned = true;
            throw ioError('EIO', 'sync', this.path);
          }
          this.#inode.makeDurable(covered.filter((change) => !change.abandoned));
        },
      };
    });
  }

  size(): Promise<number> {
    return this.#call('size', () => ({ finish: () => this.#inode.size }));
  }

  truncate(length: number): Promise<void> {
    if (!isPosition(length)) return Promise.reject(outOfRange(length));
    return this.#call('truncate', () => ({
      detail: () => ` to ${length}`,
      finish: () => {
        if (this.#options.access === 'read') throw ioError('EINVAL', 'truncate', this.path);
        this.#inode.truncate(length).returned = true;
      },
    }));
  }

  close(): Promise<void> {
    return this.#call('close', () => ({ finish: () => this.#disk.letGo(this.#inode) }));
  }

  #call<Result>(
    operation: Operation,
    steps: (fault: ArmedFault | undefined) => Steps<Result>,
  ): Promise<Result> {
    if (this.#closed) return Promise.reject(ioError('EBADF', operation, this.path));
    if (operation === 'close') this.#closed = true;
    return this.#disk.perform({ boot: this.#boot, operation, path: this.path }, steps);
  }

  /** A part ends where a sector ends: no disk, and no kernel, stops in the middle of one. */
  #countToWrite(bytes: Uint8Array, position: number, fault: ArmedFault | undefined): number {
    const room = this.#disk.roomFor(this.#inode, position, bytes.length);
    const kind = fault?.fault.kind;
    if (kind !== 'short' && kind !== 'eio' && kind !== 'enospc') return room;
    const first = SECTOR_BYTES - (position % SECTOR_BYTES);
    const sectors = Math.max(0, Math.ceil((bytes.length - first) / SECTOR_BYTES));
    if (kind === 'short') {
      return sectors === 0 ? room : Math.min(room, first + SECTOR_BYTES * this.#disk.draw(sectors));
    }
    const whole = this.#disk.draw(sectors + 2);
    return whole === 0 ? 0 : Math.min(room, bytes.length, first + SECTOR_BYTES * (whole - 1));
  }
}

function flipSomeBit(disk: MountedDisk, bytes: Uint8Array): void {
  if (bytes.length === 0) return;
  const at = disk.draw(bytes.length);
  bytes[at] = (bytes[at] as number) ^ (1 << disk.draw(8));
}

function isPosition(position: number): boolean {
  return Number.isSafeInteger(position) && position >= 0;
}

function outOfRange(position: number): Error {
  return ioError('ERR_OUT_OF_RANGE', 'use', String(position));
}

/** Without a stack, as those of the real file system. */
export function ioError(code: string, operation: string, path: string): NodeJS.ErrnoException {
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0;
  const error = new Error(`${code}: simulated, ${operation} '${path}'`);
  Error.stackTraceLimit = stackTraceLimit;
  return Object.assign(error, { code, syscall: operation, path });
}

/** The platform's code of an error, if it has one. */
export function ioCode(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  const { code } = error as NodeJS.ErrnoException;
  return code;
}
