/**
 * Damaged entries, got back from peers (protocol-aware recovery; storage.md "Recovery").
 *
 * A request names an anchor: the last damaged entry where its header is sound, or the sound one
 * behind the damage. A log that has the anchor has the same entries before it (log matching), so
 * any server may answer *have*, leader or not, and the answer holds whatever its age, as long as
 * the anchor is still in the log that asked. What nobody has was never committed: the entries of
 * the next leader take its place, like those of any other uncommitted entry.
 *
 * A damaged copy never says *don't have*, and nothing is cut off because nobody has it. What is cut
 * is only what cannot follow a repaired entry, because its term is lower.
 */

import type { Entry } from './entry.ts';
import type { Follower } from './follower.ts';
import type { Fetches, PendingFetch } from './fetches.ts';
import type { ServerId, Term } from './ids.ts';
import type { RepairAnswer, RepairReply, RepairRequest } from './message.ts';
import type { FaultyRange } from './options.ts';
import type { Replica } from './replica.ts';

const NONE: readonly Entry[] = [];

type Asked = Pick<
  RepairRequest,
  'from' | 'fromIndex' | 'throughIndex' | 'anchorIndex' | 'anchorTerm'
>;

type Wanted = Omit<Asked, 'from'>;

/** Anchor of what is known committed: whoever knows that too has the same entries. */
const COMMITTED = { anchorIndex: 0, anchorTerm: 0 } as const;

export class Repairs {
  readonly #replica: Replica;
  readonly #fetches: Fetches;
  readonly #follower: Follower;
  /** The leader has not got the first range any more: others may, or a checkpoint covers it. */
  #isLeaderWithout = false;
  #untilAsked = 0;
  #repaired: readonly Entry[] = NONE;
  /** Answers to peers that wait for the disk. */
  #fetching: { readonly fetchId: number; readonly request: Asked }[] = [];
  #isWriting = false;

  constructor(replica: Replica, fetches: Fetches, follower: Follower) {
    this.#follower = follower;
    this.#replica = replica;
    this.#fetches = fetches;
  }

  /** Asks again where an answer is missing: the leader, or everybody. */
  tick(): void {
    const { faults, leader, limits, configurations, applied } = this.#replica;
    const { first } = faults;
    this.#untilAsked -= 1;
    if (first === undefined || this.#isWriting || this.#untilAsked > 0) return;
    this.#untilAsked = limits.electionTicks;
    if (this.#isInMemory(first)) return;
    if (leader !== undefined && !this.#isLeaderWithout) {
      this.#ask(first, [leader]);
      return;
    }
    this.#ask(first, configurations.voters);
    // Perhaps nobody has it any more, but a checkpoint that covers it.
    if (this.#isLeaderWithout && (first.through ?? Infinity) > applied) this.#follower.tellLost();
    this.#isLeaderWithout = false;
  }

  /** What was damaged after it was written may still be in memory. */
  #isInMemory(range: FaultyRange): boolean {
    const { log, limits } = this.#replica;
    if (range.from < log.memoryFirst || range.through === undefined) return false;
    this.#accept(range, log.slice(range.from, range.through, limits.messageBytes));
    return true;
  }

  /** What to ask for of a range: with a leader, first what is known committed. */
  #wanted({ from, through, throughTerm }: FaultyRange): Wanted | undefined {
    const { log, commitIndex, leader } = this.#replica;
    if (through === undefined) return undefined;
    const range = { fromIndex: from, throughIndex: through };
    const committed = {
      fromIndex: from,
      throughIndex: Math.min(through, commitIndex),
      ...COMMITTED,
    };
    // A leader knows of every commit; others may have forgotten it with a restart.
    if (leader !== undefined && from <= commitIndex) return committed;
    if (throughTerm !== undefined) {
      return { ...range, anchorIndex: through, anchorTerm: throughTerm };
    }
    const termBehind = log.termAt(through + 1);
    if (termBehind !== undefined) {
      return { ...range, anchorIndex: through + 1, anchorTerm: termBehind };
    }
    return from <= commitIndex ? committed : undefined;
  }

  #ask(range: FaultyRange, servers: readonly ServerId[]): void {
    const { id, term, outbox } = this.#replica;
    const wanted = this.#wanted(range);
    if (wanted === undefined) return;
    for (const to of servers) {
      if (to !== id) outbox.send({ kind: 'repairRequest', from: id, to, term, ...wanted });
    }
  }

