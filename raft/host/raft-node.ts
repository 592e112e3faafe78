/**
 * One replica as it runs: drives the core's `Ready` to disk, network and state machine, and brings
 * back what they tell (Raft 5; thesis 10.2).
 *
 * A turn takes everything that came together, and then carries out each `Ready`: messages go out
 * and the write begins in the same turn, so a leader writes in parallel with its followers (thesis
 * 10.2.1); what must wait for the disk is not in it yet. A turn ends after `SLICE_MS` and goes on
 * behind what waits in the event loop. It must never acknowledge by itself: only the core does, and
 * only after `persisted`. The first failed write ends the replica, for good; a crash anywhere
 * leaves what the disk has, and `open` goes on from there.
 */

import type { ConfigurationAt, MembershipChange } from '../core/configuration.ts';
import type { LogIndex, ServerId, Term } from '../core/ids.ts';
import { limitsOf } from '../core/limits.ts';
import type { Message } from '../core/message.ts';
import type { Limits } from '../core/options.ts';
import type { Changed, Proposed, Rescued, Transferred } from '../core/outcome.ts';
import { Raft } from '../core/raft.ts';
import type { RescueOrder } from '../core/raft.ts';
import type { Read, Ready, Role } from '../core/ready.ts';
import type { Cursors, Status } from '../core/status.ts';
import { CATCH_UP_BYTES_PER_SECOND, CatchUpPace } from './catch-up-pace.ts';
import { CatchUps } from './catch-ups.ts';
import type { CatchUpPorts } from './catch-ups.ts';
import { Fetches } from './fetches.ts';
import { PatientAnswer } from './patient-answer.ts';
import type { GivenUp, PeerMessage } from './peer-message.ts';
import type { HeldFor } from './catch-up-ports.ts';
import type { Clock, Disk, Network, ReplicaEnd, StateMachine } from './ports.ts';
import { recoveredState } from './recovered-state.ts';
import { Ticker } from './ticker.ts';

export interface RaftNodeOptions {
  readonly id: ServerId;
  readonly disk: Disk;
  readonly network: Network;
  readonly clock: Clock;
  /** From [0, 1), for election time-outs. */
  random(): number;
  readonly machine: StateMachine;
  /** What the state machine stands at. */
  readonly checkpoint: StandingCheckpoint;
  readonly catchUp: CatchUpPorts;
  /** What peers that are behind get while entries are committed: see `CatchUpPace`. */
  readonly catchUpBytesPerSecond?: number | undefined;
  readonly limits?: Partial<Limits>;
  /** `RaftOptions.incarnation`: the id of its log. */
  readonly incarnation?: string | undefined;
  /** Where leadership should be, if that server is there and has caught up. */
  readonly preferred?: ServerId | undefined;
  /** Default 10. */
  readonly tickMs?: number;
}

export interface StandingCheckpoint {
  /** 0: the state machine is new. */
  readonly index: LogIndex;
  /** In use there; of a new cluster, the one that it is made with. */
  readonly configuration: ConfigurationAt;
  /** After a catch-up: `CatchUpBuilding.serveFrom`; else `index`. */
  readonly serveFrom: LogIndex;
  /** The state there cannot be read: the replica gets one from a peer, or waits. */
  readonly isLost?: boolean;
}

/** Who waits for an entry to be durable here. */
interface Syncing {
  readonly index: LogIndex;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

const TICK_MS = 10;
const SLICE_MS = 5;
const LOOK_EVERY_TICKS = 10;

export class RaftNode {
  readonly #options: RaftNodeOptions;
  readonly #raft: Raft;
  readonly #pace: CatchUpPace;
  readonly #fetches: Fetches;
  readonly #catchUps: CatchUps;
  readonly #ticker: Ticker;
  readonly #answer = new PatientAnswer();
  readonly #reads = new Map<number, (index: LogIndex | undefined) => void>();
  readonly #turn = (): void => this.#drive();
  #syncing: Syncing[] = [];
  #lastRead = 0;
  #ticks = 0;
  #isAlone: boolean;
  #scheduled = false;
  #state: 'new' | 'running' | 'failed' | 'ended' = 'new';

