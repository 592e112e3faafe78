/**
 * A leader's part in log replication (Raft figure 2 "Leaders", 5.3): what is sent to whom, and what
 * their replies mean.
 *
 * Everything that has come together since the last `Ready` goes in one message a peer. A reply
 * counts only if it is of this term, of a member, and of its present session. A peer that is a
 * little behind is served from memory, one further behind from the log, one behind the log's start
 * gets a checkpoint.
 */

import type { Entry } from './entry.ts';
import { bytesOf } from './entry-log.ts';
import type { Fetches, PendingFetch } from './fetches.ts';
import type { LogIndex, ServerId } from './ids.ts';
import type { AppendEntriesReply, HeartbeatReply } from './message.ts';
import type { Peers } from './peers.ts';
import type { Progress } from './progress.ts';
import type { CatchUp } from './ready.ts';
import type { Replica } from './replica.ts';

const NONE: readonly CatchUp[] = [];
const NO_ENTRIES: readonly Entry[] = [];
/** A fetch that failed is tried again after the next heartbeat. */
const FETCH_FAILED = -1;

export class Replication {
  readonly #replica: Replica;
  readonly #peers: Peers;
  readonly #fetches: Fetches;
  #catchUps: CatchUp[] = [];
  #shared: readonly Entry[] | undefined;
  #sharedBytesMax = 0;
  /** When peers that lack nothing were sent an append all the same. */
  #verifiedTick = 0;

  constructor(replica: Replica, peers: Peers, fetches: Fetches) {
    this.#replica = replica;
    this.#peers = peers;
    this.#fetches = fetches;
  }

  /** All that the peers' windows allow. */
  sendAppends(): void {
    this.#shared = undefined;
    for (const peer of this.#peers.list) this.#sendTo(peer);
  }

  sendHeartbeats(round: number): void {
    const { id, term, commitIndex, outbox, ticks, limits } = this.#replica;
    const isVerifying = ticks - this.#verifiedTick >= limits.electionTicks;
    if (isVerifying) this.#verifiedTick = ticks;
    for (const peer of this.#peers.list) {
      if (peer.fetchId === FETCH_FAILED) peer.fetchId = 0;
      // A peer that was restarted commits nothing before an append has compared the two logs.
      if (isVerifying && peer.state === 'replicate') peer.nudged = true;
      outbox.send({
        kind: 'heartbeat',
        from: id,
        to: peer.id,
        term,
        session: peer.session,
        leaderCommit: commitIndex,
        round,
      });
    }
  }

  takeCatchUps(): readonly CatchUp[] {
    if (this.#catchUps.length === 0) return NONE;
    const catchUps = this.#catchUps;
    this.#catchUps = [];
    return catchUps;
  }

  #sendTo(peer: Progress): void {
    const { log, limits } = this.#replica;
    while (peer.state !== 'catchUp' && !peer.paused && !peer.inFlight.full && peer.fetchId === 0) {
      const prevLogTerm = log.termAt(peer.nextIndex - 1);
      if (prevLogTerm === undefined) {
        this.#needsCheckpoint(peer);
        return;
      }
      peer.catchUpTold = false;
      if (peer.nextIndex > log.last && peer.state === 'replicate') break;
      const bytesMax = Math.min(limits.messageBytes, peer.inFlight.bytesLeft);
      const entries = this.#entriesFor(peer, bytesMax);
      if (entries === undefined) return;
      this.#append(peer, prevLogTerm, entries);
      if (peer.state === 'probe') {
        peer.paused = true;
        return;
      }
      const last = peer.nextIndex + entries.length - 1;
      peer.inFlight.add(last, bytesOf(entries));
      peer.nextIndex = last + 1;
      peer.nudged = false;
    }
    if (peer.state === 'replicate' && peer.nudged) this.#sendEmpty(peer);
  }

  #sendEmpty(peer: Progress): void {
    const prevLogTerm = this.#replica.log.termAt(peer.nextIndex - 1);
    peer.nudged = false;
    if (prevLogTerm === undefined) this.#needsCheckpoint(peer);
    else this.#append(peer, prevLogTerm, NO_ENTRIES);
  }

