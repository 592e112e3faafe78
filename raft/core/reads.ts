/**
 * Linearizable reads without entries: ReadIndex (thesis 6.4), with rounds of heartbeats and no
 * leases.
 *
 * A leader answers only after it has committed an entry of its term, and after a majority has
 * answered a round of heartbeats that began after the question: a deposed leader cannot get one.
 * Then the state machine must have applied what was committed when the round began. One round is
 * under way at a time; what comes meanwhile shares the next one. Whatever ends leadership refuses
 * all that waits.
 */

import type { LogIndex, ServerId } from './ids.ts';
import type { ReadIndexRequest } from './message.ts';
import type { Peers } from './peers.ts';
import type { Read } from './ready.ts';
import type { Replica } from './replica.ts';

const NONE: readonly Read[] = [];

interface Question {
  readonly id: number;
  /** The follower that asks; undefined: this server. */
  readonly from: ServerId | undefined;
}

interface Confirmed {
  readonly id: number;
  readonly index: LogIndex;
}

export class Reads {
  readonly #replica: Replica;
  readonly #peers: Peers;
  /** Not part of a round yet. */
  #waiting: Question[] = [];
  /** Part of the round under way. */
  #asked: Question[] = [];
  #askedIndex: LogIndex = 0;
  #round = 0;
  /** Confirmed; waits until it is applied. Indexes do not go back. */
  #confirmed: Confirmed[] = [];
  #done: Read[] = [];

  constructor(replica: Replica, peers: Peers) {
    this.#replica = replica;
    this.#peers = peers;
  }

  get pending(): number {
    return this.#waiting.length + this.#asked.length + this.#confirmed.length;
  }

  get round(): number {
    return this.#round;
  }

  /** On the leader. */
  ask(question: Question): void {
    if (this.pending >= this.#replica.limits.pendingReads) this.#refuse(question);
    else this.#waiting.push(question);
  }

  /** Whether a round begins: the caller sends heartbeats with its number. */
  beginRound(): boolean {
    const { commitIndex, isSoleVoter } = this.#replica;
    if (this.#waiting.length === 0 || this.#asked.length > 0) return false;
    if (!this.#hasCommittedInTerm) return false;
    this.#asked = this.#waiting;
    this.#waiting = [];
    this.#askedIndex = commitIndex;
    this.#round += 1;
    this.confirm();
    return !isSoleVoter;
  }

  /** Everything that any leader before this one has committed is known to be (thesis 6.4). */
  get #hasCommittedInTerm(): boolean {
    const { log, commitIndex, term } = this.#replica;
    return log.termAt(commitIndex) === term;
  }

  /** A majority may have answered the round. */
  confirm(): void {
    if (this.#asked.length === 0 || this.#peers.majorityRound < this.#round) return;
    const asked = this.#asked;
    this.#asked = [];
    for (const { id, from } of asked) {
      if (from === undefined) this.#confirmed.push({ id, index: this.#askedIndex });
      else this.#answer(from, id, this.#askedIndex);
    }
  }

  /** A follower's read was confirmed by its leader. */
  confirmed(id: number, index: LogIndex): void {
    this.#confirmed.push({ id, index });
  }

  refuse(id: number): void {
    this.#done.push({ id, index: undefined });
  }

  #refuse({ id, from }: Question): void {
    if (from === undefined) this.refuse(id);
    else this.#answer(from, id, 0);
  }

  #answer(to: ServerId, requestId: number, index: LogIndex): void {
    const { id, term, log, outbox } = this.#replica;
    const lastLogIndex = log.last;
    outbox.send({
      kind: 'readIndexReply',
      from: id,
      to,
      term,
      id: requestId,
      index,
      lastLogIndex,
    });
  }

  /** A request of a follower; it need not wait where this server leads no more. */
  request({ from, id }: ReadIndexRequest): void {
    if (this.#replica.role === 'leader') this.ask({ id, from });
    else this.#refuse({ id, from });
  }

  /** Leadership is over: nothing that is not confirmed will be. */
  refuseAll(): void {
    for (const question of this.#asked) this.#refuse(question);
    for (const question of this.#waiting) this.#refuse(question);
    this.#asked = [];
    this.#waiting = [];
  }

  /** Nothing is applied any more. */
  refuseConfirmed(): void {
    for (const { id } of this.#confirmed) this.refuse(id);
    this.#confirmed = [];
  }

  /** Those that have been applied. */
  take(): readonly Read[] {
    const { applied, serveFrom } = this.#replica;
    let served = 0;
    for (const { id, index } of this.#confirmed) {
      if (applied < index || applied < serveFrom) break;
      this.#done.push({ id, index });
      served += 1;
    }
    if (served > 0) this.#confirmed.splice(0, served);
    if (this.#done.length === 0) return NONE;
    const done = this.#done;
    this.#done = [];
    return done;
  }
}
