/**
 * The applying side of one life of a replica: applies committed entries to its machine a
 * little later, tells the checks, and answers whoever proposed them.
 *
 * An entry that was accepted at an index and a term is answered by what is applied there: the same
 * term proves it committed, another one that it was overwritten (it may stand elsewhere none the
 * less).
 */

import type { Entry } from '../raft.ts';
import type { Counters } from './counters.ts';
import type { Kernel } from './kernel.ts';
import type { ProposeOutcome, ReadOutcome } from './node.ts';
import type { Random } from './random.ts';
import type { SafetyChecks } from './safety-checks.ts';
import type { MachineKind, SimulatedMachine } from './state-machine.ts';

export interface ApplierOptions {
  readonly id: string;
  readonly kernel: Kernel;
  readonly random: Random;
  readonly checks: SafetyChecks;
  readonly counters: Counters;
  readonly machines: MachineKind;
  /** Carries out what is due in this life: now, after a pause, or never. */
  run(action: () => void): void;
  /** Everything up to here is applied. */
  applied(index: number): void;
}

interface Proposal {
  readonly term: number;
  readonly client: string;
  readonly done: (outcome: ProposeOutcome) => void;
}

const APPLY_MOST_US = 1500;

export class Applier {
  readonly machine: SimulatedMachine;
  readonly #options: ApplierOptions;
  readonly #proposals = new Map<number, Proposal>();
  #entries: Entry[] = [];
  #applying = false;
  #term = 0;

  constructor(options: ApplierOptions) {
    this.#options = options;
    this.machine = options.machines.make();
  }

  /** Of the last entry that was applied in this life. */
  get appliedTerm(): number {
    return this.#term;
  }

  proposed(index: number, proposal: Proposal): void {
    this.#proposals.get(index)?.done({ kind: 'unknown' });
    this.#proposals.set(index, proposal);
  }

  read(client: string): ReadOutcome {
    return { kind: 'read', index: this.machine.applied, upTo: this.machine.lastOf(client) };
  }

  apply(entries: readonly Entry[]): void {
    this.#entries.push(...entries);
    if (this.#applying) return;
    this.#applying = true;
    const { kernel, random } = this.#options;
    kernel.after(random.below(APPLY_MOST_US), () => this.#options.run(() => this.#applyNow()));
  }

  #applyNow(): void {
    this.#applying = false;
    const { id, checks } = this.#options;
    const entries = this.#entries;
    this.#entries = [];
    for (const { index, term, payload } of entries) {
      this.machine.apply(index, term, payload);
      this.#term = term;
      checks.applied(id, index, this.machine.digest);
      this.#settle(index, term);
    }
    this.#options.applied(this.machine.applied);
  }

  #settle(index: number, term: number): void {
    const proposal = this.#proposals.get(index);
    if (proposal === undefined) return;
    this.#proposals.delete(index);
    if (proposal.term === term) {
      const upTo = this.machine.lastOf(proposal.client);
      proposal.done({ kind: 'applied', index, upTo });
      return;
    }
    this.#options.counters.add('rare: proposal overwritten');
    proposal.done({ kind: 'unknown' });
  }
}
