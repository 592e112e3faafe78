/**
 * The durable side of one replica where the core is driven alone: log, hard state and checkpoint in
 * memory, behind one ordered stream of writes.
 *
 * One write is under way at a time, and takes all that has waited for it, as the storage engine
 * does. A crash keeps some first part of what was under way, cut anywhere between two steps of it,
 * and nothing of what waited. What was told durable survives.
 */

import type { ConfigurationAt, Entry, HardState, Persist, Recovered, TermStart } from '../raft.ts';
import type { Kernel } from './kernel.ts';
import type { DiskFault } from './node.ts';
import type { Random } from './random.ts';
import type { MachineState } from './state-machine.ts';
import { StoredDamage } from './stored-damage.ts';
import { emptyCheckpoint } from './stored-checkpoint.ts';
import type { StoredCheckpoint } from './stored-checkpoint.ts';

const WRITE_LEAST_US = 50;
const WRITE_MOST_US = 2000;
const SLOW_MOST_US = 400_000;

export type WriteOutcome = 'durable' | 'failed';

type Step = () => void;

interface Write {
  readonly steps: readonly Step[];
  readonly done: (outcome: WriteOutcome) => void;
}

export class SimulatedStore {
  /** Faults under way, each as often as it was asked for. */
  readonly #broken: DiskFault[] = [];
  readonly #kernel: Kernel;
  readonly #random: Random;
  readonly #name: string;
  readonly #configuration: ConfigurationAt;
  #wipes = 0;
  #hardState: HardState = { term: 0, vote: undefined };
  #checkpoint: StoredCheckpoint;
  #start = 1;
  #termBeforeStart = 0;
  #entries: Entry[] = [];
  #damage = new StoredDamage();
  #underWay: readonly Write[] = [];
  #waiting: Write[] = [];
  #boot = 0;
  #replaced = false;
  /** Nothing is written after a write that failed, until a crash. */
  #hasFailed = false;

  constructor(kernel: Kernel, name: string, configuration: ConfigurationAt) {
    this.#kernel = kernel;
    this.#name = name;
    this.#configuration = configuration;
    this.#random = kernel.stream(`disk ${name}`);
    this.#checkpoint = emptyCheckpoint(configuration);
  }

  /** Of the log that it has. */
  get incarnation(): string {
    return `${this.#name}disk${this.#wipes}`;
  }

  /** While the replica is down: another store, with nothing in it. */
  wipe(): void {
    this.#wipes += 1;
    this.#hardState = { term: 0, vote: undefined };
    this.#checkpoint = emptyCheckpoint(this.#configuration);
    this.#start = 1;
    this.#termBeforeStart = 0;
    this.#entries = [];
    this.#damage = new StoredDamage();
    this.#replaced = false;
  }

  get checkpoint(): StoredCheckpoint {
    return this.#checkpoint;
  }

  get start(): number {
    return this.#start;
  }

  get hardState(): HardState {
    return this.#hardState;
  }

  /** Durable entries, from `start` on. */
  get entries(): readonly Entry[] {
    return this.#entries;
  }

  /** Whether a state from a peer took the log's place since this was asked last. */
  takeReplaced(): boolean {
    const replaced = this.#replaced;
    this.#replaced = false;
    return replaced;
  }

  /** Undefined: there is no such fault here. */
  break(fault: DiskFault): (() => void) | undefined {
    if (fault === 'full' || fault === 'short writes') return undefined;
    this.#broken.push(fault);
    return () => void this.#broken.splice(this.#broken.indexOf(fault), 1);
  }

