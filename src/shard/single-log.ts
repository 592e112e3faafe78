/**
 * The port `ShardLog` over one `storage/log` Log: a group of one member, where durable is
 * committed.
 *
 * Keeps what was proposed until the log says that it is durable, and hands it on in order; bounded
 * by who proposes. Owns the log from its making on. A crash loses nothing that was handed on, and
 * everything here is rebuilt from the log.
 */

import { StorageError } from '#storage';
import type { FaultyRange as LogFault, Log } from '#storage';
import type { LogIndex } from '../machine/ids.ts';
import type {
  FaultyRange,
  Proposal,
  ReadOutcome,
  SegmentExtent,
  ShardEntry,
  ShardLog,
  ShardLogStats,
} from './shard-log.ts';

type StorageIndex = Log['start'];

export class SingleLog implements ShardLog {
  readonly #log: Log;
  readonly #node: string;
  #term: number;
  #proposed: ShardEntry[] = [];
  #committed: LogIndex;
  #onCommitted: ((entries: readonly ShardEntry[]) => void) | undefined;

  /** `node` is written as the vote of each term. */
  constructor(log: Log, node: string) {
    this.#log = log;
    this.#node = node;
    this.#term = log.hardState.term;
    this.#committed = log.durable as number as LogIndex;
    log.onDurable((durable) => this.#durable(durable));
  }

  get id(): string {
    return this.#log.logId;
  }

  get start(): LogIndex {
    return this.#log.start as number as LogIndex;
  }

  get last(): LogIndex {
    return this.#log.last as number as LogIndex;
  }

  get committed(): LogIndex {
    return this.#committed;
  }

  get bytes(): number {
    return this.#log.bytes;
  }

  get sealed(): readonly SegmentExtent[] {
    return this.#log.sealed.map(({ first, last, bytes }) => ({
      first: first as number as LogIndex,
      last: last as number as LogIndex,
      bytes,
    }));
  }

  get faulty(): readonly FaultyRange[] {
    return this.#log.faulty.map(asRange);
  }

  get stats(): ShardLogStats {
    const { appends, writes, syncs } = this.#log.stats;
    const { bytes, segments } = this.#log;
    return { appends, writes, syncs, bytes, segments };
  }

  async startTerm(): Promise<number> {
    const lastEpoch = this.#log.epochAt(this.#log.last) ?? this.#log.epochBeforeStart;
    const term = Math.max(this.#log.hardState.term, this.#term, lastEpoch) + 1;
    await this.#log.setHardState({ term, vote: this.#node });
    this.#term = term;
    return term;
  }

  propose(proposal: Proposal): LogIndex {
    const { stampMs, commandCount, payload, bytes } = proposal;
    const batch = { epoch: this.#term, timestampMs: stampMs, recordCount: commandCount, payload };
    const index = this.#log.append(batch) as number as LogIndex;
    this.#proposed.push({ index, term: this.#term, stampMs, commandCount, bytes, payload });
    return index;
  }

  onCommitted(listener: (entries: readonly ShardEntry[]) => void): void {
    this.#onCommitted = listener;
  }

  async read(from: LogIndex, maxBytes: number, into?: Uint8Array): Promise<ReadOutcome> {
    const limits = into === undefined ? { maxBytes } : { maxBytes, into };
    const outcome = await this.#log.read(from as number as StorageIndex, limits);
    switch (outcome.kind) {
      case 'truncated':
        return { kind: 'outside' };
      case 'faulty':
        return { kind: 'faulty', range: asRange(outcome.range) };
      case 'batches':
        break;
    }
    if (outcome.batches.length === 0) return { kind: 'outside' };
    const entries = outcome.batches.map((batch) => ({
      index: batch.index as number as LogIndex,
      term: batch.epoch as number,
      stampMs: batch.timestampMs,
      commandCount: batch.recordCount,
      bytes: batch.payload.length,
      payload: [batch.payload],
    }));
    return { kind: 'entries', entries };
  }

  truncatePrefix(firstKept: LogIndex): Promise<void> {
    return this.#log.truncatePrefix(firstKept as number as StorageIndex);
  }

  close(): Promise<void> {
    return this.#log.close();
  }

  #durable(durable: number): void {
    const proposed = this.#proposed;
    let count = 0;
    while (count < proposed.length && (proposed[count] as ShardEntry).index <= durable) count++;
    this.#committed = durable as LogIndex;
    if (count === 0) return;
    const entries = count === proposed.length ? proposed : proposed.slice(0, count);
    this.#proposed = count === proposed.length ? [] : proposed.slice(count);
    if (this.#onCommitted === undefined) {
      throw new StorageError('failed', 'entries were committed before anybody listened');
    }
    this.#onCommitted(entries);
  }
}

/**
 * A range whose end nobody knows reaches to the end of all numbers: nothing behind it can be
 * trusted.
 */
function asRange(fault: LogFault): FaultyRange {
  return {
    from: fault.from as number as LogIndex,
    through: (fault.through ?? Number.MAX_SAFE_INTEGER) as number as LogIndex,
    detail: fault.detail,
  };
}
