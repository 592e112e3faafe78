/**
 * The clients of a simulation: each sends its numbers in order, several at a time, to whoever
 * leads, and again from the last one that was confirmed whenever it does not know what came of
 * them.
 *
 * An outcome that is unknown stays so: what timed out may be applied later. A read must be at least
 * as new as everything that anybody had been told when it was asked (thesis 6.4).
 */

import type { Counters } from './counters.ts';
import type { Kernel } from './kernel.ts';
import type { ProposeOutcome, ReadOutcome, SimulatedNode } from './node.ts';
import type { Random } from './random.ts';
import { violation } from './violation.ts';

const PATIENCE_US = 1_500_000;
const BACK_OFF_US = 60_000;

/** What anybody was told, in the order of the index. */
export interface Told {
  index: number;
}

export interface ClientOptions {
  readonly name: string;
  readonly kernel: Kernel;
  readonly counters: Counters;
  readonly told: Told;
  readonly windowBatches: number;
  readonly thinkUs: number;
  nodes(): readonly SimulatedNode[];
}

export class Client {
  readonly name: string;
  readonly #options: ClientOptions;
  readonly #random: Random;
  #target: string | undefined;
  #confirmed = 0;
  #sent = 0;
  #highest = 0;
  #underWay = 0;
  /** Grows whenever it starts again from what was confirmed: older answers steer nothing. */
  #round = 0;
  #stopped = false;
  #notBeforeUs = 0;

  constructor(options: ClientOptions) {
    this.name = options.name;
    this.#options = options;
    this.#random = options.kernel.stream(`workload ${options.name}`);
    this.#later(options.thinkUs);
  }

  /** The highest number that it was told to be applied. */
  get confirmed(): number {
    return this.#confirmed;
  }

  /** The highest number that it ever sent. */
  get highest(): number {
    return this.#highest;
  }

  /** No new numbers; what was sent is still brought to its end. */
  stop(): void {
    this.#stopped = true;
  }

  goOn(): void {
    this.#stopped = false;
  }

  get idle(): boolean {
    return this.#confirmed === this.#highest;
  }

  #later(delayUs: number): void {
    this.#options.kernel.after(this.#random.between(1, 2 * delayUs), () => this.#act());
  }

  #act(): void {
    const { windowBatches, thinkUs, kernel } = this.#options;
    this.#later(thinkUs);
    if (this.#random.chance(0.1)) this.#read();
    if (this.#underWay >= windowBatches || kernel.nowUs < this.#notBeforeUs) return;
    const numbers: number[] = [];
    const most = this.#stopped ? this.#highest : this.#sent + this.#random.between(1, 3);
    for (let number = this.#sent + 1; number <= most; number += 1) numbers.push(number);
    if (numbers.length > 0) this.#propose(numbers);
  }

  #propose(numbers: readonly number[]): void {
    const node = this.#node();
    if (node === undefined) return;
    const { kernel, counters } = this.#options;
    const round = this.#round;
    this.#sent = numbers.at(-1) ?? this.#sent;
    this.#highest = Math.max(this.#highest, this.#sent);
    this.#underWay += 1;
    counters.add('proposals');
    let over = false;
    const end = (outcome: ProposeOutcome): void => {
      // The truth is the truth, however late.
      if (outcome.kind === 'applied') this.#applied(outcome.index, outcome.upTo);
      if (over) return;
      over = true;
      patience.cancel();
      this.#underWay -= 1;
      if (round === this.#round) this.#steer(numbers, outcome);
    };
    const patience = kernel.after(PATIENCE_US, () => {
      counters.add('proposals timed out');
      end({ kind: 'unknown' });
    });
    node.propose(this.name, numbers, end);
  }

  #applied(index: number, upTo: number): void {
    const { told, counters } = this.#options;
    if (upTo > this.#confirmed) counters.add('confirmed', upTo - this.#confirmed);
    this.#confirmed = Math.max(this.#confirmed, upTo);
    told.index = Math.max(told.index, index);
  }

  #steer(numbers: readonly number[], outcome: ProposeOutcome): void {
    const wanted = numbers.at(-1) ?? 0;
    if (outcome.kind === 'applied' && outcome.upTo >= wanted) return;
    this.#round += 1;
    this.#sent = this.#confirmed;
    this.#target = outcome.kind === 'refused' ? outcome.leader : undefined;
    if (outcome.kind === 'refused') {
      const { kernel } = this.#options;
      this.#notBeforeUs = kernel.nowUs + (outcome.leader === undefined ? BACK_OFF_US : 0);
    }
  }

  #read(): void {
    const node = this.#anyNode();
    if (node === undefined) return;
    const { told, counters } = this.#options;
    const floor = told.index;
    const confirmed = this.#confirmed;
    const asked = node.id;
    node.read(this.name, (outcome: ReadOutcome) => {
      if (outcome.kind === 'refused') return counters.add('reads refused');
      counters.add('reads');
      if (outcome.index < floor || outcome.upTo < confirmed) {
        const got = `${asked} answers at ${outcome.index} with ${outcome.upTo}`;
        violation('fresh reads', `${got}; ${floor} and ${confirmed} were known before`);
      }
      told.index = Math.max(told.index, outcome.index);
    });
  }

  #node(): SimulatedNode | undefined {
    const found = this.#options.nodes().find(({ id }) => id === this.#target);
    if (found?.state === 'up') return found;
    this.#target = this.#anyNode()?.id;
    return this.#options.nodes().find(({ id }) => id === this.#target);
  }

  #anyNode(): SimulatedNode | undefined {
    const up = this.#options.nodes().filter(({ state }) => state === 'up');
    return up.length === 0 ? undefined : this.#random.pick(up);
  }
}
