/**
 * A replica whose core is driven alone, over a store in memory: what a host does with a `Ready`,
 * without its disk and its streams.
 *
 * It tells the checks what it gives to its disk, what became durable and what it applied; the core
 * is not asked for these. Checkpoints of others travel as one message over the same faulty network.
 */

import { Raft } from '../raft.ts';
import type {
  CatchUp,
  Changed,
  Checkpoint,
  ConfigurationAt,
  Fetch,
  Limits,
  MembershipChange,
  Message,
  Persist,
  Read,
  Ready,
  Transferred,
} from '../raft.ts';
import { Applier } from './applier.ts';
import type { Counters } from './counters.ts';
import type { Kernel } from './kernel.ts';
import { viewOf, votersOf } from './node.ts';
import type { DiskFault, NodeState, ProposeOutcome, ReadOutcome, SimulatedNode } from './node.ts';
import type { Random } from './random.ts';
import type { ReplicaView, SafetyChecks } from './safety-checks.ts';
import type { SimulatedStore } from './simulated-store.ts';
import type { MachineKind, MachineState } from './state-machine.ts';
import type { StoredCheckpoint } from './stored-checkpoint.ts';
import type { VirtualClock } from './virtual-clock.ts';
import { mirrorOf, WriteWatch } from './write-watch.ts';

/** A checkpoint on its way to a replica that is behind the log's start, and its answer. */
export type Transfer =
  | {
      readonly kind: 'checkpoint';
      readonly from: string;
      readonly session: number;
      readonly stored: StoredCheckpoint;
    }
  | { readonly kind: 'checkpointEnded'; readonly from: string; readonly session: number };

export interface CoreNodeOptions {
  readonly id: string;
  readonly kernel: Kernel;
  readonly clock: VirtualClock;
  readonly store: SimulatedStore;
  readonly checks: SafetyChecks;
  readonly counters: Counters;
  readonly machines: MachineKind;
  readonly limits: Partial<Limits>;
  readonly tickMs: number;
  readonly checkpointEntries: number;
  /** Entries below a checkpoint that stay for replicas that are a little behind. */
  readonly keptEntries: number;
  send(to: string, message: Message | Transfer): void;
  /** A state from a peer is about to take the place of its log. */
  installing(): void;
  /** Something happened to it: whoever checks it looks again. */
  touched(): void;
  /** Its disk was wiped, and the cluster has told it so. */
  halted(): void;
  /** Its disk has stopped it. */
  failed(): void;
}

interface Reading {
  readonly client: string;
  readonly done: (outcome: ReadOutcome) => void;
}

/** One life of the replica: what a crash takes. */
interface Life {
  readonly raft: Raft;
  readonly applier: Applier;
  readonly watch: WriteWatch;
  readonly reads: Map<number, Reading>;
  checkpointing: boolean;
  offered: StoredCheckpoint | undefined;
  installing: StoredCheckpoint | undefined;
  /** Of whom a transfer was asked, and in which session. */
  readonly transfers: Map<string, number>;
  /** What happened while it was paused. */
  readonly held: (() => void)[];
}

const HELD_MAX = 10_000;
const TRANSFER_PATIENCE_MS = 2000;
const OFFER_AGAIN_MOST_MS = 1500;

export class CoreNode implements SimulatedNode {
  readonly id: string;
  readonly #options: CoreNodeOptions;
  readonly #random;
  #life: Life | undefined;
  #state: NodeState = 'down';
  #nextRead = 1;

  constructor(options: CoreNodeOptions) {
    this.id = options.id;
    this.#options = options;
    this.#random = options.kernel.stream(`node ${options.id}`);
  }

  get state(): NodeState {
    return this.#state;
  }

