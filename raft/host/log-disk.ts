/**
 * The port `Disk` over a log of the storage engine: one entry is one batch, a term is an epoch.
 *
 * Everything goes through the log's one ordered stream. A cut of the suffix is a point in that
 * stream: what is written meanwhile waits here, and is bounded by who writes. A write counts as
 * persisted when its last entry, or, in one without entries, its hard state is on stable storage;
 * since the stream is ordered, so is all before it. Nothing is kept that the log could not tell
 * again: after a crash, `Log.open` has everything.
 *
 * The count of records tells the kinds apart: an entry of commands has at least one; without
 * records, one without bytes is the empty entry with which a term begins, and one with bytes a
 * configuration.
 */

import type { FaultyRange, Log, LogBatch } from '#storage';
import type { Entry } from '../core/entry.ts';
import type { LogIndex, Term } from '../core/ids.ts';
import type { TermStart } from '../core/options.ts';
import type { HardState } from '../core/ready.ts';
import { decodeConfiguration, encodeConfiguration } from './configuration-codec.ts';
import { RepairedEntries } from './repaired-entries.ts';
import type { DamagedRange, Disk, DiskListener, DiskRead, DiskWrite } from './ports.ts';

type StorageIndex = Log['start'];

/** What the log notes of an entry of commands, beside its payload. */
export interface CommandsNote {
  readonly timestampMs: number;
  /** At least 1. */
  readonly recordCount: number;
}

export interface LogDiskOptions {
  /** The disk's from now on; its maker calls `logFailed`. */
  readonly log: Log;
  /**
   * Opens the log of repaired entries; asked for where there is damage. `if-there`: undefined where
   * it was never made. Its failure is one of the disk: its maker calls `logFailed` too.
   */
  openRepairs(how: 'if-there' | 'make'): Promise<Log | undefined>;
  /** Of an entry of commands; from its payload, so that each replica notes the same. */
  note(entry: Entry): CommandsNote;
}

interface OnItsWay {
  readonly token: number;
  /** Persisted with this entry. */
  readonly last: LogIndex;
}

const NOTHING = new Uint8Array(0);
/** Stands behind the vote; no name of a server holds a NUL. */
const TAIL_LOST = '\0tail-lost';

export class LogDisk implements Disk {
  readonly #log: Log;
  readonly #note: LogDiskOptions['note'];
  readonly #openRepairs: LogDiskOptions['openRepairs'];
  #repairs: RepairedEntries | undefined;
  #listener: DiskListener | undefined;
  /** Writes with entries, in the order of the stream. */
  #onItsWay: OnItsWay[] = [];
  /** Behind a cut or a repair that is under way. */
  #waiting: DiskWrite[] = [];
  #blocked = false;
  /** Of the cut that is under way. */
  #cutTo = Number.POSITIVE_INFINITY;
  /** The last hard state that is on its way. */
  #voting: Promise<void> = Promise.resolve();
  #failure: Error | undefined;
  #toldToken = 0;

