/**
 * The way back of a server whose log lost its end: it may have acknowledged entries that it does
 * not have, so it neither votes nor stands until it has them again.
 *
 * It asks its leader where the leader's log ends, after it has started: whatever it acknowledged
 * lies before that, or was never committed. The question is numbered as reads are, so that a late
 * answer to an earlier life is none; and it is forgotten with the term.
 */

import type { Follower } from './follower.ts';
import type { ForwardedReads } from './forwarded-reads.ts';
import type { LogIndex, Term } from './ids.ts';
import type { ReadIndexReply } from './message.ts';
import type { Replica } from './replica.ts';

export class TailRecovery {
  readonly #replica: Replica;
  readonly #numbers: ForwardedReads;
  readonly #follower: Follower;
  #untilAsked = 0;
  #number = 0;
  #term: Term = 0;
  #target: LogIndex | undefined;

  constructor(replica: Replica, numbers: ForwardedReads, follower: Follower) {
    this.#replica = replica;
    this.#follower = follower;
    this.#numbers = numbers;
  }

  tick(): void {
    const { tailLost, faults, leader, id, term, limits, outbox } = this.#replica;
    if (!(tailLost || faults.isEndUnknown) || leader === undefined) return;
    if (this.#term !== term) this.#target = undefined;
    this.#untilAsked -= 1;
    if (this.#untilAsked > 0) return;
    this.#untilAsked = limits.electionTicks;
    this.#term = term;
    this.#follower.tellLost();
    if (this.#target !== undefined) return;
    this.#number = this.#numbers.nextNumber();
    outbox.send({ kind: 'readIndexRequest', from: id, to: leader, term, id: this.#number });
  }

  reply({ id, from, term, index, lastLogIndex }: ReadIndexReply): void {
    if (id !== this.#number || term !== this.#term || index === 0) return;
    if (from === this.#replica.leader) this.#target = lastLogIndex;
  }

  /** Before each `Ready`. */
  settle(): void {
    const { tailLost, term, acknowledged } = this.#replica;
    if (!tailLost || this.#target === undefined || this.#term !== term) return;
    if (acknowledged >= this.#target) this.#replica.setTailLost(false);
  }
}