  #append(peer: Progress, prevLogTerm: number, entries: readonly Entry[]): void {
    const { id, term, commitIndex, outbox } = this.#replica;
    outbox.send({
      kind: 'appendEntries',
      from: id,
      to: peer.id,
      term,
      session: peer.session,
      prevLogIndex: peer.nextIndex - 1,
      prevLogTerm,
      entries,
      leaderCommit: commitIndex,
    });
  }

  /** From memory, or as fetched; undefined where they are being fetched. */
  #entriesFor(peer: Progress, bytesMax: number): readonly Entry[] | undefined {
    const { log } = this.#replica;
    const from = peer.nextIndex;
    if (from > log.last) return NO_ENTRIES;
    const { fetched } = peer;
    peer.fetched = undefined;
    if (fetched !== undefined && fetched[0]?.index === from) return fetched;
    if (from >= log.memoryFirst) return this.#slice(from, bytesMax);
    peer.fetchId = this.#fetches.ask({
      reason: 'replicate',
      to: peer.id,
      from,
      through: Math.min(log.last, log.memoryFirst - 1),
      maxBytes: bytesMax,
    });
    return undefined;
  }

  /** Peers that keep pace get the same entries: one list for all of them. */
  #slice(from: LogIndex, bytesMax: number): readonly Entry[] {
    if (this.#shared?.[0]?.index === from && this.#sharedBytesMax === bytesMax) return this.#shared;
    const { log } = this.#replica;
    this.#sharedBytesMax = bytesMax;
    this.#shared = log.slice(from, log.last, bytesMax);
    return this.#shared;
  }

  #needsCheckpoint(peer: Progress): void {
    peer.becomeCatchUp();
    if (peer.catchUpTold) return;
    peer.catchUpTold = true;
    this.#catchUps.push({ to: peer.id, session: peer.session, least: 0 });
  }

  /** The peer has lost its state, and says from which index on a checkpoint is of use to it. */
  catchUpWanted(from: ServerId, least: LogIndex): void {
    const peer = this.#peers.find(from);
    if (peer === undefined || peer.state === 'catchUp') return;
    peer.becomeCatchUp();
    peer.catchUpTold = true;
    this.#catchUps.push({ to: from, session: peer.session, least });
  }

  /**
   * The transfer is over: what the peer has is asked, behind its answer to the next heartbeat. One
   * that could not begin would otherwise be asked for again at the speed of the network.
   */
  catchUpEnded(to: ServerId, session: number): void {
    const peer = this.#peers.find(to);
    if (peer === undefined || peer.session !== session || peer.state !== 'catchUp') return;
    peer.becomeProbe(this.#replica.log.last + 1);
    peer.paused = true;
  }

  fetched({ to, id }: PendingFetch, entries: readonly Entry[]): void {
    const peer = this.#peers.find(to);
    if (peer === undefined || peer.fetchId !== id) return;
    peer.fetchId = 0;
    peer.fetched = entries;
  }

  fetchFailed({ to, id }: PendingFetch): void {
    const peer = this.#peers.find(to);
    if (peer !== undefined && peer.fetchId === id) peer.fetchId = FETCH_FAILED;
  }

  /** The peer, if the reply is of its present stay in the cluster. */
  #sender({ from, session }: AppendEntriesReply | HeartbeatReply): Progress | undefined {
    const peer = this.#peers.find(from);
    return peer !== undefined && peer.session === session ? peer : undefined;
  }

  /** Whether a match has moved. */
  appendEntriesReply(reply: AppendEntriesReply): boolean {
    const peer = this.#sender(reply);
    if (peer === undefined) return false;
    peer.heardTick = this.#replica.ticks;
    peer.inReserve = reply.inReserve;
    if (!reply.success) {
      this.#rejected(peer, reply);
      return false;
    }
    const { log, ticks, limits } = this.#replica;
    if (reply.matchIndex > log.last) return false;
    const { electionTicks } = limits;
    return peer.acknowledge(reply.matchIndex, log.last, { tick: ticks, electionTicks });
  }

  /** Raft 5.3: nextIndex goes back, by a term at a time, never behind what is acknowledged. */
  #rejected(peer: Progress, reply: AppendEntriesReply): void {
    const { rejectedIndex, hintIndex, hintTerm, tailLost } = reply;
    if (peer.state === 'catchUp') return;
    if (rejectedIndex <= peer.matchIndex) {
      if (tailLost && rejectedIndex > 0) this.#peers.restart(peer).becomeProbe(hintIndex + 1);
      return;
    }
    if (peer.state === 'probe' && rejectedIndex !== peer.nextIndex - 1) return;
    peer.becomeProbe(this.#agreeingUpTo(hintIndex, hintTerm) + 1);
  }

  #agreeingUpTo(hintIndex: LogIndex, hintTerm: number): LogIndex {
    const { log } = this.#replica;
    if (hintIndex < log.start - 1) return hintIndex;
    return log.highestWithTermUpTo(hintIndex, hintTerm) ?? log.start - 2;
  }

  heartbeatReply(reply: HeartbeatReply): void {
    const peer = this.#sender(reply);
    if (peer === undefined) return;
    peer.heardTick = this.#replica.ticks;
    peer.inReserve = reply.inReserve;
    if (reply.round > peer.round) peer.round = reply.round;
    if (peer.state === 'probe') peer.paused = false;
    else peer.nudgeIfStuck(this.#replica.log.last);
  }
}