  view(): ReplicaView | undefined {
    const life = this.#life;
    if (life === undefined) return undefined;
    // A state that is being made durable counts for the core.
    const applied = life.installing?.index ?? life.applier.machine.applied;
    return viewOf(life.raft.cursors(), applied, this.#options.store.checkpoint.index);
  }

  start(): void {
    const { store, checks, id, limits } = this.#options;
    const recovered = store.recovered();
    checks.restarted(id, {
      checkpoint: store.checkpoint.index,
      start: recovered.start,
      entries: store.entries.map(mirrorOf),
      replaced: store.takeReplaced(),
      damaged: store.damaged,
      term: recovered.hardState.term,
      vote: recovered.hardState.vote ?? '',
      tailLost: recovered.hardState.tailLost === true,
      voteUnsure: false,
      voters: votersOf(store.checkpoint.configuration),
      unknownFrom:
        recovered.faulty.at(-1)?.through === undefined ? recovered.faulty.at(-1)?.from : undefined,
    });
    const random = this.#random;
    const raft = new Raft({
      id,
      recovered,
      incarnation: store.incarnation,
      limits,
      random: () => random.below(0x1_0000_0000) / 0x1_0000_0000,
    });
    const life: Life = {
      raft,
      applier: new Applier({
        ...this.#options,
        random,
        run: (action) => this.#run(life, action),
        applied: (index) => this.#applied(life, index),
      }),
      watch: new WriteWatch(id, checks),
      reads: new Map(),
      checkpointing: false,
      offered: undefined,
      installing: undefined,
      transfers: new Map(),
      held: [],
    };
    life.applier.machine.restore(store.checkpoint.state);
    this.#life = life;
    this.#state = 'up';
    this.#tickLater(life);
    this.#drain(life);
  }

  crash(): void {
    this.#options.store.crash();
    this.#life = undefined;
    this.#state = 'down';
  }

  stop(): void {
    this.crash();
  }

  pause(): void {
    if (this.#state === 'up') this.#state = 'paused';
  }

  resume(): void {
    const life = this.#life;
    if (this.#state !== 'paused' || life === undefined) return;
    this.#state = 'up';
    for (const action of life.held.splice(0)) if (this.#life === life) action();
  }

  receive(from: string, message: Message | Transfer): void {
    const life = this.#life;
    if (life === undefined) return;
    this.#run(life, () => {
      if (message.kind === 'checkpoint') this.#offered(life, from, message);
      else if (message.kind === 'checkpointEnded') this.#transferEnded(life, from, message.session);
      else life.raft.step(message);
    });
  }

  propose(
    client: string,
    numbers: readonly number[],
    done: (outcome: ProposeOutcome) => void,
  ): void {
    const life = this.#life;
    if (life === undefined || this.#state !== 'up')
      return done({ kind: 'refused', leader: undefined });
    const payload = this.#options.machines.encode(client, numbers);
    const proposed = life.raft.propose(payload);
    if (proposed.kind === 'refused') {
      this.#options.counters.add(`refused: ${proposed.code}`);
      done({ kind: 'refused', leader: proposed.leader });
    } else {
      const { index, term } = proposed;
      life.applier.proposed(index, { term, client, done });
    }
    this.#drain(life);
  }

  read(client: string, done: (outcome: ReadOutcome) => void): void {
    const life = this.#life;
    if (life === undefined || this.#state !== 'up') return done({ kind: 'refused' });
    const number = (this.#nextRead += 1);
    life.reads.set(number, { client, done });
    life.raft.readIndex(number);
    this.#drain(life);
  }

  change(change: MembershipChange): Changed | undefined {
    const life = this.#life;
    if (life === undefined || this.#state !== 'up') return undefined;
    const changed = life.raft.changeMembership(change);
    this.#drain(life);
    return changed;
  }

  transfer(to: string): Transferred | undefined {
    const life = this.#life;
    if (life === undefined || this.#state !== 'up') return undefined;
    const transferred = life.raft.transferLeadership(to);
    this.#drain(life);
    return transferred;
  }

  breakDisk(fault: DiskFault): (() => void) | undefined {
    return this.#options.store.break(fault);
  }

  damage(random: Random): string | undefined {
    return this.#options.store.damage(random);
  }

  wipe(): void {
    this.#options.store.wipe();
    this.#options.checks.wiped(this.id);
  }

  get isDamaged(): boolean {
    return this.#options.store.isDamaged;
  }

  voterSets(): readonly (readonly string[])[] {
    const { configurations } = this.#options.store.recovered();
    const stored = configurations.slice(-2).map(votersOf);
    const view = this.view();
    return view === undefined ? stored : [...stored, view.voters];
  }

  history(): ReadonlyMap<string, readonly number[]> {
    return this.#life?.applier.machine.history ?? new Map<string, readonly number[]>();
  }

  digest(): number {
    return this.#life?.applier.machine.digest ?? 0;
  }

  #tickLater(life: Life): void {
    const { clock, tickMs } = this.#options;
    clock.after(tickMs, () => {
      if (this.#life !== life || this.#state === 'failed') return;
      this.#tickLater(life);
      // Ticks that pass in a pause do not pile up.
      if (this.#state === 'up') this.#run(life, () => life.raft.tick());
    });
  }

  /** Carries out something that happened to this life: now, after the pause, or never. */
  #run(life: Life, action: () => void): void {
    if (this.#life !== life || this.#state === 'failed') return;
    if (this.#state === 'paused') {
      if (life.held.length < HELD_MAX) life.held.push(() => this.#run(life, action));
      return;
    }
    action();
    this.#drain(life);
  }

  #drain(life: Life): void {
    for (;;) {
      const ready = life.raft.ready();
      if (ready === undefined) break;
      this.#options.touched();
      this.#execute(life, ready);
    }
    if (!life.raft.isStranger || this.#life !== life) return;
    this.#options.counters.add('rare: stranger under a known name');
    this.#life = undefined;
    this.#state = 'failed';
    this.#options.halted();
  }

  #execute(life: Life, ready: Ready): void {
    if (ready.persist !== undefined) this.#persist(life, ready.persist);
    for (const message of ready.send) this.#options.send(message.to, message);
    if (ready.apply.length > 0) life.applier.apply(ready.apply);
    for (const read of ready.reads) this.#answer(life, read);
    for (const fetch of ready.fetch) this.#fetch(life, fetch);
    for (const catchUp of ready.catchUp) this.#catchUp(life, catchUp);
  }

  #persist(life: Life, persist: Persist): void {
    const { store } = this.#options;
    const { snapshot, token } = persist;
    life.watch.wrote(persist);
    if (persist.repaired.length > 0) this.#options.counters.add('repairs');
    const state = snapshot === undefined ? undefined : life.installing?.state;
    store.write(persist, state, (outcome) => {
      if (outcome === 'durable') life.watch.persisted(token);
      this.#run(life, () => {
        if (outcome === 'failed') return this.#failed(life);
        if (snapshot !== undefined) this.#installed(life, state);
        life.raft.persisted(token);
      });
    });
  }

  #failed(life: Life): void {
    this.#options.counters.add('rare: replica stopped by its disk');
    life.raft.persistFailed();
    this.#drain(life);
    this.#state = 'failed';
    this.#options.failed();
  }

  #installed(life: Life, state: MachineState | undefined): void {
    if (state === undefined) return;
    life.applier.machine.restore(state);
    life.installing = undefined;
    this.#options.counters.add('catch-ups');
    this.#options.checks.applied(this.id, state.applied, state.digest);
  }

  #applied(life: Life, index: number): void {
    life.raft.applied(index);
    this.#options.touched();
    this.#checkpoint(life);
  }

  #answer(life: Life, { id, index }: Read): void {
    const reading = life.reads.get(id);
    life.reads.delete(id);
    if (reading === undefined) return;
    if (index === undefined) return reading.done({ kind: 'refused' });
    reading.done(life.applier.read(reading.client));
  }

  #fetch(life: Life, { id, from, through, maxBytes }: Fetch): void {
    const { kernel, store } = this.#options;
    kernel.after(this.#random.between(20, 3000), () => {
      this.#run(life, () => {
        const entries = store.read(from, through, maxBytes);
        if (entries === undefined) life.raft.fetchFailed(id);
        else if (entries.length === 0) life.raft.fetchFailed(id);
        else life.raft.fetched(id, entries);
      });
    });
  }

  /** Of what is durable: a checkpoint, and with it the log behind it. */
  #checkpoint(life: Life): void {
    const { store, checkpointEntries } = this.#options;
    const { durable } = life.raft.cursors();
    const index = life.applier.machine.applied;
    if (life.checkpointing || index > durable) return;
    if (index - store.checkpoint.index < checkpointEntries) return;
    const term = life.raft.termAt(index);
    if (term === undefined) return;
    life.checkpointing = true;
    const configuration: ConfigurationAt = life.raft.configurationAt(index);
    const stored = { index, term, configuration, state: life.applier.machine.state() };
    store.saveCheckpoint(stored, (outcome) => {
      this.#run(life, () => {
        life.checkpointing = false;
        if (outcome === 'failed') this.#failed(life);
        else this.#compact(life);
      });
    });
  }

  #compact(life: Life): void {
    const { store, checks, keptEntries, id, counters } = this.#options;
    counters.add('checkpoints');
    const firstKept = store.checkpoint.index + 1 - keptEntries;
    if (firstKept <= store.start || life.installing !== undefined) return;
    store.truncatePrefix(firstKept, (outcome) => {
      if (outcome === 'durable') checks.cutPrefix(id, firstKept);
      this.#run(life, () => {
        if (outcome === 'failed') this.#failed(life);
        else life.raft.compacted(firstKept);
      });
    });
  }

  #catchUp(life: Life, { to, session }: CatchUp): void {
    const { store, clock } = this.#options;
    life.transfers.set(to, session);
    const stored = store.checkpoint;
    const offer: Transfer = { kind: 'checkpoint', from: this.id, session, stored };
    this.#options.send(to, offer);
    // A sender that hears nothing offers again; here also where it need not.
    clock.after(this.#random.below(OFFER_AGAIN_MOST_MS), () => {
      this.#run(life, () => this.#options.send(to, offer));
    });
    clock.after(TRANSFER_PATIENCE_MS, () => {
      this.#run(life, () => this.#transferEnded(life, to, session));
    });
  }

  #transferEnded(life: Life, to: string, session: number): void {
    if (life.transfers.get(to) !== session) return;
    life.transfers.delete(to);
    life.raft.catchUpEnded(to, session);
  }

  #offered(life: Life, from: string, { stored, session }: Transfer & { kind: 'checkpoint' }): void {
    const checkpoint: Checkpoint = { ...stored, serveFrom: stored.index };
    const outcome = life.raft.install(checkpoint);
    if (outcome.kind === 'accepted') {
      life.installing = stored;
      this.#options.installing();
    } else this.#options.counters.add(`refused: install ${outcome.code}`);
    this.#options.send(from, { kind: 'checkpointEnded', from: this.id, session });
  }
}
