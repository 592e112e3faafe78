/**
 * The receiver of AppendEntries and heartbeats (Raft figure 2, 5.3), and what it acknowledges.
 *
 * An acknowledgement is no message that waits: it is what is verified against the leader's log,
 * durable and sound, told whenever that has grown. So it can neither be early nor speak of an entry
 * that was overwritten since. Only a conflict removes entries, and never a committed one.
 */

import { assert } from './assert.ts';
import type { Entry } from './entry.ts';
import type { Founding } from './founding.ts';
import type { LogIndex, ServerId, Term } from './ids.ts';
import type { AppendEntries, Heartbeat } from './message.ts';
import type { Replica } from './replica.ts';

/** Entries follow one another from `prevLogIndex`, and terms do not go back. */
function isWellFormed({ entries, prevLogIndex, prevLogTerm, term }: AppendEntries): boolean {
  let index = prevLogIndex;
  let termBefore = prevLogTerm;
  for (const entry of entries) {
    index += 1;
    if (entry.index !== index || entry.term < termBefore || entry.term > term) return false;
    if ((entry.kind === 'configuration') !== (entry.configuration !== undefined)) return false;
    termBefore = entry.term;
  }
  return Number.isSafeInteger(index);
}

export class Follower {
  readonly #replica: Replica;
  readonly #founding: Founding;
  #session = 0;
  #sessionTerm: Term = 0;
  /** The end of the last append that is not acknowledged in full. */
  #due: LogIndex | undefined;
  #lastAcknowledged: LogIndex = 0;
  /** Something was written since the last acknowledgement. */
  #hasWritten = false;

  constructor(replica: Replica, founding: Founding) {
    this.#replica = replica;
    this.#founding = founding;
  }

  /** From the leader of this term. */
  appendEntries(message: AppendEntries): void {
    const { prevLogIndex, entries, leaderCommit } = message;
    if (!isWellFormed(message) || !this.#isOfThisStay(message)) return;
    this.#cutUnknownEnd();
    if (!this.#matches(prevLogIndex, message.prevLogTerm)) {
      this.#reject(message);
      return;
    }
    if (!this.#founding.mayBegin(entries)) return;
    this.#append(entries);
    const verified = prevLogIndex + entries.length;
    const replica = this.#replica;
    if (verified > replica.verified) replica.verified = verified;
    replica.commit(Math.min(leaderCommit, replica.verified));
    this.#due = Math.max(this.#due ?? 0, Math.min(verified, replica.soundThrough));
  }

  heartbeat(message: Heartbeat): void {
    if (!this.#isOfThisStay(message)) return;
    const replica = this.#replica;
    replica.commit(Math.min(message.leaderCommit, replica.verified));
    replica.outbox.send({
      kind: 'heartbeatReply',
      from: replica.id,
      to: message.from,
      term: replica.term,
      session: message.session,
      // What it may have forgotten must not confirm a leader (thesis 6.4).
      round: replica.isBlank ? 0 : message.round,
      inReserve: replica.inReserve,
    });
  }

  /** A message of an earlier stay in the cluster speaks to a server that is gone. */
  #isOfThisStay({ term, session }: AppendEntries | Heartbeat): boolean {
    if (term !== this.#sessionTerm) {
      this.#sessionTerm = term;
      this.#session = 0;
    }
    if (session < this.#session) return false;
    if (session > this.#session) {
      this.#session = session;
      this.#lastAcknowledged = 0;
      this.#due = undefined;
    }
    return true;
  }

  /**
   * What cannot be read at the end, with nothing sound behind it, makes way for the leader's
   * entries. From then on it is remembered that something acknowledged may be missing.
   */
  #cutUnknownEnd(): void {
    const { faults, log } = this.#replica;
    if (!faults.isEndUnknown) return;
    this.#replica.setTailLost(true);
    const kept = Math.min(log.last, faults.soundUpTo(Infinity));
    if (kept < log.last) this.#replica.truncateSuffix(kept);
    else log.cutUnknownSuffix();
    faults.truncateSuffix(kept);
  }

  /** The leader has everything that is committed, so there the logs agree (Raft 5.4.3). */
  #matches(prevLogIndex: LogIndex, prevLogTerm: Term): boolean {
    const { log, commitIndex, faults } = this.#replica;
    if (prevLogIndex > log.last) return false;
    const isSound = faults.at(prevLogIndex) === undefined;
    if (prevLogIndex <= commitIndex) {
      const isInLog = prevLogIndex >= log.start - 1 && isSound;
      assert(
        !isInLog || log.termAt(prevLogIndex) === prevLogTerm,
        'a leader has what is committed',
      );
      return true;
    }
    return isSound && log.termAt(prevLogIndex) === prevLogTerm;
  }

  /** Raft 5.3: an entry that conflicts goes, and all that follow it; nothing else does. */
  #append(entries: readonly Entry[]): void {
    const { log } = this.#replica;
    for (const entry of entries) {
      if (entry.index <= log.last) {
        if (!this.#conflicts(entry)) continue;
        this.#replica.truncateSuffix(entry.index - 1);
      }
      this.#take(entry);
    }
  }

  /**
   * Of a damaged entry that is not in memory, often only a lower bound of the term is known.
   * If the leader's may be the same, the entry stays, to be replaced in place.
   */
  #conflicts({ index, term }: Entry): boolean {
    const { log, faults, commitIndex } = this.#replica;
    if (index <= commitIndex) return false;
    const known = log.termAt(index) ?? 0;
    const range = faults.at(index);
    if (range === undefined || log.inMemory(index) !== undefined) return term !== known;
    if (index === range.through && range.throughTerm !== undefined)
      return term !== range.throughTerm;
    return term < known;
  }