  /** A peer asks. For each peer one fetch at a time is under way. */
  answer(request: RepairRequest): void {
    const { log, limits } = this.#replica;
    const { from, fromIndex, throughIndex, anchorIndex } = request;
    if (fromIndex < 1 || throughIndex < fromIndex) return;
    if (anchorIndex !== 0 && anchorIndex < throughIndex) return;
    const answer = this.#answerTo(request);
    if (answer !== 'have') this.#reply(request, answer, NONE);
    else if (fromIndex >= log.memoryFirst) {
      this.#reply(request, 'have', log.slice(fromIndex, throughIndex, limits.messageBytes));
    } else if (!this.#fetching.some(({ request: { from: other } }) => other === from)) {
      const fetchId = this.#fetches.ask({
        reason: 'repair',
        to: from,
        from: fromIndex,
        through: Math.min(throughIndex, log.memoryFirst - 1),
        maxBytes: limits.messageBytes,
      });
      this.#fetching.push({ fetchId, request });
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

  #reply(request: Asked, answer: RepairAnswer, entries: readonly Entry[]): void {
    const { id, term, outbox } = this.#replica;
    const { from, fromIndex, throughIndex, anchorIndex, anchorTerm } = request;
    outbox.send({
      kind: 'repairReply',
      from: id,
      to: from,
      term,
      fromIndex,
      throughIndex,
      anchorIndex,
      anchorTerm,
      answer,
      entries,
    });
  }

  fetched({ id }: PendingFetch, entries: readonly Entry[]): void {
    const request = this.#takeAsked(id);
    if (request !== undefined) this.#reply(request, 'have', entries);
  }

  fetchFailed({ id }: PendingFetch): void {
    const request = this.#takeAsked(id);
    if (request !== undefined) this.#reply(request, 'unknown', NONE);
  }

  #takeAsked(id: number): Asked | undefined {
    const found = this.#fetching.find(({ fetchId }) => fetchId === id);
    this.#fetching = this.#fetching.filter((one) => one !== found);
    return found?.request;
  }

  reply(reply: RepairReply): void {
    const { faults, leader } = this.#replica;
    const { first } = faults;
    if (first === undefined || this.#isWriting || !this.#isStillAsked(first, reply)) return;
    if (reply.answer === 'have') this.#accept(first, reply.entries);
    else if (reply.answer === 'unknown' && reply.from === leader) this.#isLeaderWithout = true;
  }

  /** An answer for an anchor that was overwritten since speaks of another log. */
  #isStillAsked(range: FaultyRange, reply: RepairReply): boolean {
    const wanted = this.#wanted(range);
    if (wanted === undefined || range.from !== reply.fromIndex) return false;
    return wanted.anchorIndex === reply.anchorIndex && wanted.anchorTerm === reply.anchorTerm;
  }

  #accept(range: FaultyRange, entries: readonly Entry[]): void {
    const through = range.through ?? 0;
    const fitting: Entry[] = [];
    for (const entry of entries) {
      if (entry.index !== range.from + fitting.length) return;
      if (entry.index > through) break;
      fitting.push(entry);
    }
    const last = fitting[fitting.length - 1];
    if (last === undefined) return;
    this.#cutWhatCannotFollow(last);
    this.#isWriting = true;
    this.#repaired = fitting;
  }

  /**
   * Terms never go back in a log: if those that follow do, they are of another leader, and were
   * never committed.
   */
  #cutWhatCannotFollow({ index, term }: Entry): void {
    const { log, faults, commitIndex } = this.#replica;
    const range = faults.at(index + 1);
    const next = range === undefined ? log.termAt(index + 1) : this.#termOfEnd(range);
    if (next === undefined || next >= term) return;
    const kept = Math.max(index, commitIndex);
    if (kept < log.last) this.#replica.truncateSuffix(kept);
  }

  /** Not below the term of any damaged entry: that of the last one, or of the sound one behind. */
  #termOfEnd({ through, throughTerm }: FaultyRange): Term | undefined {
    if (through === undefined) return undefined;
    return throughTerm ?? this.#replica.log.termAt(through + 1);
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
    const placed = entries.filter(({ index }) => faults.at(index) !== undefined);
    if (placed.length === 0 || placed[0]?.index !== from) return;
    log.repair(placed);
    faults.repaired(from, from + placed.length - 1);
    for (const { index, configuration } of placed) {
      if (configuration !== undefined) configurations.repair({ index, configuration });
    }
  }
}
