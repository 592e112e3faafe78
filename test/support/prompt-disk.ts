/**
 * The simulated disk without its pool of calls: what is called is carried out at once, so that a
 * schedule of thousands of steps stays fast. What a power cut leaves is the same (`inode.ts`,
 * `names.ts`): of what was not synced each sector and each name is kept or lost by itself. Writes
 * and syncs take a turn of the event loop, now and then many, between their effect and their end,
 * in which the power may go.
 */

import type { Files } from '../../storage/files.ts';
import type {
  ArmedFault,
  Fault,
  InjectedFault,
  Operation,
} from '../../raft/simulation/disk/faults.ts';
import { Faults } from '../../raft/simulation/disk/faults.ts';
import type { Inode } from '../../raft/simulation/disk/inode.ts';
import { Mount, ioError } from '../../raft/simulation/disk/mount.ts';
import type { DiskCall, MountedDisk, Steps } from '../../raft/simulation/disk/mount.ts';
import { DIRECTORY, Names } from '../../raft/simulation/disk/names.ts';
import type { Random } from '../../raft/simulation/random.ts';
import { turn } from './shard-world.ts';

const LATE = 0.15;
const LATE_TURNS = 40;

export class PromptDisk implements MountedDisk {
  readonly names = new Names();
  readonly capacityBytes = 2 ** 50;
  /** Called before each call; may wait. */
  before: (operation: Operation, path: string) => Promise<void> | void = () => undefined;
  readonly #random: Random;
  readonly #faults = new Faults();
  #boot = 0;

  constructor(random: Random) {
    this.#random = random;
  }

  /** As a process sees it that started now. */
  mount(): Files {
    return new Mount(this, this.#boot);
  }

  inject(fault: Fault): InjectedFault {
    return this.#faults.inject(fault);
  }

  clearFaults(): void {
    this.#faults.clear();
  }

  /** Calls under way never return. `keep`: the chance of what was not synced. */
  cutPower(keep: number): void {
    this.#boot += 1;
    this.names.crash(this.#random, keep);
    for (const inode of this.names.inodes()) inode.crash(this.#random, keep);
  }

  /** An empty disk takes its place; the power goes with it. */
  wipe(): void {
    this.cutPower(0);
    this.names.wipe();
  }

  /** As a process would read it now; undefined: there is no such file. */
  textOf(path: string): string | undefined {
    const entry = this.names.get(path);
    if (entry === undefined || entry === DIRECTORY) return undefined;
    const bytes = new Uint8Array(entry.size);
    entry.read(bytes, 0);
    return new TextDecoder().decode(bytes);
  }

  // --- What `Mount` and its handles call.

  async perform<Result>(
    { boot, operation, path }: DiskCall,
    steps: (fault: ArmedFault | undefined) => Steps<Result>,
  ): Promise<Result> {
    await this.before(operation, path);
    await this.#isOn(boot);
    const fault = this.#faults.meet(operation, path);
    const { effect, finish } = steps(fault);
    if (fault?.fault.kind === 'eio' && effect === undefined) throw ioError('EIO', operation, path);
    if (effect !== undefined) {
      effect();
      const turns = this.#random.chance(LATE) ? this.#random.between(1, LATE_TURNS) : 1;
      for (let left = turns; left > 0; left -= 1) await turn();
      await this.#isOn(boot);
    }
    return finish();
  }

  inode(path: string, operation: string): Inode {
    const entry = this.names.get(path);
    if (entry === undefined) throw ioError('ENOENT', operation, path);
    if (entry === DIRECTORY) throw ioError('EISDIR', operation, path);
    return entry;
  }

  hold(inode: Inode): void {
    inode.handles += 1;
  }

  letGo(inode: Inode): void {
    inode.handles -= 1;
  }

  freeBytes(): number {
    return this.capacityBytes / 2;
  }

  roomFor(_inode: Inode, _position: number, length: number): number {
    return length;
  }

  draw(limit: number): number {
    return this.#random.below(limit);
  }

  /** A process that lost its power hears nothing any more. */
  #isOn(boot: number): Promise<void> | void {
    if (boot !== this.#boot) return new Promise(() => undefined);
  }
}
