/**
 * What must hold after every event (Raft figure 3, and the promises of the host): the checks know
 * all replicas at once, and each only by what it gave to its disk, what it applied, and its
 * cursors.
 *
 * Log matching is checked by induction: two entries of one index and term are the same and follow
 * the same term. *Committed* is what any replica ever called so; it is kept for ever.
 */

import type { HardState } from '../raft.ts';
import { LogMirror, UNKNOWN_TERM } from './log-mirror.ts';
import type { MirrorEntry } from './log-mirror.ts';
import { violation } from './violation.ts';

type Voters = readonly string[];

/** The cursors of a replica, after an event. */
export interface ReplicaView {
  readonly term: number;
  /** Empty: none in this term. */
  readonly vote: string;
  readonly leads: boolean;
  readonly start: number;
  readonly applied: number;
  readonly committed: number;
  readonly last: number;
  /** Voters of the configuration that is active in it. */
  readonly voters: readonly string[];
  /** And all of its members. */
  readonly members: readonly string[];
  /** That configuration is committed. */
  readonly settled: boolean;
  /** Some of its log cannot be read: it does not know what stood there. */
  readonly damaged: boolean;
  /** Some of it is needed: its checkpoint does not cover it. */
  readonly needsRepair: boolean;
}

export interface HeldOnDisk {
  /** Index of its state. */
  readonly checkpoint: number;
  /** Of its log. */
  readonly start: number;
  readonly entries: readonly MirrorEntry[];
  /** A state from a peer has become the current one since the last start. */
  readonly replaced: boolean;
  /** Went bad in the middle or at a known end. */
  readonly damaged: readonly number[];
  /** Damage may hide its last vote: it refuses to start, or is alone. */
  readonly voteUnsure: boolean;
  /** Damage has taken everything from here on. */
  readonly unknownFrom: number | undefined;
  /** Of its hard state; '' for no vote. */
  readonly term: number;
  readonly vote: string;
  readonly tailLost: boolean;
  /** Of the configuration at its checkpoint. */
  readonly voters: readonly string[];
}

interface Kept {
  readonly log: LogMirror;
  /** What the disk had that was wiped: who acknowledged it may have been counted. */
  readonly former: LogMirror | undefined;
  view: ReplicaView | undefined;
  /** Voters of its log and of its view that were found to be the same ones: lists never change. */
  agreed: readonly [ofLog: Voters | undefined, ofView: Voters | undefined];
  /** Promised on disk: what a restart must not fall behind. */
  term: number;
  vote: string;
  /** The highest that was given to the disk. */
  writtenTerm: number;
  /** Whether the last hard state that was given to it says that the end of the log was lost. */
  writtenTailLost: boolean;
  /** Known to be committed while the log on its disk was the one that it went by. */
  committed: number;
  /** A state takes the place of the log, and is not durable yet. */
  isInstalling: boolean;
  /** Of the log that goes then: committed, on its disk until then, and in the state afterwards. */
  heldBefore: number;
}

interface KnownEntry {
  readonly term: number;
  readonly digest: number;
  readonly termBefore: number;
}

interface Committed extends MirrorEntry {
  /** Term of the replica that called it committed first. */
  readonly byTerm: number;
}

export class SafetyChecks {
  readonly #replicas = new Map<string, Kept>();
  readonly #leaders = new Map<number, string>();
  /** By index: one for each term. */
  readonly #known = new Map<number, KnownEntry[]>();
  /** From index 1 on. */
  readonly #committed: Committed[] = [];
  /** Digest of the state machine behind each index. */
  readonly #digests: (number | undefined)[] = [];

  get committed(): number {
    return this.#committed.length;
  }

  get elections(): number {
    return this.#leaders.size;
  }

  logOf(node: string): LogMirror {
    return this.#kept(node).log;
  }

  /** The replica gives a term to its disk, in front of the entries of that write. */
  wroteHardState(node: string, { term, tailLost }: HardState): void {
    const kept = this.#kept(node);
    kept.writtenTerm = Math.max(kept.writtenTerm, term);
    kept.writtenTailLost = tailLost === true;
  }

