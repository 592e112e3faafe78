/**
 * Damaged entries, got back from peers (protocol-aware recovery; storage.md "Recovery").
 *
 * A request names an anchor: a sound entry behind the damage, or the last damaged one where its
 * header is sound. A log that has the anchor has the same entries before it (log matching), so any
 * server may answer *have*, leader or not. *Don't have* is said by a sound log alone. Where there
 * is no leader, and a majority of the voters says so in a term that this server has begun, no
 * leader before that term can commit the entry any more: then it never was, and is cut off.
 *
 * A damaged copy never says *don't have*, and a range that is known committed is never cut.
 */

import { majority } from './configuration.ts';
import type { Entry } from './entry.ts';
import type { Fetches, PendingFetch } from './fetches.ts';
import type { LogIndex, ServerId, Term } from './ids.ts';
import type { RepairAnswer, RepairReply, RepairRequest } from './message.ts';
import type { FaultyRange } from './options.ts';
import type { Replica } from './replica.ts';

const NONE: readonly Entry[] = [];

interface Anchor {
  readonly index: LogIndex;
  readonly term: Term;
}

/** Of a range that is known committed: whoever knows that too has the same entries. */
const COMMITTED: Anchor = { index: 0, term: 0 };

export class Repairs {
  readonly #replica: Replica;
  readonly #fetches: Fetches;
  #untilAsked = 0;
  /** Who said *don't have* of the first range since it was asked last. */
  #dontHave: ServerId[] = [];
  /** Answers in this term are final: nobody who gave one listens to an earlier leader. */
  #fencedTerm: Term = 0;
  #repaired: readonly Entry[] = NONE;
  #isWriting = false;

  constructor(replica: Replica, fetches: Fetches) {
    this.#replica = replica;
    this.#fetches = fetches;
  }

  /**
   * Asks again where an answer is missing. Whether this server should begin a term for it: a
   * majority does not have the range, as far as that can be said without.
   */
  tick(): boolean {
    const { faults, leader, limits } = this.#replica;
    const { first } = faults;
    this.#untilAsked -= 1;
    if (first === undefined || this.#isWriting || this.#untilAsked > 0) return false;
    this.#untilAsked = limits.electionTicks;
    if (leader !== undefined) {
      this.#ask(first, [leader]);
      return false;
    }
    if (this.#isUncommitted && first.from > this.#replica.commitIndex) return true;
    this.#ask(first, this.#replica.configurations.voters);
    return false;
  }

  /** A term of its own has begun: what is answered in it is final. */
  askFenced(): void {
    const { faults, term, configurations } = this.#replica;
    this.#fencedTerm = term;
    if (faults.first !== undefined) this.#ask(faults.first, configurations.voters);
  }

  #anchor(range: FaultyRange): Anchor | undefined {
    const { log, commitIndex } = this.#replica;
    const { through, throughTerm } = range;
    if (through === undefined) return undefined;
    const termBehind = log.termAt(through + 1);
    if (termBehind !== undefined) return { index: through + 1, term: termBehind };
    if (throughTerm !== undefined) return { index: through, term: throughTerm };
    return through <= commitIndex ? COMMITTED : undefined;
  }

  #ask(range: FaultyRange, servers: readonly ServerId[]): void {
    const { id, term, outbox } = this.#replica;
    const anchor = this.#anchor(range);
    this.#dontHave = [];
    if (anchor === undefined || range.through === undefined) return;
    for (const to of servers) {
      if (to === id) continue;
      outbox.send({
        kind: 'repairRequest',
        from: id,
        to,
        term,
        fromIndex: range.from,
        throughIndex: range.through,
        anchorIndex: anchor.index,
        anchorTerm: anchor.term,
      });
    }
  }

