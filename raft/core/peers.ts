/**
 * A leader's view of the others: one `Progress` for each member of the configuration in use, and
 * the questions that need a majority (Raft 5.3, 5.4.2; thesis 6.2).
 *
 * Kept as an array sorted by id, so that whatever is sent goes out in the same order everywhere.
 * Learners get entries and are counted for nothing. A leader that is not a voter does not count
 * itself (thesis 4.2.2).
 */

import { majority } from './configuration.ts';
import type { LogIndex, ServerId } from './ids.ts';
import { Progress } from './progress.ts';
import type { Replica } from './replica.ts';

export class Peers {
  readonly #replica: Replica;
  #list: Progress[] = [];
  #sessions = 0;
  /** Numbers to be sorted, kept to be used again. */
  #scratch: number[] = [];

  constructor(replica: Replica) {
    this.#replica = replica;
  }

  get list(): readonly Progress[] {
    return this.#list;
  }

  find(id: ServerId): Progress | undefined {
    for (const peer of this.#list) if (peer.id === id) return peer;
    return undefined;
  }

  /** A new leader knows nothing of anybody. */
  start(): void {
    this.#list = [];
    this.#sessions = 0;
    this.sync();
  }

  stop(): void {
    this.#list = [];
  }

  /** As the configuration in use says: who is new begins a session, who is gone is forgotten. */
  sync(): void {
    const next: Progress[] = [];
    for (const member of this.#replica.configurations.current.configuration.members) {
      if (member.id === this.#replica.id) continue;
      const known = this.find(member.id);
      if (known !== undefined) known.role = member.role;
      next.push(known ?? this.#begin(member));
    }
    this.#list = next;
  }

  #begin(member: Pick<Progress, 'id' | 'role'>): Progress {
    const { log, ticks, limits } = this.#replica;
    this.#sessions += 1;
    return new Progress(member, { session: this.#sessions, last: log.last, tick: ticks, limits });
  }

  /** What this peer acknowledged does not hold any more: all begins anew with it. */
  restart(peer: Progress): Progress {
    const begun = this.#begin(peer);
    this.#list = this.#list.map((other) => (other === peer ? begun : other));
    return begun;
  }

  /** The highest index that is durable on a majority of the voters. */
  get majorityIndex(): LogIndex {
    this.#scratch.length = 0;
    if (this.#isVoter) this.#scratch.push(this.#ownDurable);
    for (const peer of this.#list) if (peer.role === 'voter') this.#scratch.push(peer.matchIndex);
    return this.#reachedByMajority();
  }

  /** The newest round of heartbeats that a majority of the voters has answered. */
  get majorityRound(): number {
    this.#scratch.length = 0;
    if (this.#isVoter) this.#scratch.push(Number.MAX_SAFE_INTEGER);
    for (const peer of this.#list) if (peer.role === 'voter') this.#scratch.push(peer.round);
    return this.#reachedByMajority();
  }

  get #isVoter(): boolean {
    return this.#replica.configurations.isVoter(this.#replica.id);
  }

  /** Its own log counts like any other: as far as it is on the disk. */
  get #ownDurable(): LogIndex {
    return this.#replica.log.durable;
  }

  /** The largest number that a majority has reached: a few numbers, sorted by insertion. */
  #reachedByMajority(): number {
    const numbers = this.#scratch;
    for (let end = 1; end < numbers.length; end += 1) {
      const number = numbers[end] ?? 0;
      let at = end - 1;
      while (at >= 0 && (numbers[at] ?? 0) < number) {
        numbers[at + 1] = numbers[at] ?? 0;
        at -= 1;
      }
      numbers[at + 1] = number;
    }
    return numbers[majority(numbers.length) - 1] ?? 0;
  }

  /** Heard from within the shortest election time-out. */
  isActive(peer: Progress): boolean {
    const { ticks, limits } = this.#replica;
    return ticks - peer.heardTick < limits.electionTicks;
  }

  /** Whether a majority of the voters, itself counted, is active (thesis 6.2). */
  get isQuorumActive(): boolean {
    let voters = this.#isVoter ? 1 : 0;
    let active = voters;
    for (const peer of this.#list) {
      if (peer.role !== 'voter') continue;
      voters += 1;
      if (this.isActive(peer)) active += 1;
    }
    return active >= majority(voters);
  }

  /** The lowest match among those that are served from memory. */
  get slowestMatch(): LogIndex {
    let slowest = Infinity;
    for (const peer of this.#list) {
      if (peer.state !== 'catchUp' && this.isActive(peer) && peer.matchIndex < slowest) {
        slowest = peer.matchIndex;
      }
    }
    return slowest;
  }

  /** The voter that has most of the log; of equals the first. */
  get mostCurrentVoter(): Progress | undefined {
    let best: Progress | undefined;
    for (const peer of this.#list) {
      if (peer.role !== 'voter') continue;
      if (best === undefined || peer.matchIndex > best.matchIndex) best = peer;
    }
    return best;
  }
}
