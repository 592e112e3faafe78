/**
 * One replica of one Raft cluster: deterministic, without I/O (Raft figure 2; thesis 3, 4, 6.4).
 *
 * The host calls it with what happens (messages, ticks, requests, completions) and then takes
 * `ready()` until it is undefined. It may do many calls before it takes one: whatever came together
 * is then one write and one message a peer. Calls come from one thread and never from inside one
 * another.
 *
 * What it must never do: let a vote or an acknowledgement out before what it speaks of is durable,
 * decide by the order of a Map, or look at a clock. After an assertion it is not to be used again.
 */

import { assert, assertCount } from './assert.ts';
import type { Configuration, ConfigurationAt, MembershipChange } from './configuration.ts';
import type { Entry } from './entry.ts';
import { Installing } from './installing.ts';
import type { Checkpoint } from './installing.ts';
import type { LogIndex, ServerId, Term } from './ids.ts';
import type { Message } from './message.ts';
import type { FaultyRange, RaftOptions } from './options.ts';
import type {
  Changed,
  InstallOutcome,
  Proposed,
  RescueRefusal,
  Rescued,
  Transferred,
} from './outcome.ts';
import type { PendingFetch } from './fetches.ts';
import { ReadyWriter } from './ready-writer.ts';
import type { Ready, Role } from './ready.ts';
import { Server } from './server.ts';
import { cursorsOf, statusOf } from './server-status.ts';
import type { Cursors, Status } from './status.ts';
import type { Write } from './write-ledger.ts';

export interface RescueOrder {
  /** Its name from then on, of the same node, and never used before. */
  readonly as: ServerId;
  readonly by: string;
  readonly atMs: number;
  /** Although another voter that is heard has more. */
  readonly evenIfShorter: boolean;
}

export class Raft {
  readonly #server: Server;
  readonly #installing: Installing;
  readonly #readyWriter: ReadyWriter;

  constructor(options: RaftOptions) {
    this.#server = new Server(options);
    this.#installing = new Installing(this.#server.replica, this.#server.applying);
    this.#readyWriter = new ReadyWriter(this.#server, this.#installing);
  }

  /** What is left to do, once; undefined where there is nothing. */
  ready(): Ready | undefined {
    return this.#readyWriter.take();
  }

  /** A message from a peer, of whatever age. One that is addressed to another is ignored. */
  step(message: Message): void {
    this.#server.step(message);
  }

  /** One unit of time has passed. */
  tick(): void {
    this.#server.tick();
  }

  /** The payload is the core's from here on: it must not change. */
  propose(payload: Uint8Array, local?: unknown): Proposed {
    return this.#server.leading.propose(payload, local);
  }

  /**
   * Answered by `Ready.reads` with the same id, once this replica has applied everything that was
   * committed when it was asked (thesis 6.4); a follower asks its leader. Ids are the host's,
   * and not to be used twice.
   */
  readIndex(id: number): void {
    this.#server.readIndex(id);
  }

  /** Ends with a new leader, or by itself after an election time-out (thesis 3.10). */
  transferLeadership(to: ServerId): Transferred {
    return this.#server.transferLeadership(to);
  }

  changeMembership(change: MembershipChange): Changed {
    return this.#server.leading.changeMembership(change);
  }

  /** Where leadership should be from now on; `undefined`: anywhere. */
  setPreferred(id: ServerId | undefined): void {
    this.#server.transfer.preferred = id;
  }

  /** All pieces of the stream of writes up to this token are on stable storage. */
  persisted(token: number): void {
    const { replica } = this.#server;
    if (replica.role === 'stopped') return;
    let isLogMoved = false;
    let isHardStateWritten = false;
    let write = replica.ledger.complete(token);
    while (write !== undefined) {
      this.#server.follower.written();
      isLogMoved = this.#complete(write) || isLogMoved;
      isHardStateWritten ||= write.hardState;
      write = replica.ledger.complete(token);
    }
    if (isHardStateWritten && this.#readyWriter.isHardStateDurable) {
      this.#server.hardStateDurable();
    }
    if (isLogMoved) this.#server.logDurable();
  }

