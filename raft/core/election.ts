/**
 * Elections: the timer, who may stand, the answer to a request for a vote, and the count (Raft 5.2,
 * 5.4.1; pre-vote thesis 9.6; servers that hear from a leader thesis 4.2.3).
 *
 * It never changes role or term: `raft.ts` does, with what is told here. Pre-vote and check-quorum
 * belong together: a leader that cannot reach a majority steps down, and a server that hears from
 * a leader helps nobody to replace it.
 */

import { majority } from './configuration.ts';
import { Founding } from './founding.ts';
import type { ServerId } from './ids.ts';
import type { RequestVote, RequestVoteReply } from './message.ts';
import type { Replica } from './replica.ts';

type Ballot = Pick<RequestVoteReply, 'from' | 'voteGranted' | 'incarnation'>;

export type Tally = 'open' | 'won' | 'lost';

export class Election {
  readonly #replica: Replica;
  readonly founding: Founding;
  #elapsed = 0;
  #timeout = 0;
  #granted: ServerId[] = [];
  #rejected: ServerId[] = [];

  constructor(replica: Replica) {
    this.#replica = replica;
    this.founding = new Founding(replica);
    this.resetTimer();
    if (replica.isSoleVoter) this.#elapsed = this.#timeout;
  }

  /** A new time-out is drawn each time, so that split votes are rare (Raft 5.2). */
  resetTimer(): void {
    const { electionTicks } = this.#replica.limits;
    this.#elapsed = 0;
    this.#timeout = electionTicks + Math.floor(this.#replica.random() * electionTicks);
  }

  heardFromLeader(): void {
    this.#elapsed = 0;
  }

  /** Whether the election time-out has passed; then the next one begins. */
  tick(): boolean {
    this.#elapsed += 1;
    if (this.#elapsed < this.#timeout) return false;
    this.resetTimer();
    return true;
  }

  /** It has heard from a leader within the shortest election time-out, or is one. */
  get hearsFromLeader(): boolean {
    const { role, leader, limits } = this.#replica;
    if (role === 'leader') return true;
    return leader !== undefined && this.#elapsed < limits.electionTicks;
  }

  /** Heartbeats did not come that should have: it will stand soon, if none comes. */
  get missesLeader(): boolean {
    const { role, limits } = this.#replica;
    return role !== 'leader' && this.#elapsed > 2 * limits.heartbeatTicks;
  }

  /**
   * Whether this server may stand. One that is being removed may, while that is not committed
   * (thesis 4.2.2). One with damage, without its state, with an end that was lost, or with a disk
   * that hangs may not.
   */
  get mayStand(): boolean {
    const { id, configurations, commitIndex, log, faults } = this.#replica;
    const isMember =
      configurations.isVoter(id) ||
      (configurations.current.index > commitIndex && configurations.wasVoter(id));
    const { tailLost, stateLost } = this.#replica;
    if (!isMember || tailLost || stateLost || log.durable < log.start - 1) return false;
    const { first } = faults;
    const isSound = first === undefined || (this.#replica.isSoleVoter && this.#isApplied);
    return isSound && log.durable >= this.#replica.serveFrom && !this.isDiskStalled;
  }

  /** All damage lies in what the state machine has behind it. */
  get #isApplied(): boolean {
    const { faults, applied } = this.#replica;
    return faults.list.every(({ through }) => through !== undefined && through <= applied);
  }

  /** The oldest write is under way for too long. */
  get isDiskStalled(): boolean {
    const { ledger, ticks, limits } = this.#replica;
    return ticks - (ledger.oldestTick ?? ticks) >= limits.diskStallTicks;
  }

  /** Forgets the last count, and asks every other voter. */
  begin(preVote: boolean, transfer: boolean): void {
    this.#granted = [];
    this.#rejected = [];
    this.founding.begin();
    const { id, term, log, outbox } = this.#replica;
    for (const to of this.#electorate) {
      if (to === id) continue;
      const request: RequestVote = {
        kind: 'requestVote',
        from: id,
        to,
        term: preVote ? term + 1 : term,
        lastLogIndex: log.last,
        lastLogTerm: log.lastTerm,
        preVote,
        transfer,
      };
      if (preVote) outbox.sendUnheld(request);
      else outbox.send(request);
    }
  }

  /** The voters of the configuration in use (thesis 4.1); for the first leader all founders. */
  get #electorate(): readonly ServerId[] {
    const { configurations } = this.#replica;
    if (!this.founding.isBlank) return configurations.voters;
    return configurations.current.configuration.members.map(({ id }) => id);
  }

  countOwn(): Tally {
    return this.count({
      from: this.#replica.id,
      voteGranted: true,
      incarnation: this.founding.incarnation,
    });
  }

  count({ from, voteGranted, incarnation }: Ballot): Tally {
    const counts = voteGranted && this.founding.takes(from, incarnation);
    const answers = counts ? this.#granted : this.#rejected;
    if (!this.#granted.includes(from) && !this.#rejected.includes(from)) answers.push(from);
    const electorate = this.#electorate;
    let granting = 0;
    let rejecting = 0;
    for (const id of electorate) {
      if (this.#granted.includes(id)) granting += 1;
      if (this.#rejected.includes(id)) rejecting += 1;
    }
    const needed = this.founding.isBlank ? electorate.length : majority(electorate.length);
    if (granting >= needed) return 'won';
    return rejecting > electorate.length - needed ? 'lost' : 'open';
  }

  /** Of this term, or a pre-vote of whatever term: grants at most one vote a term. */
  answer(request: RequestVote): void {
    const replica = this.#replica;
    const voteGranted = this.#grants(request);
    if (voteGranted && !request.preVote) {
      replica.setVote(request.from);
      this.#elapsed = 0;
    }
    this.#reply(request, voteGranted);
  }

  /** The sender is behind the times: it learns the term. */
  reject(request: RequestVote): void {
    this.#reply(request, false);
  }

  #grants(request: RequestVote): boolean {
    const replica = this.#replica;
    if (!this.#knowsItsEnd || !replica.isUpToDate(request.lastLogIndex, request.lastLogTerm)) {
      return false;
    }
    const isFree = replica.vote === undefined || replica.vote === request.from;
    if (!request.preVote) return isFree;
    if (this.hearsFromLeader || request.term < replica.term) return false;
    return request.term > replica.term || isFree;
  }

  /** Its last index and term are those of everything that it has acknowledged. */
  get #knowsItsEnd(): boolean {
    const { tailLost, faults, log } = this.#replica;
    if (tailLost || faults.isEndUnknown) return false;
    const range = faults.at(log.last);
    return range === undefined || range.throughTerm !== undefined;
  }

  #reply(request: RequestVote, voteGranted: boolean): void {
    const { id, term, outbox } = this.#replica;
    const { from, preVote } = request;
    const reply: RequestVoteReply = {
      kind: 'requestVoteReply',
      from: id,
      to: from,
      term: voteGranted ? request.term : term,
      voteGranted,
      preVote,
      incarnation: this.founding.incarnation,
    };
    if (preVote) outbox.sendUnheld(reply);
    else outbox.send(reply);
  }
}