  #take(entry: Entry): void {
    const { log, configurations } = this.#replica;
    log.append(entry.local === undefined ? entry : { ...entry, local: undefined });
    const { configuration, index } = entry;
    if (configuration !== undefined) configurations.append({ index, configuration });
  }

  /**
   * What it acknowledged from here on does not hold any more. Its leader may count on it, and would
   * send nothing of it again.
   */
  tellLost(): void {
    const { leader, log, soundThrough, term } = this.#replica;
    if (leader === undefined || this.#sessionTerm !== term) return;
    const sound = Math.min(log.last, soundThrough);
    const message = { from: leader, session: this.#session, prevLogIndex: sound + 1 };
    this.#refuse(message, sound, true);
  }

  #reject(message: AppendEntries): void {
    const { log, faults, commitIndex, tailLost, isBlank } = this.#replica;
    const sound = faults.soundUpTo(Math.min(message.prevLogIndex, log.last));
    const agreeing = log.highestWithTermUpTo(sound, message.prevLogTerm) ?? commitIndex;
    const isLost = tailLost || faults.isEndUnknown || isBlank;
    this.#refuse(message, Math.max(agreeing, commitIndex), isLost);
  }

  #refuse(
    { from, session, prevLogIndex }: Pick<AppendEntries, 'from' | 'session' | 'prevLogIndex'>,
    hintIndex: LogIndex,
    tailLost: boolean,
  ): void {
    const { outbox, id, term, log, inReserve } = this.#replica;
    outbox.send({
      kind: 'appendEntriesReply',
      from: id,
      to: from,
      term,
      session,
      success: false,
      matchIndex: 0,
      rejectedIndex: prevLogIndex,
      hintIndex,
      hintTerm: log.termAt(hintIndex) ?? 0,
      tailLost,
      inReserve,
    });
  }

  /** The sender leads no more: it learns the term, and steps down (thesis 6.2). */
  rejectStale(message: AppendEntries | Heartbeat): void {
    this.#refuse({ ...message, prevLogIndex: 0 }, 0, false);
  }

  /** A write is on the disk. */
  written(): void {
    this.#hasWritten = true;
  }

  /** Once before each `Ready`: tells the leader what has become durable since. */
  acknowledge(): void {
    const { leader, acknowledged, term } = this.#replica;
    const hasGrown = this.#hasWritten && acknowledged > this.#lastAcknowledged;
    this.#hasWritten = false;
    if (leader === undefined || this.#sessionTerm !== term) return;
    const isDue = this.#due !== undefined && acknowledged >= this.#due;
    if (!isDue && !hasGrown) return;
    if (isDue) this.#due = undefined;
    this.#lastAcknowledged = acknowledged;
    this.#success(leader, acknowledged);
  }

  #success(to: ServerId, matchIndex: LogIndex): void {
    const { outbox, id, term, inReserve } = this.#replica;
    outbox.send({
      kind: 'appendEntriesReply',
      from: id,
      to,
      term,
      session: this.#session,
      success: true,
      matchIndex,
      rejectedIndex: 0,
      hintIndex: 0,
      hintTerm: 0,
      tailLost: false,
      inReserve,
    });
  }
}
