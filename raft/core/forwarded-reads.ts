/**
 * Reads asked for on a follower: it asks its leader for a read index, and serves once that is
 * applied here (thesis 6.4, end).
 *
 * One request is under way at a time; what comes meanwhile shares the next. Requests are numbered
 * from a random start, so that a late answer to an earlier life of this server fits no question of
 * this one. Without an answer in time, or with another leader, they are refused and asked again.
 */

import type { ServerId, Term } from './ids.ts';
import type { ReadIndexReply } from './message.ts';
import type { Reads } from './reads.ts';
import type { Replica } from './replica.ts';

const RANDOM_STARTS = 2 ** 32;
const NUMBERS_BETWEEN = 2 ** 20;

interface Request {
  readonly number: number;
  readonly ids: readonly number[];
  readonly tick: number;
  readonly term: Term;
  readonly leader: ServerId;
}

export class ForwardedReads {
  readonly #replica: Replica;
  readonly #reads: Reads;
  #waiting: number[] = [];
  #request: Request | undefined;
  #lastNumber: number;

  constructor(replica: Replica, reads: Reads) {
    this.#replica = replica;
    this.#reads = reads;
    this.#lastNumber = Math.floor(replica.random() * RANDOM_STARTS) * NUMBERS_BETWEEN;
  }

  get pending(): number {
    return this.#waiting.length + (this.#request?.ids.length ?? 0);
  }

  ask(id: number): void {
    const { leader, limits } = this.#replica;
    if (leader === undefined || this.pending + this.#reads.pending >= limits.pendingReads) {
      this.#reads.refuse(id);
    } else {
      this.#waiting.push(id);
    }
  }

  /** Before each `Ready`: what waits goes to the leader, or nowhere. */
  send(): void {
    const { leader, term, id, ticks } = this.#replica;
    const request = this.#request;
    if (request !== undefined && (request.term !== term || request.leader !== leader)) {
      this.#refuseAll();
    }
    if (leader === undefined || leader === id) {
      this.#refuseAll();
      return;
    }
    if (this.#request !== undefined || this.#waiting.length === 0) return;
    const number = this.nextNumber();
    this.#request = { number, ids: this.#waiting, tick: ticks, term, leader };
    this.#waiting = [];
    const { outbox } = this.#replica;
    outbox.send({ kind: 'readIndexRequest', from: id, to: leader, term, id: number });
  }

  nextNumber(): number {
    this.#lastNumber += 1;
    return this.#lastNumber;
  }

  tick(): void {
    const { ticks, limits } = this.#replica;
    if (ticks - (this.#request?.tick ?? ticks) >= limits.electionTicks) this.#refuseAll();
  }

  reply({ id, from, index }: ReadIndexReply): void {
    const request = this.#request;
    if (request === undefined || request.number !== id || request.leader !== from) return;
    this.#request = undefined;
    for (const read of request.ids) {
      if (index === 0) this.#reads.refuse(read);
      else this.#reads.confirmed(read, index);
    }
  }

  #refuseAll(): void {
    for (const id of this.#request?.ids ?? []) this.#reads.refuse(id);
    for (const id of this.#waiting) this.#reads.refuse(id);
    this.#request = undefined;
    this.#waiting = [];
  }
}