  /** The replica gives entries to its disk; what stood there and behind is overwritten. */
  wrote(node: string, entries: readonly MirrorEntry[]): void {
    const { log, writtenTerm } = this.#kept(node);
    const [first] = entries;
    const last = entries.at(-1);
    if (first === undefined || last === undefined) return;
    if (last.term > writtenTerm) {
      const text = `${node} writes an entry of term ${last.term} in front of that term`;
      violation('promised is durable', text);
    }
    this.#drops(node, first.index, entries);
    log.write(entries);
    for (const entry of entries) this.#match(node, entry, log.at(entry.index - 1));
  }

  /** Entries take the place of damaged ones: those of a leader, whatever stood there. */
  repaired(node: string, entries: readonly MirrorEntry[]): void {
    const { log } = this.#kept(node);
    for (const entry of entries) {
      if (log.at(entry.index)?.term !== UNKNOWN_TERM) continue;
      this.#keepsCommitted(node, entry.index, entry);
      log.repaired(entry);
      this.#match(node, entry, log.at(entry.index - 1));
    }
  }

  cutSuffix(node: string, lastKept: number): void {
    const { log } = this.#kept(node);
    this.#drops(node, lastKept + 1, []);
    log.truncateSuffix(lastKept);
  }

  cutPrefix(node: string, firstKept: number): void {
    const { log, view } = this.#kept(node);
    if (view !== undefined && firstKept > view.applied + 1) {
      violation('cursors in order', `${node} drops its log up to ${firstKept - 1} unapplied`);
    }
    log.truncatePrefix(firstKept);
  }

  durable(node: string, last: number): void {
    const kept = this.#kept(node);
    kept.log.madeDurable(last);
    if (kept.log.durable >= kept.log.start - 1) kept.isInstalling = false;
  }

  hardStateDurable(node: string, term: number, vote: string): void {
    const kept = this.#kept(node);
    if (term === kept.term && kept.vote !== '' && vote !== kept.vote) {
      violation('one vote a term', `${node} votes for ${kept.vote} and ${vote} in term ${term}`);
    }
    if (term < kept.term) {
      violation('monotone term', `${node} writes term ${term} behind ${kept.term}`);
    }
    kept.term = term;
    kept.vote = vote;
  }

  /** A state took the place of the log up to this index. */
  installed(node: string, before: Pick<MirrorEntry, 'index' | 'term'>, voters: Voters): void {
    const { index, term } = before;
    const committed = this.#committed[index - 1];
    if (committed !== undefined && committed.term !== term) {
      violation('committed is immutable', `${node} takes a state at ${index} of term ${term}`);
    }
    const kept = this.#kept(node);
    kept.heldBefore = Math.min(safeOf(kept), kept.view?.committed ?? 0);
    kept.isInstalling = true;
    kept.log.restart({ index, term, digest: committed?.digest ?? 0 }, voters);
  }

  /** Its disk is an empty one from now on: it has promised nothing. */
  wiped(node: string): void {
    this.#replicas.set(node, nothingKept(this.#replicas.get(node)?.log));
  }

