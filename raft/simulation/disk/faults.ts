/**
 * Faults to inject into a simulated disk: what goes wrong, on which call, how often.
 *
 * A fault counts its hits, because a fault that was requested and never happened proves nothing:
 * tests assert `hits`.
 */

export type Operation =
  | 'open'
  | 'read'
  | 'write'
  | 'sync'
  | 'size'
  | 'truncate'
  | 'close'
  | 'list'
  | 'make-directory'
  | 'sync-directory'
  | 'rename'
  | 'link'
  | 'remove'
  | 'space';

/**
 * - `eio`: the call fails. A write may have reached the disk in part; after a failed sync the next
 *   one succeeds without the data, as on Linux.
 * - `enospc`: a write fails for want of room, perhaps with a part written.
 * - `short`: a read or write carries fewer bytes than asked, and says so.
 * - `slow`: the call waits for `steps` steps of the disk. `hung`: it returns after `release()`.
 * - `lost`: a write returns and never happens. `misdirected`: it lands one or more sectors away.
 * - `flipped`: one bit of the bytes read or written is wrong.
 */
export type FaultKind =
  | 'eio'
  | 'enospc'
  | 'short'
  | 'slow'
  | 'hung'
  | 'lost'
  | 'misdirected'
  | 'flipped';

export interface Fault {
  readonly kind: FaultKind;
  readonly on: Operation;
  readonly path?: RegExp;
  /** Calls that match and pass before the first that is hit. Default 0. */
  readonly after?: number;
  /** Calls that are hit. Default 1. */
  readonly times?: number;
  /** For `slow`: steps of the disk to wait. Default 20. */
  readonly steps?: number;
}

export interface InjectedFault {
  readonly hits: number;
  /** Lets calls that hang go on, and stops the fault. */
  release(): void;
}

export class Faults {
  readonly #armed: ArmedFault[] = [];

  inject(fault: Fault): InjectedFault {
    const armed = new ArmedFault(fault);
    this.#armed.push(armed);
    return armed;
  }

  clear(): void {
    for (const fault of this.#armed.splice(0)) fault.release();
  }

  /** The fault that this call meets; counts it. At most one. */
  meet(operation: Operation, path: string): ArmedFault | undefined {
    return this.#armed.find((fault) => fault.meets(operation, path));
  }
}

export class ArmedFault implements InjectedFault {
  readonly fault: Fault;
  #hits = 0;
  #passed = 0;
  #over = false;
  #hanging: (() => void)[] = [];

  constructor(fault: Fault) {
    this.fault = fault;
  }

  get hits(): number {
    return this.#hits;
  }

  meets(operation: Operation, path: string): boolean {
    const { on, path: wanted, after = 0, times = 1 } = this.fault;
    if (this.#over || on !== operation || this.#hits >= times) return false;
    if (wanted !== undefined && !wanted.test(path)) return false;
    if (this.#passed < after) {
      this.#passed += 1;
      return false;
    }
    this.#hits += 1;
    return true;
  }

  hang(goOn: () => void): void {
    if (this.#over) goOn();
    else this.#hanging.push(goOn);
  }

  release(): void {
    this.#over = true;
    for (const goOn of this.#hanging.splice(0)) goOn();
  }
}