  recovered(): Recovered {
    const terms: TermStart[] = [];
    const configurations = [this.#checkpoint.configuration];
    for (const entry of this.#entries) {
      if (this.#damage.hides(entry.index)) continue;
      if (terms.at(-1)?.term !== entry.term) {
        terms.push({ term: entry.term, firstIndex: entry.index });
      }
      const { configuration, index } = entry;
      if (configuration !== undefined && index > this.#checkpoint.index) {
        configurations.push({ index, configuration });
      }
    }
    return {
      hardState: this.#hardState,
      start: this.#start,
      termBeforeStart: this.#termBeforeStart,
      last: this.#last,
      terms,
      configurations,
      applied: this.#checkpoint.index,
      faulty: this.#damage.faulty(this.#entries),
      serveFrom: 0,
    };
  }

  get #last(): number {
    return this.#start + this.#entries.length - 1;
  }

  /** Something was durable and cannot be read any more, or its end was lost and is not back. */
  get isDamaged(): boolean {
    return !this.#damage.isEmpty || this.#hardState.tailLost === true;
  }

  get damaged(): readonly number[] {
    return this.#damage.indexes;
  }

  /** While the replica is down: some entries go bad. Says which; undefined: there are none. */
  damage(random: Random): string | undefined {
    const lost = this.#damage.strike(this.#entries, this.#checkpoint.index, random);
    if (lost === undefined) return undefined;
    this.#entries.length = Math.min(this.#entries.length, lost.entriesLeft);
    return lost.text;
  }

  /** Durable and sound, at least the first; undefined where there is none. */
  read(from: number, through: number, maxBytes: number): Entry[] | undefined {
    if (from < this.#start) return undefined;
    const found: Entry[] = [];
    let bytes = 0;
    for (const entry of this.#entries.slice(from - this.#start, through - this.#start + 1)) {
      bytes += entry.payload.length;
      if (this.#damage.hides(entry.index)) break;
      if (found.length > 0 && bytes > maxBytes) break;
      found.push(entry);
    }
    return found;
  }

  /** `state` goes with a snapshot. */
  write(
    persist: Persist,
    state: MachineState | undefined,
    done: (outcome: WriteOutcome) => void,
  ): void {
    this.#add({ steps: this.#stepsOf(persist, state), done });
  }

  saveCheckpoint(checkpoint: StoredCheckpoint, done: (outcome: WriteOutcome) => void): void {
    const save = (): void => {
      if (checkpoint.index > this.#checkpoint.index) this.#checkpoint = checkpoint;
    };
    this.#add({ steps: [save], done });
  }

  /** Everything below goes, in the order of the stream. */
  truncatePrefix(firstKept: number, done: (outcome: WriteOutcome) => void): void {
    this.#add({ steps: [() => this.#cutPrefix(firstKept)], done });
  }

  crash(): void {
    const steps = this.#underWay.flatMap((write) => write.steps);
    const kept = this.#random.pick([0, steps.length, this.#random.below(steps.length + 1)]);
    for (const step of steps.slice(0, kept)) step();
    this.#boot += 1;
    this.#hasFailed = false;
    this.#underWay = [];
    this.#waiting = [];
  }

  #stepsOf(persist: Persist, state: MachineState | undefined): Step[] {
    const { hardState, snapshot, truncateAfter, entries, repaired } = persist;
    const steps: Step[] = [];
    if (hardState !== undefined) steps.push(() => (this.#hardState = hardState));
    if (snapshot !== undefined) {
      const { index, term, configuration, keepSuffix } = snapshot;
      if (state === undefined) throw new Error('a checkpoint is installed without a state');
      steps.push(() => {
        this.#checkpoint = { index, term, configuration, state };
        if (keepSuffix) this.#cutPrefix(index + 1);
        else this.#restart(index, term);
      });
    }
    if (truncateAfter !== undefined) steps.push(() => this.#cutSuffix(truncateAfter));
    for (const entry of entries) steps.push(() => this.#append(entry));
    for (const entry of repaired) steps.push(() => this.#repair(entry));
    return steps;
  }

  #append(entry: Entry): void {
    if (this.#damage.isEndUnknown || entry.index !== this.#last + 1) {
      throw new Error(`entry ${entry.index} is written behind ${this.#last}`);
    }
    this.#entries.push(entry.local === undefined ? entry : { ...entry, local: undefined });
  }

  #repair(entry: Entry): void {
    if (!this.#damage.hides(entry.index)) throw new Error(`entry ${entry.index} is sound`);
    this.#entries[entry.index - this.#start] = { ...entry, local: undefined };
    this.#damage.repaired(entry.index);
  }

  #cutSuffix(lastKept: number): void {
    this.#damage.cutSuffix(lastKept);
    this.#entries.length = Math.min(this.#entries.length, lastKept - this.#start + 1);
  }

  #cutPrefix(firstKept: number): void {
    if (firstKept <= this.#start) return;
    const before = this.#entries[firstKept - 1 - this.#start];
    if (before === undefined) throw new Error(`the log ends before ${firstKept - 1}`);
    this.#termBeforeStart = before.term;
    this.#entries = this.#entries.slice(firstKept - this.#start);
    this.#start = firstKept;
    this.#damage.cutPrefix(firstKept);
  }

  #restart(index: number, term: number): void {
    this.#replaced = true;
    this.#damage.cutSuffix(0);
    this.#start = index + 1;
    this.#termBeforeStart = term;
    this.#entries = [];
  }

  #add(write: Write): void {
    this.#waiting.push(write);
    this.#next();
  }

  #next(): void {
    if (this.#hasFailed || this.#underWay.length > 0 || this.#waiting.length === 0) return;
    this.#underWay = this.#waiting;
    this.#waiting = [];
    this.#wait(this.#boot);
  }

  /** A hung disk is looked at again; a crash ends the waiting. */
  #wait(boot: number): void {
    const mostUs = this.#broken.includes('slow') ? SLOW_MOST_US : WRITE_MOST_US;
    this.#kernel.after(this.#random.between(WRITE_LEAST_US, mostUs), () => {
      if (boot !== this.#boot) return;
      if (this.#broken.includes('hung')) this.#wait(boot);
      else this.#complete();
    });
  }

  #complete(): void {
    const writes = this.#underWay;
    const failing = this.#broken.includes('failing');
    this.#hasFailed = failing;
    const steps = writes.flatMap((write) => write.steps);
    const kept = failing ? this.#random.below(steps.length + 1) : steps.length;
    for (const step of steps.slice(0, kept)) step();
    this.#underWay = [];
    const boot = this.#boot;
    for (const { done } of writes) {
      if (boot !== this.#boot) return;
      done(failing ? 'failed' : 'durable');
    }
    this.#next();
  }
}
