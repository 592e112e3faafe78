/**
 * What a leader knows of one peer: nextIndex and matchIndex of Raft figure 2, and how it sends.
 *
 * `probe`: one append at a time until one is accepted. `replicate`: a pipeline within the window.
 * `catchUp`: it needs a checkpoint; nothing is sent but heartbeats. A session is one stay of the
 * peer in the cluster under this leader: replies of another session say nothing about this one.
 * Invariant: matchIndex < nextIndex.
 */

import type { MemberRole } from './configuration.ts';
import type { Entry } from './entry.ts';
import type { LogIndex, ServerId } from './ids.ts';
import { InFlight } from './in-flight.ts';
import type { Limits } from './options.ts';
import type { PeerStatus, ProgressState } from './status.ts';

export class Progress {
  readonly id: ServerId;
  role: MemberRole;
  readonly session: number;
  readonly inFlight: InFlight;
  state: ProgressState = 'probe';
  matchIndex: LogIndex = 0;
  nextIndex: LogIndex;
  /** In `probe`: one is on the way; the next goes with the reply or after a heartbeat's. */
  paused = false;
  /** In `replicate`: an append may be lost with nothing behind it, so ask. */
  nudged = false;
  /** When it was heard from last. */
  heardTick: number;
  inReserve = false;
  /** Newest round of heartbeats that it has answered. */
  round = 0;
  /** Entries are being fetched for it: the number of the request, or 0. */
  fetchId = 0;
  /** Fetched and not yet sent; the first is `nextIndex`, or they are of no use. */
  fetched: readonly Entry[] | undefined;
  /** Told to the host that it needs a checkpoint. */
  catchUpTold = false;
  caughtUp = false;
  /** Its match when it answered a heartbeat last, if it was behind; else -1. */
  #behindAt: LogIndex = -1;
  /** Thesis 4.2.1: a round ends when the entries are there that were in the log as it began. */
  #roundEnd: LogIndex;
  #roundStartTick: number;

  constructor(member: { readonly id: ServerId; readonly role: MemberRole }, begin: Begin) {
    this.id = member.id;
    this.role = member.role;
    this.session = begin.session;
    this.nextIndex = begin.last + 1;
    this.inFlight = new InFlight(begin.limits.windowMessages, begin.limits.windowBytes);
    this.heardTick = begin.tick;
    this.#roundEnd = begin.last;
    this.#roundStartTick = begin.tick;
  }

  becomeProbe(nextIndex: LogIndex): void {
    this.state = 'probe';
    this.nextIndex = Math.max(nextIndex, this.matchIndex + 1);
    this.paused = false;
    this.nudged = false;
    this.catchUpTold = false;
    this.inFlight.clear();
    this.#dropFetch();
  }

  becomeReplicate(): void {
    this.state = 'replicate';
    this.paused = false;
    this.inFlight.clear();
  }

  becomeCatchUp(): void {
    this.state = 'catchUp';
    this.caughtUp = false;
    this.inFlight.clear();
    this.#dropFetch();
  }

  #dropFetch(): void {
    this.fetchId = 0;
    this.fetched = undefined;
  }

  /** A success: whether the match has moved. */
  acknowledge(matchIndex: LogIndex, last: LogIndex, now: Now): boolean {
    this.inFlight.acknowledge(matchIndex);
    const moved = matchIndex > this.matchIndex;
    if (moved) this.matchIndex = matchIndex;
    this.nextIndex = Math.max(this.nextIndex, this.matchIndex + 1);
    if (this.state !== 'replicate') this.becomeReplicate();
    if (this.matchIndex >= this.#roundEnd || this.matchIndex >= last) this.#endRound(last, now);
    return moved;
  }

  /**
   * It answers a heartbeat. Under load something is always on its way to it: an append is asked
   * about when none was acknowledged since it answered the heartbeat before.
   */
  nudgeIfStuck(last: LogIndex): void {
    if (this.matchIndex < last && this.matchIndex === this.#behindAt) this.nudged = true;
    this.#behindAt = this.matchIndex < last ? this.matchIndex : -1;
  }

  #endRound(last: LogIndex, { tick, electionTicks }: Now): void {
    const isFast = tick - this.#roundStartTick < electionTicks;
    this.caughtUp = isFast || this.matchIndex >= last;
    this.#roundEnd = last;
    this.#roundStartTick = tick;
  }

  status(active: boolean): PeerStatus {
    return {
      id: this.id,
      state: this.state,
      session: this.session,
      matchIndex: this.matchIndex,
      nextIndex: this.nextIndex,
      inFlightMessages: this.inFlight.count,
      inFlightBytes: this.inFlight.bytes,
      active,
      inReserve: this.inReserve,
      caughtUp: this.caughtUp,
    };
  }
}

/** Where a session begins. */
export interface Begin {
  readonly session: number;
  readonly last: LogIndex;
  readonly tick: number;
  readonly limits: Limits;
}

export interface Now {
  readonly tick: number;
  readonly electionTicks: number;
}