  /** What its disk alone held when it started again. */
  restarted(node: string, held: HeldOnDisk): void {
    const { log, ...kept } = this.#kept(node);
    const { start, term, vote, damaged, unknownFrom } = held;
    if (start - 1 > held.checkpoint) {
      violation('promise kept over a crash', `${node} has no state for a log from ${start} on`);
    }
    // What cannot be read is for the checks what it was.
    const entries = held.entries.map((entry) =>
      entry.term === UNKNOWN_TERM ? (log.everAt(entry.index) ?? entry) : entry,
    );
    this.#keepsDurable(node, { ...held, entries });
    const lastTerm = entries.at(-1)?.term ?? 0;
    if (!held.voteUnsure && (term < kept.term || term < lastTerm)) {
      const text = `${node} comes back in term ${term}, it was promised ${kept.term}`;
      violation('promise kept over a crash', `${text}; its last entry has ${lastTerm}`);
    }
    if (!held.voteUnsure && term === kept.term && kept.vote !== '' && vote !== kept.vote) {
      const text = `${node} comes back with a vote for '${vote}' in term ${term}`;
      violation('promise kept over a crash', `${text}, it was promised to ${kept.vote}`);
    }
    // Where it knew more to be committed than was on its disk, others had it: what was being cut
    // for it may stand there again; nothing was acknowledged in its place (`acknowledges`).
    const known = Math.min(kept.committed, Math.max(log.durable, held.checkpoint));
    for (const entry of entries) {
      if (entry.index <= known) this.#keepsCommitted(node, entry.index, entry);
    }
    const found = new LogMirror();
    found.restart(this.#before(log, start), held.voters);
    found.write(entries);
    found.madeDurable(start + entries.length - 1);
    found.wentBad(damaged);
    // What went bad was on its disk when it acknowledged it.
    const isHurt = unknownFrom !== undefined || damaged.length > 0;
    const former = isHurt ? log : kept.former;
    const fresh = { view: undefined, isInstalling: false, heldBefore: 0 };
    // A write may have reached the disk before a crash, and nobody was told: it is what it goes by.
    const promised = { term, vote: held.voteUnsure ? '' : vote };
    const written = { writtenTerm: term, writtenTailLost: held.tailLost };
    this.#replicas.set(node, { ...kept, ...fresh, ...promised, ...written, log: found, former });
  }

  #keepsDurable(node: string, held: HeldOnDisk): void {
    const { log } = this.#kept(node);
    const { start, entries, replaced, unknownFrom = Infinity } = held;
    const last = Math.min(log.durable, unknownFrom - 1);
    for (let index = Math.max(log.start, start); index <= last; index += 1) {
      const found = entries[index - start];
      const wanted = log.everAt(index);
      if (found?.term === wanted?.term && found?.digest === wanted?.digest) continue;
      // A state that came from a peer takes the place of a log that went another way.
      if (replaced && wanted?.term !== this.#committed[index - 1]?.term) continue;
      violation('promise kept over a crash', `${node} lost entry ${index}, which was durable`);
    }
  }

  applied(node: string, index: number, digest: number): void {
    const known = this.#digests[index];
    this.#digests[index] ??= digest;
    if (known === undefined || known === digest) return;
    violation('state-machine safety', `${node} differs behind entry ${index}`);
  }

  /** A vote leaves the server, or a bid for votes: its own (Raft figure 2). */
  votes(node: string, term: number, candidate: string): void {
    const kept = this.#kept(node);
    if (kept.term === term && kept.vote === candidate) return;
    const text = `${node} votes for ${candidate} in term ${term}, its disk has ${kept.term}`;
    violation('promised is durable', `${text} and '${kept.vote}'`);
  }

  /** An acknowledgement leaves it: of nothing but what is on its disk, committed or not. */
  acknowledges(node: string, matchIndex: number): void {
    const safe = safeOf(this.#kept(node));
    if (matchIndex <= safe) return;
    violation('promised is durable', `${node} acknowledges ${matchIndex} and has ${safe} on disk`);
  }

  /** After every event. */
  look(node: string, view: ReplicaView): void {
    const kept = this.#kept(node);
    const before = kept.view;
    if (view.term < kept.term) {
      violation('monotone term', `${node} is in term ${view.term}, promised ${kept.term}`);
    }
    if (before !== undefined) this.#goesOn(node, before, view);
    const { start, applied, committed, last } = view;
    if (start - 1 > applied || applied > committed || committed > last) {
      const text = `start ${start}, applied ${applied}, committed ${committed}, last ${last}`;
      violation('cursors in order', `${node}: ${text}`);
    }
    if (view.leads && before?.leads !== true) this.#leads(node, view);
    else if (view.leads && before?.term !== view.term) this.#leads(node, view);
    this.#configured(node, kept, view);
    kept.view = view;
    if (view.leads && before?.leads === true) this.#counts(node, before, view);
    if (!kept.isInstalling && view.start <= kept.log.start) kept.committed = view.committed;
    this.#commits(node, view, before);
  }

  #goesOn(node: string, before: ReplicaView, view: ReplicaView): void {
    if (view.term < before.term) {
      violation('monotone term', `${node} goes from term ${before.term} to ${view.term}`);
    }
    if (view.term === before.term && before.vote !== '' && view.vote !== before.vote) {
      const text = `${node} changes from ${before.vote} to ${view.vote} in term ${view.term}`;
      violation('one vote a term', text);
    }
    if (view.committed < before.committed) {
      violation('monotone commit', `${node} goes from ${before.committed} to ${view.committed}`);
    }
    if (view.applied < before.applied) {
      violation('monotone applied', `${node} goes from ${before.applied} to ${view.applied}`);
    }
  }

  /** The newest configuration in the log is in use, committed or not (thesis 4.1). */
  #configured(node: string, kept: Kept, view: ReplicaView): void {
    const { log, agreed } = kept;
    this.#changesOneByOne(node, log, view);
    const { voters = [] } = log;
    if (view.damaged || view.start > log.start) return;
    if (agreed[0] === voters && agreed[1] === view.voters) return;
    if (voters.length === view.voters.length && voters.every((id) => view.voters.includes(id))) {
      kept.agreed = [voters, view.voters];
      return;
    }
    const text = `${node} goes by [${view.voters.join(' ')}], its log says [${voters.join(' ')}]`;
    violation('goes by its configuration', text);
  }

