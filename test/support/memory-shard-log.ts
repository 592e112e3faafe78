/**
 * A `ShardLog` of one node in memory whose syncs the test carries out: what was proposed is durable
 * when `sync` says so.
 *
 * `MemoryLogDisk` outlives crashes; `open` is what a process does with it. The trace tells in which
 * order syncs and hand-overs happened.
 */
import type { LogIndex } from '../../src/machine/ids.ts';
import type {
  FaultyRange,
  Proposal,
  ReadOutcome,
  SegmentExtent,
  ShardEntry,
  ShardLog,
  ShardLogFollower,
  ShardLogStats,
} from '../../src/shard/shard-log.ts';

export class MemoryLogDisk {
  entries: ShardEntry[] = [];
  /** Every entry that ever became durable, also those that were given back. */
  readonly history: ShardEntry[] = [];
  start = 1;
  term = 0;
  faulty: FaultyRange[] = [];
  cleanStop = false;
  live: MemoryShardLog | undefined;

  /** `auto`: each proposal is synced in a later turn; otherwise `sync` has to be called. */
  open(mode: 'auto' | 'by-hand' = 'auto'): MemoryShardLog {
    this.cleanStop = false;
    this.live = new MemoryShardLog(this, mode);
    return this.live;
  }

  /** The power goes: what was not synced is lost, and the log of before is dead. */
  crash(): void {
    if (this.live !== undefined) this.live.dead = true;
    this.live = undefined;
  }

  get last(): number {
    return this.start + this.entries.length - 1;
  }
}

export class MemoryShardLog implements ShardLog {
  readonly id = '6d656d6f72790000';
  readonly alone = true;
  readonly #disk: MemoryLogDisk;
  readonly #auto: boolean;
  readonly trace: string[] = [];
  readonly truncations: number[] = [];
  dead = false;
  /** The disk of this node is behind what is committed until it resolves. */
  syncing: Promise<void> = Promise.resolve();
  failure: Error | undefined;
  reads = 0;
  #pending: ShardEntry[] = [];
  #scheduled = false;
  #syncs = 0;
  #appends = 0;
  #follower: ShardLogFollower | undefined;

  constructor(disk: MemoryLogDisk, mode: 'auto' | 'by-hand') {
    this.#disk = disk;
    this.#auto = mode === 'auto';
  }

  get start(): LogIndex {
    return this.#disk.start as LogIndex;
  }

  get last(): LogIndex {
    return (this.#disk.last + this.#pending.length) as LogIndex;
  }

  get committed(): LogIndex {
    return this.#disk.last as LogIndex;
  }

  get bytes(): number {
    return this.#disk.entries.reduce((sum, entry) => sum + entry.bytes, 0);
  }

  get faulty(): readonly FaultyRange[] {
    return this.#disk.faulty;
  }

  get stats(): ShardLogStats {
    return {
      appends: this.#appends,
      writes: this.#syncs,
      syncs: this.#syncs,
      bytes: this.bytes,
      segments: 1,
    };
  }

  /** One segment that is never sealed. */
  get sealed(): readonly SegmentExtent[] {
    return [];
  }

  get pending(): number {
    return this.#pending.length;
  }

  follow(behind: LogIndex, follower: ShardLogFollower): Promise<void> {
    setImmediate(() => {
      if (this.dead || this.failure !== undefined) return;
      this.#follower = follower;
      const inherited = this.#disk.entries.slice(behind + 1 - this.#disk.start);
      if (inherited.length > 0) follower.committed(inherited);
      this.#disk.term++;
      follower.leads(this.#disk.term, (this.last + 1) as LogIndex);
    });
    return Promise.resolve();
  }

  applied(): void {}

  readIndex(done: (index: LogIndex) => void): void {
    const index = this.committed;
    setImmediate(() => done(index));
  }

  membersAt(): Uint8Array {
    return new Uint8Array([1, 2, 3]);
  }

  synced(): Promise<void> {
    return this.syncing;
  }

  fail(error: Error): void {
    this.failure ??= error;
    this.#follower?.failed(error);
  }

  propose(proposal: Proposal): LogIndex {
    if (this.failure !== undefined) throw this.failure;
    const bytes = Buffer.concat(proposal.payload);
    if (bytes.length !== proposal.bytes)
      throw new Error('the proposal names another size than it has');
    const index = (this.last + 1) as LogIndex;
    this.#appends++;
    this.#pending.push({
      index,
      term: this.#disk.term,
      bytes: proposal.bytes,
      payload: [...proposal.payload],
    });
    if (this.#auto && !this.#scheduled) {
      this.#scheduled = true;
      setImmediate(() => {
        this.#scheduled = false;
        this.sync();
      });
    }
    return index;
  }

  /** Everything that was proposed becomes durable, and then is handed on. */
  sync(): void {
    if (this.dead || this.failure !== undefined || this.#pending.length === 0) return;
    const entries = this.#pending;
    this.#pending = [];
    this.#syncs++;
    // The disk has its own copy: nobody may change bytes after they were proposed.
    for (const entry of entries) {
      this.#disk.history.push(entry);
      this.#disk.entries.push({
        ...entry,
        payload: [new Uint8Array(Buffer.concat(entry.payload))],
      });
    }
    this.trace.push(`sync ${this.#disk.last}`);
    this.#follower?.committed(entries);
  }

  async read(from: LogIndex, maxBytes: number): Promise<ReadOutcome> {
    await new Promise((resolve) => setImmediate(resolve));
    if (this.dead) await new Promise(() => undefined);
    this.reads++;
    const range = this.#disk.faulty.find((each) => each.from <= from && from <= each.through);
    if (range !== undefined) return { kind: 'faulty', range };
    const entries: ShardEntry[] = [];
    let bytes = 0;
    for (const entry of this.#disk.entries.slice(from - this.#disk.start)) {
      if (entries.length > 0 && bytes + entry.bytes > maxBytes) break;
      if (this.#disk.faulty.some((each) => each.from <= entry.index && entry.index <= each.through))
        break;
      entries.push(entry);
      bytes += entry.bytes;
    }
    return from < this.#disk.start || entries.length === 0
      ? { kind: 'outside' }
      : { kind: 'entries', entries };
  }

  truncatePrefix(firstKept: LogIndex): Promise<void> {
    if (firstKept > this.#disk.start) {
      this.#disk.entries.splice(0, firstKept - this.#disk.start);
      this.#disk.start = firstKept;
      this.truncations.push(firstKept);
    }
    return Promise.resolve();
  }

  close(): Promise<void> {
    this.sync();
    this.dead = true;
    this.#disk.cleanStop = true;
    return Promise.resolve();
  }
}