  /** A peer asks. */
  answer(request: RepairRequest): void {
    const { log, limits } = this.#replica;
    const { from, fromIndex, throughIndex } = request;
    if (fromIndex < 1 || throughIndex < fromIndex) return;
    const answer = this.#answerTo(request);
    if (answer !== 'have') this.#reply(request, answer, NONE);
    else if (fromIndex >= log.memoryFirst) {
      this.#reply(request, 'have', log.slice(fromIndex, throughIndex, limits.messageBytes));
    } else {
      this.#fetches.ask({
        reason: 'repair',
        to: from,
        from: fromIndex,
        through: Math.min(throughIndex, log.memoryFirst - 1),
        maxBytes: limits.messageBytes,
      });
    }
  }

  #answerTo({ fromIndex, throughIndex, anchorIndex, anchorTerm }: RepairRequest): RepairAnswer {
    const { log, faults, commitIndex, tailLost } = this.#replica;
    const end = Math.max(anchorIndex, throughIndex);
    if (fromIndex < log.start || faults.touches(fromIndex, end)) return 'unknown';
    if (anchorIndex === 0) return throughIndex <= commitIndex ? 'have' : 'unknown';
    if (log.termAt(anchorIndex) === anchorTerm) return 'have';
    return tailLost || this.#isWriteUnderWay ? 'unknown' : 'dontHave';
  }

  /** What was cut off in memory may come back with the next start. */
  get #isWriteUnderWay(): boolean {
    return this.#replica.ledger.size > 0 || this.#replica.log.hasUnsubmitted;
  }

  #reply(
    { from, fromIndex, throughIndex }: Pick<RepairRequest, 'from' | 'fromIndex' | 'throughIndex'>,
    answer: RepairAnswer,
    entries: readonly Entry[],
  ): void {
    const { id, term, outbox } = this.#replica;
    outbox.send({
      kind: 'repairReply',
      from: id,
      to: from,
      term,
      fromIndex,
      throughIndex,
      answer,
      entries,
    });
  }

  fetched(fetch: PendingFetch, entries: readonly Entry[]): void {
    const { to, from, through } = fetch;
    this.#reply({ from: to, fromIndex: from, throughIndex: through }, 'have', entries);
  }

  fetchFailed({ to, from, through }: PendingFetch): void {
    this.#reply({ from: to, fromIndex: from, throughIndex: through }, 'unknown', NONE);
  }

  /** Whether the first range was found to be uncommitted: it is to be cut off. */
  reply({ from, term, fromIndex, answer, entries }: RepairReply): boolean {
    const { first } = this.#replica.faults;
    if (first === undefined || first.from !== fromIndex || this.#isWriting) return false;
    switch (answer) {
      case 'have':
        this.#accept(first, entries);
        return false;
      case 'unknown':
        return false;
      case 'dontHave':
        if (term !== this.#replica.term) return false;
        if (!this.#dontHave.includes(from)) this.#dontHave.push(from);
        return term === this.#fencedTerm && this.#isUncommitted;
    }
  }

  get #isUncommitted(): boolean {
    const { voters } = this.#replica.configurations;
    let without = 0;
    for (const id of voters) if (this.#dontHave.includes(id)) without += 1;
    return without >= majority(voters.length);
  }

  #accept(range: FaultyRange, entries: readonly Entry[]): void {
    const through = range.through ?? 0;
    const fitting: Entry[] = [];
    for (const entry of entries) {
      if (entry.index !== range.from + fitting.length) return;
      if (entry.index > through) break;
      fitting.push(entry);
    }
    if (fitting.length === 0) return;
    this.#isWriting = true;
    this.#repaired = fitting;
  }

  get hasRepaired(): boolean {
    return this.#repaired.length > 0;
  }

  /** For the next write; nothing where the log was cut there meanwhile. */
  take(): readonly Entry[] {
    const repaired = this.#repaired;
    this.#repaired = NONE;
    const isStillFaulty = this.#replica.faults.at(repaired[0]?.index ?? 0) !== undefined;
    if (isStillFaulty || repaired.length === 0) return repaired;
    this.#isWriting = false;
    return NONE;
  }

  /** They are in place, unless the log was cut there meanwhile. */
  persisted(entries: readonly Entry[]): void {
    if (entries.length === 0) return;
    this.#isWriting = false;
    this.#untilAsked = 0;
    const { faults, log, configurations } = this.#replica;
    const from = entries[0]?.index ?? 0;
    if (faults.at(from) === undefined) return;
    log.repair(entries);
    faults.repaired(from, from + entries.length - 1);
    for (const { index, configuration } of entries) {
      if (configuration !== undefined) configurations.repair({ index, configuration });
    }
  }

  /** The first range is cut off. */
  cut(): void {
    this.#dontHave = [];
    this.#repaired = NONE;
    this.#isWriting = false;
    this.#untilAsked = 0;
  }
}
