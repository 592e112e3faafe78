/**
 * A disk in memory behind the port `storage/files.ts`, with power cuts and injected faults,
 * deterministic from its seed.
 *
 * Calls wait in a pool, and the seed draws which is carried out next; one call completes in each
 * turn of the event loop, so that whatever it lets run has run before the next. A write and a sync
 * have two steps: they take effect, and they return. A power cut may come between any two steps;
 * what it leaves is decided in `inode.ts` and `names.ts`. After it,
 * calls of that boot never return; `mount()` gives a fresh view of what was left, as for a new
 * process.
 *
 *   const disk = new SimulatedDisk({ seed });
 *   disk.cutPowerAfter(120);
 *   const outcome = await disk.run(workload(disk.mount()));  // { cut: true }, or a value
 *   const recovered = await Log.open({ files: disk.mount(), ... });
 */
import type { Files } from '#storage';
import {
  Faults,
  type ArmedFault,
  type Fault,
  type InjectedFault,
  type Operation,
} from './faults.ts';
import { BLOCK_BYTES, type Inode, SECTOR_BYTES } from './inode.ts';
import { type DiskCall, ioError, Mount, type MountedDisk, type Steps } from './mount.ts';
import { DIRECTORY, Names } from './names.ts';
import { Random } from '../random.ts';

export interface SimulatedDiskOptions {
  readonly seed: number | string;
  /** Default: without end. */
  readonly capacityBytes?: number;
  /** Keeps the last lines of what the disk did, for a failing test to print. */
  readonly trace?: boolean;
  /**
   * When the next call is carried out. Default: in the next turn of the event loop; a simulation
   * gives its own clock.
   */
  later?(run: () => void): void;
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

export class SimulatedDisk implements MountedDisk {
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
  readonly #later: (run: () => void) => void;
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
    this.#later = (run) => {
      if (options.later === undefined) setImmediate(run);
      else options.later(run);
    };
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

  /**
   * Resolves when no call has been waiting for some turns of the event loop (hung calls do not
   * count); never, if the power goes first: who waits has died with it.
   */
  async settled(): Promise<void> {
    const boot = this.#boot;
    for (let idle = 0; idle < 4; idle = this.#waiting.length === 0 ? idle + 1 : 0) {
      await new Promise((resolve) => setImmediate(resolve));
      if (boot !== this.#boot) await new Promise<never>(() => undefined);
    }
  }

  /**
   * The power goes now. `keep`: the chance that what was not synced is there; drawn if not given.
   */
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

  /** An empty disk takes its place; the power goes with it. */
  wipe(): void {
    this.cutPower(0);
    this.names.wipe();
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
    call: DiskCall,
    steps: (fault: ArmedFault | undefined) => Steps<Result>,
  ): Promise<Result> {
    const { boot, operation, path } = call;
    return new Promise((resolve, reject) => {
      if (boot !== this.#boot) return;
      this.calls.set(operation, (this.calls.get(operation) ?? 0) + 1);
      const fault = this.#faults.meet(operation, path);
      const kind = fault?.fault.kind;
      const { effect, finish, detail } = steps(fault);
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
          if (this.#trace !== undefined) {
            const hit = kind === undefined ? '' : ` [${kind}]`;
            this.#note(`${operation} ${path}${detail?.() ?? ''}${hit}`);
          }
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
    this.#pumpLater();
  }

  /**
   * Carries out steps until one call has returned; the next in the next turn of the loop. Where the
   * power goes with a call that has just returned, what it lets run still runs: in this turn.
   */
  #pump(): void {
    this.#pumping = false;
    let returned = false;
    while (!returned && this.#waiting.length > 0) {
      if (this.#steps >= this.#cutAt) return this.cutPower();
      const next = this.#drawReady();
      this.#steps += 1;
      if (next === undefined) continue;
      returned = next.step();
      if (returned) this.#waiting = this.#waiting.filter((waiting) => waiting !== next);
    }
    if (this.#waiting.length > 0) this.#pumpLater();
  }

  #drawReady(): Waiting | undefined {
    const steps = this.#steps;
    const isReady = ({ notBefore }: Waiting): boolean => notBefore <= steps;
    const ready = this.#waiting.every(isReady) ? this.#waiting : this.#waiting.filter(isReady);
    return ready.length === 0 ? undefined : this.#order.pick(ready);
  }

  #pumpLater(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    this.#later(() => this.#pump());
  }

  #note(line: string): void {
    if (this.#trace === undefined) return;
    this.#trace.push(`${this.#steps} ${line}`);
    if (this.#trace.length > TRACE_LINES) this.#trace.shift();
  }
}
