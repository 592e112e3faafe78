/**
 * A disk in memory behind the port `storage/files.ts`, with power cuts and injected faults, deterministic
 * from its seed.
 *
 * Calls wait in a pool, and the seed draws which is carried out next; one call completes in each turn of the
 * event loop, so that whatever it lets run has run before the next. A write and a sync have two steps: they
 * take effect, and they return. A power cut may come between any two steps; what it leaves is decided in
 * `simulated-disk-inode.ts` and `simulated-disk-names.ts`. After it, calls of that boot never return, and
 * `mount()` gives a fresh view of what was left, as for a new process.
 *
 *   const disk = new SimulatedDisk({ seed });
 *   disk.cutPowerAfter(120);
 *   const outcome = await disk.run(workload(disk.mount()));   // { cut: true } or { cut: false, value }
 *   const recovered = await Log.open({ files: disk.mount(), ... });
 */
import type { DiskSpace, Files, OpenFile, OpenOptions } from '../../storage/files.ts';
import {
  Faults,
  type ArmedFault,
  type Fault,
  type InjectedFault,
  type Operation,
} from './simulated-disk-faults.ts';
import { BLOCK_BYTES, Inode, SECTOR_BYTES, type Change } from './simulated-disk-inode.ts';
import { DIRECTORY, Names, parentOf } from './simulated-disk-names.ts';
import { Random } from './simulated-disk-random.ts';

export interface SimulatedDiskOptions {
  readonly seed: number | string;
  /** Default: without end. */
  readonly capacityBytes?: number;
  /** Keeps the last lines of what the disk did, for a failing test to print. */
  readonly trace?: boolean;
}

/** What the steps of one call do. An error thrown by either rejects the call. */
interface Steps<Result> {
  readonly effect?: () => void;
  readonly finish: () => Result;
}

interface Waiting {
  /** Carries out the next step; true when the call has returned. */
  readonly step: () => boolean;
  readonly notBefore: number;
}

export type RunOutcome<Value> =
  | { readonly cut: true }
  | { readonly cut: false; readonly value: Value };

const TRACE_LINES = 200;

export class SimulatedDisk {
  readonly names = new Names();
  /** Bytes that others on the same disk hold; raise it to fill the disk. */
  foreignBytes = 0;
  /** Calls that reached the disk, by kind. */
  readonly calls = new Map<Operation, number>();
  readonly #faults = new Faults();
  readonly #random: Random;
  readonly #order: Random;
  readonly #damage: Random;
  readonly #capacityBytes: number;
  readonly #trace: string[] | undefined;
  readonly #opened = new Set<Inode>();
  #waiting: Waiting[] = [];
  #pumping = false;
  #boot = 0;
  #steps = 0;
  #cutAt = Number.POSITIVE_INFINITY;
  #onCut: (() => void)[] = [];

  constructor(options: SimulatedDiskOptions) {
    this.#random = new Random(options.seed).stream('disk');
    this.#order = this.#random.stream('order');
    this.#damage = this.#random.stream('damage');
    this.#capacityBytes = options.capacityBytes ?? Number.MAX_SAFE_INTEGER;
    this.#trace = options.trace === true ? [] : undefined;
  }

  /** Steps carried out since the disk was made. */
  get steps(): number {
    return this.#steps;
  }

  get trace(): readonly string[] {
    return this.#trace ?? [];
  }