  constructor(options: LogDiskOptions) {
    this.#log = options.log;
    this.#note = (entry) => options.note(entry);
    this.#openRepairs = (how) => options.openRepairs(how);
    options.log.onDurable((durable) => this.#durable(durable));
  }

  get start(): LogIndex {
    return this.#log.start;
  }

  get termBeforeStart(): Term {
    return this.#log.epochBeforeStart;
  }

  get last(): LogIndex {
    return this.#log.last;
  }

  /** What a cut is about to take away counts no more. */
  get durable(): LogIndex {
    return Math.min(this.#log.durable, this.#cutTo, ...this.#waiting.map(keptOf));
  }

  get terms(): readonly TermStart[] {
    const starts = this.#log.epochs.map(({ epoch, firstIndex }) => ({ term: epoch, firstIndex }));
    const repairs = this.#repairs;
    return repairs === undefined ? starts : withRepaired(starts, repairs, this.#log.faulty);
  }

  get hardState(): HardState {
    return hardStateIn(this.#log.hardState);
  }

  get faulty(): readonly DamagedRange[] {
    return this.#log.faulty.flatMap((range) => this.#unrepaired(range));
  }

  get hardStateUnsure(): boolean {
    return this.#log.faulty.some((range) => range.hardStateUnsure);
  }

  async recover(): Promise<void> {
    if (this.#log.faulty.length === 0) return;
    const repairs = await this.#openRepairs('if-there');
    if (repairs !== undefined) this.#repairs = await RepairedEntries.open(repairs);
  }

  listen(listener: DiskListener): void {
    this.#listener = listener;
    const failure = this.#failure ?? this.#log.failed;
    if (failure !== undefined) this.logFailed(failure);
  }

  /** From whoever opened the log, and so hears of it. */
  logFailed(error: Error): void {
    this.#failure ??= error;
    this.#waiting = [];
    this.#onItsWay = [];
    const listener = this.#listener;
    this.#listener = undefined;
    listener?.failed(this.#failure);
  }

  write(write: DiskWrite): void {
    if (this.#failure !== undefined) return;
    if (this.#blocked) this.#waiting.push(write);
    else this.#carryOut(write);
  }

  async read(from: LogIndex, maxBytes: number): Promise<DiskRead> {
    const outcome = await this.#log.read(from as StorageIndex, { maxBytes });
    switch (outcome.kind) {
      case 'truncated':
        return { kind: 'outside' };
      case 'faulty': {
        const { range } = outcome;
        const entries = (await this.#repairs?.read(range.segmentId, from, maxBytes)) ?? [];
        if (entries.length > 0) return { kind: 'entries', entries };
        return { kind: 'faulty', range: damaged(range, from, range.through) };
      }
      case 'batches':
        if (outcome.batches.length === 0) return { kind: 'outside' };
        return { kind: 'entries', entries: outcome.batches.map(asEntry) };
    }
  }

  async truncatePrefix(firstKept: LogIndex): Promise<void> {
    await this.#log.truncatePrefix(firstKept as StorageIndex);
    await this.#repairs?.forget(this.start, this.last);
  }

  async close(): Promise<void> {
    await this.#log.close();
    await this.#repairs?.close();
  }

  // --- The stream of writes.

  #carryOut(write: DiskWrite): void {
    const { hardState, truncateAfter, entries, token, repaired } = write;
    try {
      if (repaired.length > 0) {
        this.#block(this.#repair(repaired), { ...write, repaired: [] });
      } else if (truncateAfter !== undefined) {
        this.#cutTo = truncateAfter;
        const cut = this.#cut(truncateAfter, hardState);
        this.#block(cut, { ...write, hardState: undefined, truncateAfter: undefined });
      } else {
        const alone = entries.length === 0;
        if (hardState !== undefined) this.#writeHardState(hardState, alone ? token : undefined);
        else if (alone) this.#persisted(token);
        this.#append(write);
      }
    } catch (error) {
      this.#refused(error);
    }
  }

  /** `rest` of the write, and what has come meanwhile, when `done`. */
  #block(done: Promise<void>, rest: DiskWrite): void {
    this.#blocked = true;
    done.then(
      () => {
        this.#blocked = false;
        this.#cutTo = Number.POSITIVE_INFINITY;
        if (this.#failure !== undefined) return;
        const waiting = this.#waiting;
        this.#waiting = [];
        this.#carryOut(rest);
        for (const next of waiting) this.write(next);
      },
      (error: unknown) => this.#refused(error),
    );
  }

  #writeHardState(hardState: HardState, token: number | undefined): void {
    this.#voting = this.#log.setHardState(stored(hardState)).then(
      () => {
        if (token !== undefined) this.#persisted(token);
      },
      (error: unknown) => this.#refused(error),
    );
  }

  #append({ token, entries }: DiskWrite): void {
    const last = entries.at(-1)?.index;
    if (last === undefined) return;
    for (const entry of entries) this.#appendOne(entry);
    this.#onItsWay.push({ token, last });
  }

  #appendOne(entry: Entry): void {
    const { index, term, kind, payload, configuration } = entry;
    const log = this.#log;
    if (index !== log.last + 1) throw new Error(`entry ${index} comes behind entry ${log.last}`);
    if (kind === 'commands') {
      log.append({ epoch: term, ...this.#note(entry), payload: [payload] });
      return;
    }
    const bytes = configuration === undefined ? NOTHING : encodeConfiguration(configuration);
    log.append({ epoch: term, timestampMs: 0, recordCount: 0, payload: [bytes] });
  }

  /**
   * Durable when it resolves, and so are the hard state and everything before it. A log is not cut
   * inside of damage: what was repaired of that is appended again, and until it is durable too,
   * this replica counts as one that lost its end.
   */
  async #cut(lastKept: LogIndex, hardState: HardState | undefined): Promise<void> {
    const log = this.#log;
    const inside = log.faulty.find(({ from, through }) => {
      return from <= lastKept && (through ?? Number.POSITIVE_INFINITY) > lastKept;
    });
    const state = hardState === undefined ? undefined : stored(hardState);
    if (inside === undefined) await log.truncateSuffix(lastKept as StorageIndex, state);
    else await this.#cutInside(inside, lastKept, hardState);
  }

  async #cutInside(
    { from, segmentId }: FaultyRange,
    lastKept: LogIndex,
    given: HardState | undefined,
  ): Promise<void> {
    const log = this.#log;
    await this.#voting;
    const hardState = given ?? this.hardState;
    const maxBytes = Number.POSITIVE_INFINITY;
    const read = (await this.#repairs?.read(segmentId, from, maxBytes)) ?? [];
    const kept = read.filter(({ index }) => index <= lastKept);
    if (from + kept.length !== lastKept + 1) {
      throw new Error(`entry ${lastKept} is to stay, and is damaged`);
    }
    const lost = stored({ ...hardState, tailLost: true });
    await log.truncateSuffix((from - 1) as StorageIndex, lost);
    for (const entry of kept) this.#appendOne(entry);
    await log.setHardState(stored(hardState));
  }

  /** Durable when it resolves, and so is everything before it. */
  async #repair(entries: readonly Entry[]): Promise<void> {
    const repairs = await this.#repairsMade();
    const placed = entries.flatMap((entry) => {
      const range = this.#log.faulty.find(({ from, through }) => {
        return from <= entry.index && entry.index <= (through ?? Number.POSITIVE_INFINITY);
      });
      return range === undefined ? [] : [{ segmentId: range.segmentId, entry }];
    });
    await repairs.add(placed);
    await this.#voting;
    await this.#log.appended(this.#log.last);
  }

  async #repairsMade(): Promise<RepairedEntries> {
    if (this.#repairs !== undefined) return this.#repairs;
    const log = await this.#openRepairs('make');
    if (log === undefined) throw new Error('the log of repaired entries was not made');
    this.#repairs = await RepairedEntries.open(log);
    return this.#repairs;
  }

  /** What of the range is damaged still, without the marks between entries. */
  #unrepaired(range: FaultyRange): DamagedRange[] {
    const { from, through, segmentId } = range;
    const repairs = this.#repairs;
    if (through === undefined) return [damaged(range, from, undefined)];
    if (repairs === undefined) return through < from ? [] : [damaged(range, from, through)];
    const left: DamagedRange[] = [];
    let first: LogIndex | undefined;
    for (let index: LogIndex = from; index <= through + 1; index++) {
      const isSound = index > through || repairs.has(segmentId, index);
      if (!isSound) first ??= index;
      else if (first !== undefined) {
        left.push(damaged(range, first, index - 1));
        first = undefined;
      }
    }
    return left;
  }

  /** The log refused: it has failed, or is damaged at its end, or it is a bug. */
  #refused(error: unknown): void {
    this.logFailed(error instanceof Error ? error : new Error(String(error)));
  }