  #complete({ snapshot, repaired, through }: Write): boolean {
    const { replica, applying, repairs } = this.#server;
    if (snapshot !== undefined) applying.installed(snapshot.index);
    repairs.persisted(repaired);
    return replica.log.completed(through);
  }

  /** A write or a sync failed. There is no second try: this replica does nothing any more. */
  persistFailed(): void {
    this.#server.stop();
  }

  /** The state machine has applied everything up to this index. */
  applied(index: LogIndex): void {
    this.#server.applying.applied(index);
  }

  /** Ascending without gaps from `Fetch.from`, at least one; checked against the log's terms. */
  fetched(id: number, entries: readonly Entry[]): void {
    const { fetches, applying, replication, repairs, replica } = this.#server;
    const fetch = fetches.answered(id);
    if (!replica.log.agrees(entries, fetch.from)) {
      this.#fetchFailed(fetch);
      return;
    }
    switch (fetch.reason) {
      case 'apply':
        applying.fetched(fetch, entries);
        break;
      case 'replicate':
        replication.fetched(fetch, entries);
        break;
      case 'repair':
        repairs.fetched(fetch, entries);
        break;
    }
  }

  fetchFailed(id: number): void {
    this.#fetchFailed(this.#server.fetches.answered(id));
  }

  #fetchFailed(fetch: PendingFetch): void {
    const { applying, replication, repairs } = this.#server;
    switch (fetch.reason) {
      case 'apply':
        applying.fetchFailed(fetch);
        break;
      case 'replicate':
        replication.fetchFailed(fetch);
        break;
      case 'repair':
        repairs.fetchFailed(fetch);
        break;
    }
  }

  /**
   * The checkpoint covers everything before this index, and the log starts here now. At most one
   * above what is applied and durable.
   */
  compacted(start: LogIndex): void {
    const { replica } = this.#server;
    const { log, applied, configurations, faults } = replica;
    assert(start <= applied + 1, 'only what is applied is compacted');
    replica.checkpoint = Math.max(replica.checkpoint, start - 1);
    if (start <= log.start) return;
    log.truncatePrefix(start);
    configurations.truncatePrefix(start);
    faults.truncatePrefix(start);
  }

  /**
   * On the leader: a peer that has lost its state asks for a checkpoint, at `least` or later. Of
   * whatever age: one that has its state again takes none that is not newer.
   */
  catchUpWanted(from: ServerId, least: LogIndex): void {
    this.#server.replication.catchUpWanted(from, least);
  }

  /** On the leader: a transfer asked for by `Ready.catchUp` is over, well or not. */
  catchUpEnded(to: ServerId, session: number): void {
    this.#server.replication.catchUpEnded(to, session);
  }

  /**
   * On the receiver: comes out as `Persist.snapshot`. Nothing is applied between the call and its
   * `persisted`; then the state machine stands at its index.
   */
  install(checkpoint: Checkpoint): InstallOutcome {
    assertCount(checkpoint.index, 'the index of a checkpoint');
    if (!this.meets(checkpoint.configuration)) return { kind: 'refused', code: 'stranger' };
    this.#server.observeTerm(checkpoint.term);
    return this.#installing.install(checkpoint);
  }

  /**
   * On the receiver: whether the cluster of this configuration may be its own. If not, this replica
   * does nothing any more (`isStranger`).
   */
  meets({ configuration }: ConfigurationAt): boolean {
    const { election, replica } = this.#server;
    if (election.founding.meets(configuration)) return true;
    if (replica.role !== 'stopped') this.#server.stop();
    return false;
  }

  /** The cluster knows another server under this name: this one lost its log, and has ended. */
  get isStranger(): boolean {
    return this.#server.replica.isStranger;
  }

  /** A read has found entries of this replica's log damaged. */
  damaged(range: FaultyRange): void {
    const { log, faults } = this.#server.replica;
    const from = Math.max(range.from, log.start);
    if (from > log.last) return;
    faults.add({ ...range, from });
    this.#server.damaged();
  }

  /** It waits for a checkpoint of a peer: see `Recovered.stateLost`. */
  get isStateLost(): boolean {
    return this.#server.replica.stateLost;
  }

  /** Whether the disk is inside its reserve; goes to the leader with each reply. */
  reportReserve(inReserve: boolean): void {
    this.#server.replica.inReserve = inReserve;
  }

  /** Of a leader: itself or a voter that it hears from is inside its reserve. */
  get isVoterInReserve(): boolean {
    const { replica, peers } = this.#server;
    if (replica.inReserve) return true;
    return peers.list.some(
      (peer) => peer.role === 'voter' && peer.inReserve && peers.isActive(peer),
    );
  }

  /**
   * A cluster that has lost its majority for good goes on with this server alone, under the name
   * `as`, which was never used: for an operator's order, never for a program's decision. Refused
   * while a majority is heard. It puts the configuration into the log; once that is durable, this
   * replica is to be ended and opened anew as `as`, which then elects itself. Under the name that
   * it has, it counts for nobody any more. What only the others had is lost.
   */
  rescue({ as, by, atMs, evenIfShorter }: RescueOrder): Rescued {
    const { replica, survivors } = this.#server;
    const { id, configurations, log } = replica;
    const { members } = configurations.current.configuration;
    const own = members.find((member) => member.id === id);
    const code = survivors.refusal(evenIfShorter) ?? (members.length === 1 ? 'alone' : undefined);
    if (code !== undefined) return { kind: 'refused', code };
    const givenUp = members.map((member) => member.id);
    const rescue = { by, atMs, lastIndex: log.last, lastTerm: log.lastTerm, givenUp };
    const address = own?.address ?? '';
    const configuration: Configuration = { members: [{ id: as, role: 'voter', address }], rescue };
    this.#server.beginRescue();
    const { term } = replica;
    const index = log.last + 1;
    const payload = new Uint8Array(0);
    log.append({ index, term, kind: 'configuration', payload, configuration, local: undefined });
    configurations.append({ index, configuration });
    return { kind: 'accepted', index, term };
  }

  /** Why `rescue` would be refused; undefined: it would not. */
  rescueRefusal(evenIfShorter: boolean): RescueRefusal | undefined {
    return this.#server.survivors.refusal(evenIfShorter);
  }

  /** The cluster went on without this server: it does nothing any more. */
  giveUp(): void {
    this.#server.stop();
  }

  /** The configuration in use at this index, for a checkpoint there. Not before the log's start. */
  configurationAt(index: LogIndex): ConfigurationAt {
    return this.#server.replica.configurations.at(index);
  }

  /** Term of the entry, from one before the log's start to its end; else undefined. */
  termAt(index: LogIndex): Term | undefined {
    return this.#server.replica.log.termAt(index);
  }

  get role(): Role {
    return this.#server.replica.role;
  }

  get term(): Term {
    return this.#server.replica.term;
  }

  get leader(): ServerId | undefined {
    return this.#server.replica.leader;
  }

  /** A follower to which heartbeats did not come that should have: each tick counts. */
  get missesLeader(): boolean {
    return this.#server.election.missesLeader;
  }

  /** Entries up to here, as they are now, are on stable storage. */
  get durable(): LogIndex {
    return this.#server.replica.log.durable;
  }

  get commitIndex(): LogIndex {
    return this.#server.replica.commitIndex;
  }

  cursors(): Cursors {
    return cursorsOf(this.#server);
  }

  status(): Status {
    return statusOf(this.#server);
  }
}