  /** One change at a time, and none before a commit of the term (thesis 4.1, corrected 2015). */
  #changesOneByOne(node: string, log: LogMirror, { leads, term, committed }: ReplicaView): void {
    if (!leads) return;
    const pending = log.changesBehind(committed, term);
    const most = log.at(committed)?.term === term ? 1 : 0;
    if (pending <= most) return;
    const text = `${node} has ${pending} changes of its term ${term} under way, ${most} is right`;
    violation('one change of members at a time', text);
  }

  /** What a leader commits by counting ends in an entry of its own term (Raft 5.4.2). */
  #counts(node: string, before: ReplicaView, view: ReplicaView): void {
    if (view.committed === before.committed || view.term !== before.term) return;
    const entry = this.#kept(node).log.at(view.committed);
    if (entry?.term === view.term) return;
    const text = `${node} leads term ${view.term} and commits up to ${view.committed}`;
    violation('commits by its own term', `${text}, of term ${entry?.term ?? 'unknown'}`);
  }

  #leads(node: string, view: ReplicaView): void {
    const { term } = view;
    const other = this.#leaders.get(term);
    if (other !== undefined && other !== node) {
      violation('election safety', `${node} and ${other} lead in term ${term}`);
    }
    this.#leaders.set(term, node);
    const { log } = this.#kept(node);
    for (let index = log.start; index <= this.committed; index += 1) {
      const committed = this.#committed[index - 1] as Committed;
      if (committed.byTerm >= term || log.at(index)?.term === committed.term) continue;
      const text = `${node} leads term ${term} without entry ${index} of term ${committed.term}`;
      violation('leader completeness', text);
    }
  }

  #commits(node: string, view: ReplicaView, before: ReplicaView | undefined): void {
    const { log } = this.#kept(node);
    const from = before?.committed ?? 0;
    // A state takes the place of this log: what it says now is looked at when it starts again.
    if (view.start > log.start) return;
    for (let index = Math.max(from + 1, log.start); index <= view.committed; index += 1) {
      const entry = log.at(index);
      const committed = this.#committed[index - 1];
      if (committed !== undefined) {
        if (entry?.term !== UNKNOWN_TERM) this.#keepsCommitted(node, index, entry);
        continue;
      }
      if (entry === undefined || index !== this.committed + 1) {
        violation('cursors in order', `${node} commits ${index}, which is not in its log`);
      }
      this.#committed.push({ ...entry, byTerm: view.term });
      this.#onQuorum(node, [view.voters, before?.voters ?? view.voters], entry);
    }
  }

  /**
   * By the voters of now, or of before the event: within one it may be committed first, and then
   * the configuration changed.
   */
  #onQuorum(node: string, [now, before]: readonly [Voters, Voters], entry: MirrorEntry): void {
    const isHeld = (voter: string): boolean => {
      const kept = this.#replicas.get(voter);
      return isDurableOn(kept?.log, entry) || isDurableOn(kept?.former, entry);
    };
    const isQuorum = (voters: Voters): boolean => voters.filter(isHeld).length > voters.length / 2;
    if (isQuorum(now) || (before !== now && isQuorum(before))) return;
    const text = `${node} commits entry ${entry.index} of term ${entry.term}, which is durable on `;
    const where = `[${now.filter(isHeld).join(' ')}] of [${now.join(' ')}]`;
    violation('committed is durable on a quorum', text + where);
  }

  #keepsCommitted(node: string, index: number, entry: MirrorEntry | undefined): void {
    const committed = this.#committed[index - 1];
    if (committed === undefined || entry?.term === committed.term) return;
    const instead = entry === undefined ? 'nothing' : `one of term ${entry.term}`;
    const text = `entry ${index} of term ${committed.term} was committed; ${node} has ${instead}`;
    violation('committed is immutable', text);
  }

  /**
   * What is dropped or replaced, from the first index on, was never committed. Who has not heard of
   * the term that committed it may drop it by the word of an earlier leader, whose message was long
   * on its way: it was not counted.
   */
  #drops(node: string, firstIndex: number, entries: readonly MirrorEntry[]): void {
    const { log, writtenTailLost, view, term } = this.#kept(node);
    const termBefore = view?.term ?? term;
    for (let index = firstIndex; index <= Math.min(log.last, this.committed); index += 1) {
      // Who remembers that its end was lost may cut what it cannot read there.
      if (writtenTailLost && log.at(index)?.term === UNKNOWN_TERM) continue;
      const held = log.everAt(index);
      const instead = entries[index - firstIndex];
      // An entry that differs from what was committed has to go.
      const { term: wanted, byTerm } = this.#committed[index - 1] as Committed;
      if (held?.term === wanted && termBefore >= byTerm) {
        this.#keepsCommitted(node, index, instead);
      }
    }
  }

  #match(node: string, entry: MirrorEntry, before: MirrorEntry | undefined): void {
    if (before?.term === UNKNOWN_TERM) return;
    const { index, term, digest } = entry;
    const termBefore = before?.term ?? 0;
    const there = this.#known.get(index);
    const known = there?.find((one) => one.term === term);
    if (known === undefined) {
      const first = { term, digest, termBefore };
      if (there === undefined) this.#known.set(index, [first]);
      else there.push(first);
      return;
    }
    if (known.digest === digest && known.termBefore === termBefore) return;
    const text = `entry ${index} of term ${term} is another one on ${node}`;
    violation('log matching', text);
  }

  /** The entry before a log's start, as far as anybody knows it. */
  #before(log: LogMirror, start: number): MirrorEntry {
    const unknown = { index: start - 1, term: 0, digest: 0 };
    return this.#committed[start - 2] ?? log.at(start - 1) ?? unknown;
  }

  #kept(node: string): Kept {
    let kept = this.#replicas.get(node);
    if (kept === undefined) {
      kept = nothingKept(undefined);
      this.#replicas.set(node, kept);
    }
    return kept;
  }
}

function nothingKept(former: LogMirror | undefined): Kept {
  return {
    log: new LogMirror(),
    former,
    view: undefined,
    agreed: [undefined, undefined],
    term: 0,
    vote: '',
    writtenTerm: 0,
    writtenTailLost: false,
    committed: 0,
    isInstalling: false,
    heldBefore: 0,
  };
}

function safeOf({ log, isInstalling, heldBefore }: Kept): number {
  return isInstalling ? Math.max(log.durable, heldBefore) : log.durable;
}

function isDurableOn(log: LogMirror | undefined, { index, term }: MirrorEntry): boolean {
  if (log === undefined || log.durable < index) return false;
  return log.start > index || log.at(index)?.term === term;
}