  #durable(durable: number): void {
    const onItsWay = this.#onItsWay;
    let count = 0;
    while (count < onItsWay.length && (onItsWay[count] as OnItsWay).last <= durable) count++;
    if (count === 0) return;
    const { token } = onItsWay[count - 1] as OnItsWay;
    if (count === onItsWay.length) onItsWay.length = 0;
    else onItsWay.splice(0, count);
    this.#persisted(token);
  }

  /** The entries of a collected write are told before a hard state in it that came earlier. */
  #persisted(token: number): void {
    if (token <= this.#toldToken) return;
    this.#toldToken = token;
    this.#listener?.persisted(token);
  }
}

/** What a log's hard state says of the replica. */
export function hardStateIn({ term, vote }: Log['hardState']): HardState {
  const tailLost = vote.endsWith(TAIL_LOST);
  const name = tailLost ? vote.slice(0, -TAIL_LOST.length) : vote;
  return { term, vote: name === '' ? undefined : name, tailLost };
}

function keptOf({ truncateAfter = Number.POSITIVE_INFINITY }: DiskWrite): number {
  return truncateAfter;
}

function stored({ term, vote = '', tailLost = false }: HardState): { term: number; vote: string } {
  return { term, vote: tailLost ? `${vote}${TAIL_LOST}` : vote };
}

function asEntry(batch: LogBatch): Entry {
  const { index, epoch, recordCount, payload } = batch;
  if (recordCount > 0) {
    return {
      index,
      term: epoch,
      kind: 'commands',
      payload,
      configuration: undefined,
      local: undefined,
    };
  }
  const isEmpty = payload.length === 0;
  return {
    index,
    term: epoch,
    kind: isEmpty ? 'empty' : 'configuration',
    payload: NOTHING,
    configuration: isEmpty ? undefined : decodeConfiguration(payload),
    local: undefined,
  };
}

/** The term of its last entry is known where that is the only one with a sound header. */
function damaged(range: FaultyRange, from: LogIndex, through: LogIndex | undefined): DamagedRange {
  const throughTerm = through === range.through ? range.epoch : undefined;
  return {
    from,
    through,
    detail: range.detail,
    ...(throughTerm === undefined ? {} : { throughTerm }),
  };
}

/** A term begins with its first entry, whether that is sound or was repaired. */
function withRepaired(
  starts: readonly TermStart[],
  repairs: RepairedEntries,
  faulty: readonly FaultyRange[],
): TermStart[] {
  const first = new Map<Term, LogIndex>();
  for (const { term, firstIndex } of starts) first.set(term, firstIndex);
  for (const { from, through = from - 1, segmentId } of faulty) {
    for (let index: LogIndex = from; index <= through; index++) {
      const term = repairs.termOf(segmentId, index);
      const before = first.get(term ?? 0) ?? Number.POSITIVE_INFINITY;
      if (term !== undefined && index < before) first.set(term, index);
    }
  }
  return [...first]
    .map(([term, firstIndex]) => ({ term, firstIndex }))
    .toSorted((a, b) => a.term - b.term);
}
