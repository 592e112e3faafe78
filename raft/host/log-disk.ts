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
  #listener: DiskListener | undefined;
  /** Writes with entries, in the order of the stream. */
  #onItsWay: OnItsWay[] = [];
  /** Behind a cut that is under way. */
  #waiting: DiskWrite[] = [];
  #cutting = false;
  #failure: Error | undefined;

  constructor(options: LogDiskOptions) {
    this.#log = options.log;
    this.#note = (entry) => options.note(entry);
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

  get durable(): LogIndex {
    return this.#log.durable;
  }

  get terms(): readonly TermStart[] {
    return this.#log.epochs.map(({ epoch, firstIndex }) => ({ term: epoch, firstIndex }));
  }

  get hardState(): HardState {
    const { term, vote } = this.#log.hardState;
    const tailLost = vote.endsWith(TAIL_LOST);
    const name = tailLost ? vote.slice(0, -TAIL_LOST.length) : vote;
    return { term, vote: name === '' ? undefined : name, tailLost };
  }

  get faulty(): readonly DamagedRange[] {
    return this.#log.faulty.filter(hidesEntries).map(asRange);
  }

  get hardStateUnsure(): boolean {
    return this.#log.faulty.some((range) => range.hardStateUnsure);
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
    if (this.#cutting) this.#waiting.push(write);
    else this.#carryOut(write);
  }

  async read(from: LogIndex, maxBytes: number): Promise<DiskRead> {
    const outcome = await this.#log.read(from as StorageIndex, { maxBytes });
    switch (outcome.kind) {
      case 'truncated':
        return { kind: 'outside' };
      case 'faulty':
        return { kind: 'faulty', range: asRange(outcome.range) };
      case 'batches':
        if (outcome.batches.length === 0) return { kind: 'outside' };
        return { kind: 'entries', entries: outcome.batches.map(asEntry) };
    }
  }

  truncatePrefix(firstKept: LogIndex): Promise<void> {
    return this.#log.truncatePrefix(firstKept as StorageIndex);
  }

  close(): Promise<void> {
    return this.#log.close();
  }

  // --- The stream of writes.

  #carryOut(write: DiskWrite): void {
    const { hardState, truncateAfter, entries, token } = write;
    try {
      if (truncateAfter !== undefined) {
        this.#cut(write, truncateAfter);
        return;
      }
      const alone = entries.length === 0;
      if (hardState !== undefined) this.#writeHardState(hardState, alone ? token : undefined);
      this.#append(write);
    } catch (error) {
      this.#refused(error);
    }
  }

  #writeHardState(hardState: HardState, token: number | undefined): void {
    this.#log.setHardState(stored(hardState)).then(
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

  /** A cut is durable when it resolves, and so are the hard state and everything before it. */
  #cut(write: DiskWrite, lastKept: LogIndex): void {
    const { hardState } = write;
    const kept = lastKept as StorageIndex;
    this.#cutting = true;
    this.#log.truncateSuffix(kept, hardState === undefined ? undefined : stored(hardState)).then(
      () => {
        this.#cutting = false;
        if (this.#failure !== undefined) return;
        if (write.entries.length === 0) this.#persisted(write.token);
        const waiting = this.#waiting;
        this.#waiting = [];
        this.#carryOut({ ...write, hardState: undefined, truncateAfter: undefined });
        for (const next of waiting) this.write(next);
      },
      (error: unknown) => this.#refused(error),
    );
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

  #persisted(token: number): void {
    this.#listener?.persisted(token);
  }
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

/** Damage between two entries, of a mark or a hard state, is none of the log's. */
function hidesEntries({ from, through }: FaultyRange): boolean {
  return through === undefined || through >= from;
}

function asRange({ from, through, detail }: FaultyRange): DamagedRange {
  return { from, through, detail };
}
