/**
 * The state of one replica that all parts of the core share (Raft figure 2, "State").
 *
 * Term, vote and log are what is persistent; the rest is volatile. It holds the rules that bind
 * them: a change of term or vote goes into the next write and holds back messages until it is
 * durable; the commit index never moves back. Who is leader, and when, is decided in `raft.ts`.
 */

import { assert } from './assert.ts';
import { ConfigurationHistory } from './configuration-history.ts';
import { EntryLog } from './entry-log.ts';
import { FaultyRanges } from './faulty-ranges.ts';
import type { LogIndex, ServerId, Term } from './ids.ts';
import type { Limits, RaftOptions } from './options.ts';
import { Outbox } from './outbox.ts';
import type { HardState, Role } from './ready.ts';
import { WriteLedger } from './write-ledger.ts';

export class Replica {
  readonly id: ServerId;
  readonly limits: Limits;
  readonly random: () => number;
  readonly ledger = new WriteLedger();
  readonly outbox = new Outbox();
  readonly log: EntryLog;
  readonly configurations: ConfigurationHistory;
  readonly faults = new FaultyRanges();
  role: Role = 'follower';
  leader: ServerId | undefined;
  /** Ticks since the start. */
  ticks = 0;
  /** Up to here the log matches that of the leader of this term. */
  verified: LogIndex;
  /** Applied by the state machine, as the host told. */
  applied: LogIndex;
  /** The checkpoint on the disk is at least here: of what lies below, the log is not needed. */
  checkpoint: LogIndex;
  /** Not to stand before the log has this, nor to serve before it is applied. */
  serveFrom: LogIndex;
  inReserve = false;
  /**
   * What lies before its log cannot be read. So it votes (its log says what it has), but neither
   * stands nor acknowledges: it could not give back what an acknowledgement speaks of.
   */
  stateLost: boolean;
  readonly incarnation: string | undefined;
  /** The cluster knows another server under this name: it has to end. */
  isStranger = false;
  #term: Term;
  #vote: ServerId | undefined;
  #tailLost: boolean;
  #commitIndex: LogIndex;
  #isHardStateChanged = false;

  constructor(options: RaftOptions, limits: Limits) {
    const { recovered } = options;
    this.id = options.id;
    this.incarnation = options.incarnation;
    this.limits = limits;
    this.random = () => options.random();
    this.log = new EntryLog(recovered, this.ledger);
    this.configurations = new ConfigurationHistory(recovered.configurations);
    for (const range of recovered.faulty) this.faults.add(range);
    this.faults.truncatePrefix(recovered.start);
    this.#term = recovered.hardState.term;
    this.#vote = recovered.hardState.vote;
    this.#tailLost = recovered.hardState.tailLost ?? false;
    assert(this.#term >= this.log.lastTerm, 'the term is not below that of the last entry');
    assert(
      recovered.applied >= this.log.start - 1 && recovered.applied <= this.log.last,
      'the checkpoint covers what the log does not hold',
    );
    this.#commitIndex = recovered.applied;
    this.applied = recovered.applied;
    this.checkpoint = recovered.applied;
    this.verified = recovered.applied;
    this.serveFrom = recovered.serveFrom;
    this.stateLost = recovered.stateLost ?? false;
    assert(
      !this.stateLost || recovered.applied === recovered.start - 1,
      'without its state it has applied nothing of its log',
    );
  }

  get term(): Term {
    return this.#term;
  }

  get vote(): ServerId | undefined {
    return this.#vote;
  }

  get tailLost(): boolean {
    return this.#tailLost;
  }

  get commitIndex(): LogIndex {
    return this.#commitIndex;
  }

  /** Nobody can tell from its log whether it is new (`founding.ts`). */
  get isBlank(): boolean {
    return this.incarnation !== undefined && this.log.last === 0;
  }

  get isSoleVoter(): boolean {
    return this.configurations.isSoleVoter(this.id);
  }

  /** A new term has no vote yet, and nothing of the log is known to match its leader's. */
  setTerm(term: Term): void {
    assert(term > this.#term, 'the term never goes back');
    this.#term = term;
    this.#vote = undefined;
    this.verified = this.#commitIndex;
    this.#hardStateChanged();
  }

  setVote(vote: ServerId): void {
    if (this.#vote === vote) return;
    assert(this.#vote === undefined, 'one vote in a term');
    this.#vote = vote;
    this.#hardStateChanged();
  }

  setTailLost(tailLost: boolean): void {
    if (this.#tailLost === tailLost) return;
    this.#tailLost = tailLost;
    this.#hardStateChanged();
  }

  #hardStateChanged(): void {
    this.#isHardStateChanged = true;
    this.outbox.hold();
  }

  get isHardStateChanged(): boolean {
    return this.#isHardStateChanged;
  }

  /** For the next write; undefined where it did not change. */
  takeHardState(): HardState | undefined {
    if (!this.#isHardStateChanged) return undefined;
    this.#isHardStateChanged = false;
    return { term: this.#term, vote: this.#vote, tailLost: this.#tailLost };
  }

  /** Whether it has moved; it never moves back. */
  commit(index: LogIndex): boolean {
    if (index <= this.#commitIndex) return false;
    assert(index <= this.log.last, 'only what is in the log is committed');
    this.#commitIndex = index;
    if (this.verified < index) this.verified = index;
    return true;
  }

  /** Entries behind `lastKept` go, with the configurations that they brought (thesis 4.1). */
  truncateSuffix(lastKept: LogIndex): void {
    assert(lastKept >= this.#commitIndex, 'what is committed is never truncated');
    this.log.truncateSuffix(lastKept);
    this.configurations.truncateSuffix(lastKept);
    this.faults.truncateSuffix(lastKept);
    this.verified = Math.min(this.verified, lastKept);
  }

  /** Up to here the log is readable, or not needed. */
  get soundThrough(): LogIndex {
    return this.faults.soundThrough(this.checkpoint);
  }

  /** Up to here the log is this leader's, durable, and sound: what may be acknowledged. */
  get acknowledged(): LogIndex {
    if (this.stateLost) return 0;
    return Math.min(this.verified, this.log.durable, this.soundThrough);
  }

  /** Whether a log that ends so is at least as new as this one (Raft 5.4.1). */
  isUpToDate(lastLogIndex: LogIndex, lastLogTerm: Term): boolean {
    if (lastLogTerm !== this.log.lastTerm) return lastLogTerm > this.log.lastTerm;
    return lastLogIndex >= this.log.last;
  }
}