  /** Reads what the log has of configurations; nothing happens before `start`. */
  static async open(options: RaftNodeOptions): Promise<RaftNode> {
    const { id, disk, checkpoint, limits, preferred, incarnation } = options;
    const recovered = await recoveredState(disk, checkpoint, id);
    const raft = new Raft({
      id,
      recovered,
      ...(limits === undefined ? {} : { limits }),
      random: () => options.random(),
      preferred,
      incarnation,
    });
    return new RaftNode(options, raft);
  }

  private constructor(options: RaftNodeOptions, raft: Raft) {
    this.#options = options;
    this.#raft = raft;
    this.#isAlone = isAlone(raft.cursors().configuration);
    const { disk, clock, catchUpBytesPerSecond: bytesPerSecond } = options;
    const pace = new CatchUpPace({
      clock,
      bytesPerSecond: bytesPerSecond ?? CATCH_UP_BYTES_PER_SECOND,
    });
    this.#pace = pace;
    this.#fetches = new Fetches({
      disk,
      pace,
      fetched: (id, entries) => this.#told(() => raft.fetched(id, entries)),
      failed: (id) => this.#told(() => raft.fetchFailed(id)),
      damaged: (range) =>
        this.#told(() => {
          raft.damaged(range);
          options.machine.damaged(range);
        }),
    });
    this.#catchUps = new CatchUps({
      ...options,
      raft,
      pace,
      changed: () => this.#wake(),
      ended: (end) => this.#end(end),
    });
    this.#ticker = new Ticker({
      clock,
      tickMs: options.tickMs ?? TICK_MS,
      calmTicks: limitsOf(options.limits).heartbeatTicks,
      tick: (count) => this.#tick(count),
    });
  }

  /** From now on it takes part. */
  start(): void {
    if (this.#state !== 'new') return;
    this.#state = 'running';
    const { disk, network } = this.#options;
    disk.listen({
      persisted: (token) => this.#persisted(token),
      failed: (error) => this.#fail(error),
    });
    network.listen({
      received: (message) => this.#received(message),
      strayed: (message) => this.#strayed(message),
      room: (to) => {
        if (this.#state === 'running') this.#catchUps.room(to);
      },
    });
    if (this.#state !== 'running') return;
    this.#ticker.start();
    // A sole voter stands with its first tick, and has nobody to wait for.
    this.#tick(1);
  }

  // --- What the owner asks for.

  /** The bytes are the replica's from here on. Accepted is not committed: `apply` tells that. */
  propose(payload: Uint8Array, local?: unknown): Proposed {
    const proposed = this.#raft.propose(payload, local);
    if (proposed.kind === 'accepted') this.#pace.grew(payload.length);
    this.#wake();
    return proposed;
  }

  /**
   * `done` gets an index once everything up to it is applied here, and all that was acknowledged
   * before this call lies at or below it; or undefined: refused, to be asked again.
   */
  read(done: (index: LogIndex | undefined) => void): void {
    if (this.#state !== 'running') {
      this.#options.clock.soon(() => done(undefined));
      return;
    }
    const id = ++this.#lastRead;
    this.#reads.set(id, done);
    this.#raft.readIndex(id);
    this.#wake();
  }

  /** Everything that `StateMachine.apply` was given up to this index is applied. */
  applied(index: LogIndex): void {
    if (this.#state !== 'running') return;
    this.#raft.applied(index);
    this.#catchUps.appliedMore();
    this.#wake();
  }

  /** Resolves when this entry, which is committed, is on stable storage; rejects if that fails. */
  synced(index: LogIndex): Promise<void> {
    if (index <= this.#raft.durable) return Promise.resolve();
    if (this.#state !== 'running') return Promise.reject(new Error('the replica has ended'));
    return new Promise((resolve, reject) => this.#syncing.push({ index, resolve, reject }));
  }

  transferLeadership(to: ServerId): Transferred {
    const transferred = this.#raft.transferLeadership(to);
    this.#wake();
    return transferred;
  }

  changeMembership(change: MembershipChange): Changed {
    const changed = this.#raft.changeMembership(change);
    this.#wake();
    return changed;
  }

  /** For an operator's order only: `Raft.rescue`; durable when `synced` its index. */
  rescue(order: RescueOrder): Rescued {
    const rescued = this.#raft.rescue(order);
    this.#wake();
    return rescued;
  }

  setPreferred(id: ServerId | undefined): void {
    this.#raft.setPreferred(id);
    this.#wake();
  }

  reportReserve(inReserve: boolean): void {
    this.#raft.reportReserve(inReserve);
    this.#wake();
  }

  /**
   * A durable checkpoint covers everything below: whole segments go, but for what is held.
   */
  async truncatePrefix(firstKept: LogIndex, heldFor: HeldFor = 'all'): Promise<void> {
    const { disk } = this.#options;
    if (heldFor !== 'all') this.#catchUps.release(firstKept, heldFor);
    const kept = Math.min(firstKept, this.#catchUps.heldBehind + 1);
    if (kept <= disk.start) return;
    await disk.truncatePrefix(kept);
    this.#told(() => this.#raft.compacted(disk.start));
  }

  get role(): Role {
    return this.#raft.role;
  }

  get term(): Term {
    return this.#raft.term;
  }

  get leader(): ServerId | undefined {
    return this.#raft.leader;
  }

  /**
   * Entries up to here, as they are now, are on stable storage. The disk's own count may be of
   * others, which a cut that is on its way takes away.
   */
  get durable(): LogIndex {
    return this.#raft.durable;
  }

  get commitIndex(): LogIndex {
    return this.#raft.commitIndex;
  }

  /** Of a leader: itself, or a voter that it hears from, is inside its disk's reserve. */
  get isVoterInReserve(): boolean {
    return this.#raft.isVoterInReserve;
  }

  /** Of an entry from one before the log's start to its end. */
  termAt(index: LogIndex): Term | undefined {
    return this.#raft.termAt(index);
  }

  configurationAt(index: LogIndex): ConfigurationAt {
    return this.#raft.configurationAt(index);
  }

  cursors(): Cursors {
    return this.#raft.cursors();
  }

  status(): Status {
    return this.#raft.status();
  }

  /** Takes part no more; the disk is closed with the mark of a clean stop. */
  async stop(): Promise<void> {
    const wasWell = this.#state === 'running' || this.#state === 'new';
    this.abandon();
    if (wasWell) await this.#options.disk.close();
  }

  /** Takes part no more, and leaves the disk open. */
  abandon(): void {
    this.#state = 'ended';
    this.#close();
  }

  // --- What happens.

  #received(message: PeerMessage): void {
    // Time that has passed comes first; a leader's heartbeats keep the step of its node.
    if (this.#raft.role !== 'leader') this.#ticker.tell();
    if (this.#state !== 'running') return;
    switch (message.kind) {
      case 'catchUpOffer':
      case 'catchUpAsk':
      case 'catchUpAnswer':
      case 'catchUpEnd':
      case 'catchUpWant':
        this.#catchUps.received(message);
        break;
      case 'givenUp':
        this.#givenUp(message);
        return;
      default:
        this.#raft.step(message);
    }
    this.#wake();
  }

  /**
   * A server that a rescue has given up speaks to one that was a member with it, and is none any
   * more: it has to know, or it would go on with others of its kind.
   */
  #strayed({ kind, from, to }: PeerMessage): void {
    if (this.#state !== 'running' || kind === 'givenUp') return;
    const { commitIndex, term } = this.#raft;
    const { rescue } = this.#raft.configurationAt(commitIndex).configuration;
    if (rescue?.givenUp.includes(from) !== true || !rescue.givenUp.includes(to)) return;
    this.#options.network.send({ kind: 'givenUp', from: to, to: from, term });
  }

  /** Only a member is believed. One that has no log yet is a stranger like any other. */
  #givenUp({ from }: GivenUp): void {
    const { configuration, accepted } = this.#raft.status();
    if (!configuration.configuration.members.some(({ id }) => id === from)) return;
    const isBlank = this.#options.incarnation !== undefined && accepted === 0;
    this.#raft.giveUp();
    this.#end(isBlank ? { kind: 'stranger' } : { kind: 'givenUp', by: from });
  }

  #tick(count: number): void {
    if (this.#state !== 'running') return;
    const answer = this.#answer.take();
    if (answer !== undefined) this.#options.network.send(answer);
    for (let left = count; left > 0; left--) this.#raft.tick();
    this.#ticks += count;
    if (this.#ticks >= LOOK_EVERY_TICKS) {
      this.#ticks = 0;
      this.#catchUps.look();
    }
    this.#setPace();
    this.#wake();
  }

  #persisted(token: number): void {
    if (this.#state !== 'running') return;
    // A checkpoint that becomes current ends this replica: nothing behind it counts.
    if (!this.#catchUps.persisted(token)) return;
    this.#raft.persisted(token);
    if (this.#syncing.length > 0) this.#tellSynced();
    this.#wake();
  }

  #tellSynced(): void {
    const { durable } = this.#raft;
    const waiting = this.#syncing;
    this.#syncing = waiting.filter(({ index }) => index > durable);
    for (const { index, resolve } of waiting) if (index <= durable) resolve();
  }

  #told(tell: () => void): void {
    if (this.#state !== 'running') return;
    tell();
    this.#wake();
  }

  /** What the core says to that still goes out: a leader steps down. */
  #fail(error: Error): void {
    if (this.#state !== 'running') return;
    this.#state = 'failed';
    this.#raft.persistFailed();
    this.#options.clock.soon(() => {
      for (let ready = this.#raft.ready(); ready !== undefined; ready = this.#raft.ready()) {
        for (const message of ready.send) this.#options.network.send(message);
        if (ready.soft !== undefined) this.#options.machine.roleChanged(ready.soft);
      }
      if (this.#state === 'failed') this.#end({ kind: 'failed', error });
    });
  }

  #end(end: ReplicaEnd): void {
    if (this.#state === 'ended') return;
    this.#state = 'ended';
    this.#close();
    this.#options.machine.ended(end);
  }

  #close(): void {
    this.#ticker.stop();
    this.#pace.close();
    this.#fetches.close();
    this.#catchUps.close();
    const reads = [...this.#reads.values()];
    this.#reads.clear();
    for (const done of reads) done(undefined);
    const error = new Error('the replica has ended');
    for (const { reject } of this.#syncing.splice(0)) reject(error);
  }

  // --- Turns.

  #wake(): void {
    if (this.#scheduled || this.#state !== 'running') return;
    this.#scheduled = true;
    this.#options.clock.soon(this.#turn);
  }

  #drive(): void {
    this.#scheduled = false;
    const { clock } = this.#options;
    const deadline = clock.monotonicMs() + SLICE_MS;
    while (this.#state === 'running') {
      const ready = this.#raft.ready();
      if (ready === undefined) break;
      this.#execute(ready);
      if (clock.monotonicMs() < deadline) continue;
      this.#scheduled = true;
      clock.later(this.#turn);
      return;
    }
    if (this.#state === 'running' && this.#raft.isStranger) this.#end({ kind: 'stranger' });
  }

  #execute(ready: Ready): void {
    const { disk, machine } = this.#options;
    const { send, persist, apply, soft, configuration } = ready;
    if (soft !== undefined) {
      this.#catchUps.roleChanged(soft);
      machine.roleChanged(soft);
    }
    if (configuration !== undefined) machine.configurationChanged(configuration);
    if (configuration !== undefined) this.#isAlone = isAlone(configuration);
    if (soft !== undefined || configuration !== undefined) this.#setPace();
    if (ready.commitIndex !== undefined) this.#pace.committed();
    for (const message of send) this.#send(message);
    if (persist !== undefined && this.#catchUps.takes(persist)) disk.write(persist);
    if (apply.length > 0) machine.apply(apply);
    for (const read of ready.reads) this.#answerRead(read);
    for (const fetch of ready.fetch) this.#fetches.add(fetch);
    for (const catchUp of ready.catchUp) this.#catchUps.begin(catchUp);
  }

  #send(message: Message): void {
    if (message.kind === 'heartbeatReply' && this.#answer.keeps(message)) return;
    this.#options.network.send(message);
  }

  /** A leader without any other member waits for nobody; a replica that follows, for heartbeats. */
  #setPace(): void {
    const { role, leader, missesLeader } = this.#raft;
    if (role === 'leader' && this.#isAlone) this.#ticker.pace('resting');
    else this.#ticker.pace(leader === undefined || missesLeader ? 'each-tick' : 'calm');
  }

  #answerRead({ id, index }: Read): void {
    const done = this.#reads.get(id);
    this.#reads.delete(id);
    done?.(index);
  }
}

function isAlone({ configuration }: ConfigurationAt): boolean {
  return configuration.members.length === 1;
}