  /** The file system as a process sees it that started now. */
  mount(): Files {
    return new Mount(this, this.#boot);
  }

  inject(fault: Fault): InjectedFault {
    return this.#faults.inject(fault);
  }

  clearFaults(): void {
    this.#faults.clear();
  }

  /** Cuts the power after that many more steps. */
  cutPowerAfter(steps: number): void {
    this.#cutAt = this.#steps + steps;
  }

  /** Resolves with the value, or with `cut` if the power goes first. Errors pass through. */
  run<Value>(work: Promise<Value>): Promise<RunOutcome<Value>> {
    return new Promise((resolve, reject) => {
      this.#onCut.push(() => resolve({ cut: true }));
      work.then((value) => resolve({ cut: false, value }), reject);
    });
  }

  /** The power goes now. `keep`: the chance that what was not synced is there; drawn if not given. */
  cutPower(keep: number = this.#damage.pick([0, 0.1, 0.5, 0.5, 0.9, 1])): void {
    this.#note(`power cut, boot ${this.#boot}, keep ${keep}`);
    this.#boot += 1;
    this.#cutAt = Number.POSITIVE_INFINITY;
    this.#waiting = [];
    this.#faults.clear();
    this.#opened.clear();
    this.names.crash(this.#damage, keep);
    for (const inode of this.names.inodes()) inode.crash(this.#damage, keep);
    for (const notify of this.#onCut.splice(0)) notify();
  }

  /** The bytes of a file as a process would read them now. */
  bytesOf(path: string): Uint8Array {
    const inode = this.inode(path, 'read');
    const bytes = new Uint8Array(inode.size);
    inode.read(bytes, 0);
    return bytes;
  }

  flipBit(path: string, position: number, bit: number): void {
    this.inode(path, 'flip').corrupt(position, (byte) => byte ^ (1 << bit));
  }

  zeroSector(path: string, sector: number): void {
    const inode = this.inode(path, 'zero');
    for (let at = 0; at < SECTOR_BYTES; at += 1) inode.corrupt(sector * SECTOR_BYTES + at, () => 0);
  }

  loseFile(path: string): void {
    this.names.lose(path);
  }

  /** Not for tests: what `Mount` and its handles call. A call of an earlier boot never returns. */
  perform<Result>(
    boot: number,
    operation: Operation,
    path: string,
    steps: (fault: ArmedFault | undefined) => Steps<Result>,
  ): Promise<Result> {
    return new Promise((resolve, reject) => {
      if (boot !== this.#boot) return;
      this.calls.set(operation, (this.calls.get(operation) ?? 0) + 1);
      const fault = this.#faults.meet(operation, path);
      const kind = fault?.fault.kind;
      const { effect, finish } = steps(fault);
      let effectDue = effect !== undefined;
      const step = (): boolean => {
        try {
          if (kind === 'eio' && effect === undefined) throw ioError('EIO', operation, path);
          if (effectDue) {
            effectDue = false;
            effect?.();
            return false;
          }
          const result = finish();
          this.#note(`${operation} ${path}${kind === undefined ? '' : ` [${kind}]`}`);
          resolve(result);
        } catch (error) {
          this.#note(`${operation} ${path} failed: ${String(error)}`);
          reject(error as Error);
        }
        return true;
      };
      const waiting = {
        step,
        notBefore: kind === 'slow' ? this.#steps + (fault?.fault.steps ?? 20) : 0,
      };
      if (kind === 'hung') fault?.hang(() => this.#enqueue(boot, waiting));
      else this.#enqueue(boot, waiting);
    });
  }

  inode(path: string, operation: string): Inode {
    const entry = this.names.get(path);
    if (entry === undefined) throw ioError('ENOENT', operation, path);
    if (entry === DIRECTORY) throw ioError('EISDIR', operation, path);
    return entry;
  }

  hold(inode: Inode): void {
    inode.handles += 1;
    this.#opened.add(inode);
  }

  letGo(inode: Inode): void {
    inode.handles -= 1;
    if (inode.handles === 0) this.#opened.delete(inode);
  }

  freeBytes(): number {
    let used = this.foreignBytes;
    for (const inode of new Set([...this.names.inodes(), ...this.#opened]))
      used += inode.allocatedBytes;
    return Math.max(0, this.#capacityBytes - used);
  }

  get capacityBytes(): number {
    return this.#capacityBytes;
  }

  /** How many of these bytes find room. */
  roomFor(inode: Inode, position: number, length: number): number {
    if (this.#capacityBytes === Number.MAX_SAFE_INTEGER) return length;
    const free = this.freeBytes();
    if (inode.newBlocks(position, length) * BLOCK_BYTES <= free) return length;
    let room = 0;
    for (let end = BLOCK_BYTES - (position % BLOCK_BYTES); end < length; end += BLOCK_BYTES) {
      if (inode.newBlocks(position, end) * BLOCK_BYTES > free) break;
      room = end;
    }
    return room;
  }

  /** An integer in [0, limit) for the shape of a fault. */
  draw(limit: number): number {
    return this.#damage.below(limit);
  }

  #enqueue(boot: number, waiting: Waiting): void {
    if (boot !== this.#boot) return;
    this.#waiting.push(waiting);
    if (this.#pumping) return;
    this.#pumping = true;
    setImmediate(() => this.#pump());
  }

  /** Carries out steps until one call has returned; the next in the next turn of the loop. */
  #pump(): void {
    this.#pumping = false;
    let returned = false;
    while (!returned && this.#waiting.length > 0) {
      const ready = this.#waiting.filter((waiting) => waiting.notBefore <= this.#steps);
      this.#steps += 1;
      if (ready.length > 0) {
        const next = this.#order.pick(ready);
        returned = next.step();
        if (returned) this.#waiting = this.#waiting.filter((waiting) => waiting !== next);
      }
      if (this.#steps >= this.#cutAt) this.cutPower();
    }
    if (this.#waiting.length === 0 || this.#pumping) return;
    this.#pumping = true;
    setImmediate(() => this.#pump());
  }

  #note(line: string): void {
    if (this.#trace === undefined) return;
    this.#trace.push(`${this.#steps} ${line}`);
    if (this.#trace.length > TRACE_LINES) this.#trace.shift();
  }
}

class Mount implements Files {
  readonly #disk: SimulatedDisk;
  readonly #boot: number;

  constructor(disk: SimulatedDisk, boot: number) {
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
    return this.#disk.perform(this.#boot, 'sync-directory', directory, (fault) => {
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
    return this.#disk.perform(this.#boot, operation, path, () => ({ finish }));
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
  readonly #disk: SimulatedDisk;
  readonly #boot: number;
  readonly #inode: Inode;
  readonly #options: OpenOptions;
  #closed = false;

  constructor(disk: SimulatedDisk, opened: OpenedAs) {
    this.#disk = disk;
    this.path = opened.path;
    this.#boot = opened.boot;
    this.#inode = opened.inode;
    this.#options = opened.options;
  }

  async read(into: Uint8Array, position: number): Promise<number> {
    assertPosition(position);
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

  async write(bytes: Uint8Array, position: number): Promise<number> {
    assertPosition(position);
    return this.#call('write', (fault) => {
      if (this.#options.access === 'read') throw ioError('EBADF', 'write', this.path);
      let change: Change | undefined;
      let count = 0;
      return {
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

  async truncate(length: number): Promise<void> {
    assertPosition(length);
    return this.#call('truncate', () => ({
      finish: () => {
        if (this.#options.access === 'read') throw ioError('EINVAL', 'truncate', this.path);
        this.#inode.truncate(length).returned = true;
      },
    }));
  }

  async close(): Promise<void> {
    await this.#call('close', () => ({ finish: () => this.#disk.letGo(this.#inode) }));
  }

  #call<Result>(
    operation: Operation,
    steps: (fault: ArmedFault | undefined) => Steps<Result>,
  ): Promise<Result> {
    if (this.#closed) return Promise.reject(ioError('EBADF', operation, this.path));
    if (operation === 'close') this.#closed = true;
    return this.#disk.perform(this.#boot, operation, this.path, steps);
  }

  #countToWrite(bytes: Uint8Array, position: number, fault: ArmedFault | undefined): number {
    const room = this.#disk.roomFor(this.#inode, position, bytes.length);
    switch (fault?.fault.kind) {
      case 'short':
        return bytes.length > 1 ? Math.min(room, 1 + this.#disk.draw(bytes.length - 1)) : room;
      case 'eio':
      case 'enospc':
        return Math.min(room, this.#disk.draw(bytes.length + 1));
      default:
        return room;
    }
  }
}

function flipSomeBit(disk: SimulatedDisk, bytes: Uint8Array): void {
  if (bytes.length === 0) return;
  const at = disk.draw(bytes.length);
  bytes[at] = (bytes[at] as number) ^ (1 << disk.draw(8));
}

function assertPosition(position: number): void {
  if (Number.isSafeInteger(position) && position >= 0) return;
  throw ioError('ERR_OUT_OF_RANGE', 'use', String(position));
}

export function ioError(code: string, operation: string, path: string): NodeJS.ErrnoException {
  return Object.assign(new Error(`${code}: simulated, ${operation} '${path}'`), {
    code,
    syscall: operation,
    path,
  });
}
