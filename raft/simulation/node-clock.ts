/**
 * The port `Clock` of one life of a simulated process, over the clock of its machine.
 *
 * While the process is paused, what is due waits; when the life is over, it never comes. What an
 * action throws is told to whoever watches, because in a simulation nobody else would hear of it.
 */

import type { Clock, Timer } from '../host/ports.ts';
import type { Kernel } from './kernel.ts';
import type { VirtualClock } from './virtual-clock.ts';
import { repeated } from './repeated.ts';

const HELD_MAX = 100_000;

export class Process {
  readonly #threw: (error: unknown) => void;
  #paused = false;
  #over = false;
  #held: (() => void)[] = [];

  constructor(threw: (error: unknown) => void) {
    this.#threw = threw;
  }

  get isOver(): boolean {
    return this.#over;
  }

  get isPaused(): boolean {
    return this.#paused;
  }

  /** Now, after the pause, or never. */
  run(action: () => void): void {
    if (this.#over) return;
    if (this.#paused) {
      if (this.#held.length < HELD_MAX) this.#held.push(action);
      return;
    }
    try {
      action();
    } catch (error) {
      this.#threw(error);
    }
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    const held = this.#held;
    this.#held = [];
    for (const action of held) this.run(action);
  }

  end(): void {
    this.#over = true;
    this.#held = [];
  }
}

const RESOLVED = Promise.resolve();

export class NodeClock implements Clock {
  readonly #kernel: Kernel;
  readonly #machine: VirtualClock;
  readonly #process: Process;

  constructor(kernel: Kernel, machine: VirtualClock, process: Process) {
    this.#kernel = kernel;
    this.#machine = machine;
    this.#process = process;
  }

  monotonicMs(): number {
    return this.#machine.monotonicMs();
  }

  after(ms: number, action: () => void): Timer {
    return this.#machine.after(ms, () => this.#process.run(action));
  }

  every(ms: number, action: () => void): Timer {
    return repeated(this, ms, action);
  }

  soon(action: () => void): void {
    // Cheaper than `queueMicrotask`, which makes an asynchronous resource each time.
    void RESOLVED.then(() => this.#process.run(action));
  }

  later(action: () => void): void {
    this.#kernel.after(1, () => this.#process.run(action));
  }
}
