/**
 * Which of the other voters this server hears while nobody leads, and where their logs end: what an
 * operator has to know before a cluster that lost its majority for good goes on without it
 * (`Raft.rescue`).
 *
 * Every voter that may stand asks all others again and again, and each of them answers; so who is
 * reached is heard within two election time-outs. Soft, and never used for anything else: a late
 * message can only make a rescue be refused.
 */

import { majority } from './configuration.ts';
import type { LogIndex, ServerId, Term } from './ids.ts';
import type { Message } from './message.ts';
import type { RescueRefusal } from './outcome.ts';
import type { Replica } from './replica.ts';

/** Of a voter that was heard lately. */
export interface Survivor {
  readonly id: ServerId;
  /** Undefined: it has not stood itself, so it is only known whether it would vote for this one. */
  readonly end: { readonly index: LogIndex; readonly term: Term } | undefined;
  /** This server's log is at least as new as its own. */
  readonly isCovered: boolean;
}

interface Heard {
  tick: number;
  end: Survivor['end'];
  grants: boolean;
}

/** Election time-outs, each at most twice `electionTicks` long. */
const HEARD_WITHIN = 4;
const LISTENS_FOR = 6;

export class Survivors {
  readonly #replica: Replica;
  readonly #heard = new Map<ServerId, Heard>();
  /** Since when nobody leads, as far as this server knows. */
  #since: number;

  constructor(replica: Replica) {
    this.#replica = replica;
    this.#since = replica.ticks;
  }

  tick(): void {
    const { leader, ticks } = this.#replica;
    if (leader === undefined) return;
    this.#since = ticks;
    this.#heard.clear();
  }

  /** Of any term and age. */
  hear(message: Message): void {
    const { configurations, leader, ticks } = this.#replica;
    if (leader !== undefined || !configurations.isVoter(message.from)) return;
    const known = this.#heard.get(message.from);
    if (message.kind === 'requestVote') {
      const end = { index: message.lastLogIndex, term: message.lastLogTerm };
      this.#heard.set(message.from, { tick: ticks, end, grants: known?.grants ?? false });
    } else if (message.kind === 'requestVoteReply') {
      const grants = message.voteGranted;
      this.#heard.set(message.from, { tick: ticks, end: known?.end, grants });
    }
  }

  /** In the order of the voters. */
  get list(): readonly Survivor[] {
    const { configurations, limits, ticks, id } = this.#replica;
    return configurations.voters.flatMap((voter) => {
      const heard = this.#heard.get(voter);
      if (voter === id || heard === undefined) return [];
      if (ticks - heard.tick > HEARD_WITHIN * limits.electionTicks) return [];
      const { end, grants } = heard;
      const isCovered = end === undefined ? grants : !this.#isNewer(end);
      return [{ id: voter, end, isCovered }];
    });
  }

  #isNewer({ index, term }: NonNullable<Survivor['end']>): boolean {
    const { last, lastTerm } = this.#replica.log;
    return term === lastTerm ? index > last : term > lastTerm;
  }

  /** Why this server may not go on without the others; undefined: it may. */
  refusal(evenIfShorter: boolean): RescueRefusal | undefined {
    const { role, leader, configurations, id, ticks, limits } = this.#replica;
    if (role === 'stopped') return 'stopped';
    if (!configurations.isVoter(id)) return 'not-voter';
    if (role === 'leader' || leader !== undefined) return 'has-leader';
    if (!this.#isSound) return 'damaged';
    if (ticks - this.#since < LISTENS_FOR * limits.electionTicks) return 'listening';
    const survivors = this.list;
    if (survivors.length + 1 >= majority(configurations.voters.length)) return 'quorum';
    const isLongest = survivors.every(({ isCovered }) => isCovered);
    return isLongest || evenIfShorter ? undefined : 'shorter-log';
  }

  /** What it goes on with is all that is left: nobody can give back what it lacks. */
  get #isSound(): boolean {
    const { faults, tailLost, stateLost } = this.#replica;
    return faults.first === undefined && !tailLost && !stateLost;
  }
}
