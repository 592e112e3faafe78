/**
 * The port `ShardLog` in memory: for the queues that live in memory and promise no more.
 *
 * What is proposed is committed in a later turn of the event loop, in order, and is gone with the
 * process. Entries are held until the prefix is given back, so that memory follows what is still
 * wanted; who proposes keeps it bounded (`bytes`). Nothing is copied and nothing can be damaged.
 */

import type { LogIndex } from '../machine/ids.ts';
import type {
  Proposal,
  ReadOutcome,
  ShardEntry,
  ShardLog,
  ShardLogFollower,
  ShardLogStats,
} from './shard-log.ts';

const TERM = 1;
/** Places at the head are given back after so many. */
const DROP_AFTER = 1024;

export class VolatileLog implements ShardLog {
  readonly id = 'volatile';
  readonly alone = true;
  readonly faulty = [];
  readonly sealed = [];
  #entries: ShardEntry[] = [];
  /** Of `#entries`, the place of the entry at `start`. */
  #head = 0;
  #start = 1;
  #committed = 0;
  #bytes = 0;
  #appends = 0;
  #scheduled = false;
  #closed = false;
  #follower: ShardLogFollower | undefined;

  get start(): LogIndex {
    return this.#start as LogIndex;
  }

  get last(): LogIndex {
    return (this.#start + this.#entries.length - this.#head - 1) as LogIndex;
  }

  get committed(): LogIndex {
    return this.#committed as LogIndex;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get stats(): ShardLogStats {
    return {
      appends: this.#appends,
      writes: 0,
      syncs: 0,
      bytes: this.#bytes,
      segments: 0,
    };
  }

  follow(_behind: LogIndex, follower: ShardLogFollower): Promise<void> {
    this.#follower = follower;
    setImmediate(() => follower.leads(TERM, (this.last + 1) as LogIndex));
    return Promise.resolve();
  }

  applied(): void {}

  propose(proposal: Proposal): LogIndex {
    if (this.#closed) throw new Error('the log in memory is closed');
    const index = (this.last + 1) as LogIndex;
    const { bytes, payload } = proposal;
    this.#entries.push({ index, term: TERM, bytes, payload });
    this.#appends++;
    this.#bytes += proposal.bytes;
    if (!this.#scheduled) {
      this.#scheduled = true;
      setImmediate(() => this.#commit());
    }
    return index;
  }

  readIndex(done: (index: LogIndex) => void): void {
    const index = this.last;
    setImmediate(() => done(index));
  }

  membersAt(): Uint8Array {
    return new Uint8Array(0);
  }

  synced(): Promise<void> {
    return Promise.resolve();
  }

  read(from: LogIndex, maxBytes: number): Promise<ReadOutcome> {
    if (from < this.#start || from > this.last) return Promise.resolve({ kind: 'outside' });
    const entries: ShardEntry[] = [];
    let bytes = 0;
    for (let at = this.#head + from - this.#start; at < this.#entries.length; at++) {
      const entry = this.#entries[at] as ShardEntry;
      bytes += entry.bytes;
      if (entries.length > 0 && bytes > maxBytes) break;
      entries.push(entry);
    }
    return Promise.resolve({ kind: 'entries', entries });
  }

  truncatePrefix(firstKept: LogIndex): Promise<void> {
    while (this.#start < firstKept && this.#head < this.#entries.length) {
      this.#bytes -= (this.#entries[this.#head] as ShardEntry).bytes;
      this.#head++;
      this.#start++;
    }
    if (this.#head > DROP_AFTER || this.#head === this.#entries.length) {
      this.#entries = this.#entries.slice(this.#head);
      this.#head = 0;
    }
    return Promise.resolve();
  }

  close(): Promise<void> {
    this.#closed = true;
    return Promise.resolve();
  }

  #commit(): void {
    this.#scheduled = false;
    const from = this.#head + this.#committed + 1 - this.#start;
    this.#committed = this.last;
    this.#follower?.committed(this.#entries.slice(from));
  }
}
