/**
 * The port `ShardLog` over a replica: what the shard proposes goes through consensus, and what a
 * quorum has is handed to it, on a cluster of one as on any other.
 *
 * The bytes of a proposal are joined once, here: the same memory goes into the log's write, to the
 * peers and back to the shard. Entries without commands (the one with which a term begins,
 * configurations) are handed on without a payload, so that indexes have no gaps. Reads go to the
 * log itself, and wait for what is not synced here yet. Owns log and replica; a crash loses nothing
 * that was handed on by a quorum, and all of this is rebuilt from the log.
 */

import { StorageError } from '#storage';
import type { Checkpoint, Log, LogBatch } from '#storage';
import { LogDisk, RaftError, RaftNode } from '#raft';
import type {
  CatchUpPorts,
  Changed,
  Clock,
  Configuration,
  ConfigurationAt,
  DamagedRange,
  Entry,
  HeldFor,
  Limits,
  MembershipChange,
  Network,
  ReplicaEnd,
  Rescued,
  RescueOrder,
  SoftState,
  StateMachine,
  Status,
  Transferred,
} from '#raft';
import type { LogIndex } from '../machine/ids.ts';
import { decodeNote } from './checkpoint.ts';
import { commandsNote } from './entry.ts';
import { decodeMembers, encodeMembers } from './members.ts';
import type { KnownMembers } from './members.ts';
import { RaftFigures } from './raft-figures.ts';
import type {
  FaultyRange,
  Proposal,
  ReadOutcome,
  SegmentExtent,
  ShardEntry,
  ShardLog,
  ShardLogFollower,
  ShardLogStats,
} from './shard-log.ts';

type StorageIndex = Log['start'];

export interface RaftLogOptions {
  /** Its maker calls `logFailed`. */
  readonly log: Log;
  /** `LogDiskOptions.openRepairs`. */
  openRepairs(how: 'if-there' | 'make'): Promise<Log | undefined>;
  readonly id: string;
  /** What the cluster is made with; members that log or checkpoint know of count more. */
  readonly founders: Configuration;
  /** Of the record store: where the state machine stands. */
  readonly checkpoint: Pick<Checkpoint, 'index' | 'data'> | undefined;
  readonly network: Network;
  readonly catchUp: CatchUpPorts;
  readonly clock: Clock;
  random(): number;
  readonly catchUpBytesPerSecond?: number | undefined;
  readonly limits?: Partial<Limits>;
  /** The configuration in use: at first, and whenever it is another one. */
  readonly membersChanged?: (configuration: Configuration) => void;
  /**
   * Of the log on the disk: with more, nothing is held for peers that read a checkpoint, or for
   * those that have just made one current.
   */
  readonly heldBytesMax: { readonly transfers: number; readonly current: number };
  /** Once: a checkpoint from a peer has taken its place, and the shard is to be opened anew. */
  readonly replaced: () => void;
  /** In a cluster: the id of the log, by which a node that lost its directory is found out. */
  readonly incarnation?: string | undefined;
  /** Once: that has happened, and it takes part no more under this id. */
  readonly stranger?: () => void;
  /** Once: a rescue has given it up, as this member says; its files stay as they are. */
  readonly givenUp?: (by: string) => void;
}

const NO_PAYLOAD: readonly Uint8Array[] = [];
const NO_DAMAGE: readonly FaultyRange[] = [];
const HAND_OVER_MS = 1_000;

export class RaftLog implements ShardLog, StateMachine {
  readonly #log: Log;
  readonly #disk: LogDisk;
  readonly #options: RaftLogOptions;
  readonly #standing: KnownMembers;
  #node: RaftNode | undefined;
  #follower: ShardLogFollower | undefined;
  readonly #figures = new RaftFigures();
  #leads = false;
  #term = 0;
  #last = 0;
  #applied = 0;
  #handedOver: (() => void) | undefined;
  #committed: number;

  /** Takes no part before `follow`. */
  static async open(options: RaftLogOptions): Promise<RaftLog> {
    const raftLog = new RaftLog(options);
    await raftLog.#disk.recover();
    return raftLog;
  }

  private constructor(options: RaftLogOptions) {
    const { log } = options;
    this.#options = options;
    this.#log = log;
    this.#standing = standingMembers(options);
    this.#committed = options.checkpoint?.index ?? 0;
    const openRepairs = (how: 'if-there' | 'make'): Promise<Log | undefined> =>
      options.openRepairs(how);
    this.#disk = new LogDisk({ log, note: noteOf, openRepairs });
  }

  get id(): string {
    return this.#log.logId;
  }

  /** What was gone up to here, this replica may never have had: it was built later. */
  get serveFrom(): LogIndex {
    return this.#standing.serveFrom as LogIndex;
  }

  get alone(): boolean {
    const known = this.#node?.status().configuration ?? this.#standing.configuration;
    const { members } = known.configuration;
    return members.length === 1 && members[0]?.id === this.#options.id;
  }

  get start(): LogIndex {
    return this.#log.start as number as LogIndex;
  }

  get last(): LogIndex {
    return Math.max(this.#log.last, this.#leads ? this.#last : 0) as LogIndex;
  }

  get committed(): LogIndex {
    return this.#committed as LogIndex;
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
    const { faulty } = this.#log;
    if (faulty.length === 0) return NO_DAMAGE;
    // A mark or a hard state that is lost hides no entry.
    const between = faulty.filter(({ from, through }) => through !== undefined && through < from);
    return [...between, ...this.#disk.faulty].map(asRange).toSorted((a, b) => a.from - b.from);
  }

  get stats(): ShardLogStats {
    const { appends, writes, syncs } = this.#log.stats;
    const { bytes, segments } = this.#log;
    return { appends, writes, syncs, bytes, segments };
  }

  // --- For the shard.

  follow(behind: LogIndex, follower: ShardLogFollower): Promise<void> {
    return this.#join(behind, follower, false);
  }

  /**
   * Instead of `follow`, where no state fits this log: takes part without one (it votes, and keeps
   * what it gets), asks its leader for a checkpoint, and ends as `replaced`. Commits nothing.
   */
  followWithoutState(follower: Omit<ShardLogFollower, 'committed' | 'leads'>): Promise<void> {
    const none = (): void => undefined;
    const behind = (this.#log.start - 1) as LogIndex;
    return this.#join(behind, { ...follower, committed: none, leads: none }, true);
  }

  async #join(behind: LogIndex, follower: ShardLogFollower, isLost: boolean): Promise<void> {
    const { id, network, catchUp, clock, limits, incarnation } = this.#options;
    const { catchUpBytesPerSecond } = this.#options;
    this.#follower = follower;
    this.#applied = behind;
    const opening = RaftNode.open({
      id,
      disk: this.#disk,
      network,
      clock,
      random: () => this.#options.random(),
      machine: this,
      checkpoint: { ...this.#standing, index: behind, isLost },
      catchUp,
      catchUpBytesPerSecond,
      incarnation,
      ...(limits === undefined ? {} : { limits }),
    });
    this.#node = await opening.catch((error: unknown) => {
      if (!(error instanceof RaftError)) throw error;
      const words = `${error.message} (${error.code}). The broker does not start`;
      throw new StorageError('damaged', `${words}; nothing was changed.`, { cause: error });
    });
    this.configurationChanged(this.#node.status().configuration);
    if (this.renamedTo === undefined) this.#node.start();
  }

  /**
   * Its log ends with a rescue of this very replica under another name: it is to be opened anew as
   * that, and takes part in nothing before.
   */
  get renamedTo(): string | undefined {
    const { members, rescue } = this.#node?.status().configuration.configuration ?? {};
    const { id } = this.#options;
    if (members?.length !== 1 || rescue?.givenUp.includes(id) !== true) return undefined;
    return members[0]?.id === id ? undefined : members[0]?.id;
  }

  applied(index: LogIndex): void {
    if (index === this.#applied) return;
    this.#applied = index;
    this.replica.applied(index);
  }

  hasten(): void {
    // Whatever the answer: the leader tells all of them what is committed before it gives it.
    this.#node?.read(() => undefined);
  }

  propose({ bytes, payload, stampMs, commandCount }: Proposal): LogIndex | 'held' | 'lost' {
    const failed = this.#log.failed;
    if (failed !== undefined) throw failed;
    const note = { timestampMs: stampMs, recordCount: commandCount };
    const proposed = this.replica.propose(joined(payload, bytes), note);
    if (proposed.kind === 'accepted') {
      this.#last = proposed.index;
      return proposed.index as LogIndex;
    }
    if (proposed.code === 'not-leader') return 'lost';
    if (proposed.code === 'transferring' || proposed.code === 'busy') return 'held';
    throw new StorageError('failed', `the replica takes no entry: ${proposed.code}`);
  }

  readIndex(done: (index: LogIndex | undefined) => void): void {
    this.replica.read((index) => done(index as LogIndex | undefined));
  }

  membersAt(index: LogIndex): Uint8Array {
    const configuration = this.replica.configurationAt(index);
    return encodeMembers({ configuration, serveFrom: Math.max(index, this.#standing.serveFrom) });
  }

  synced(index: LogIndex): Promise<void> {
    return this.replica.synced(index);
  }

  async read(from: LogIndex, maxBytes: number, into?: Uint8Array): Promise<ReadOutcome> {
    const index = from as number as StorageIndex;
    if (index <= this.#committed && this.#node !== undefined) await this.#node.synced(from);
    const outcome = await this.#log.read(index, {
      maxBytes,
      ...(into === undefined ? {} : { into }),
    });
    switch (outcome.kind) {
      case 'truncated':
        return { kind: 'outside' };
      case 'faulty':
        return this.#readRepaired(from, maxBytes);
      case 'batches':
        if (outcome.batches.length === 0) return { kind: 'outside' };
        return { kind: 'entries', entries: outcome.batches.map(asStoredEntry) };
    }
  }

  async #readRepaired(from: LogIndex, maxBytes: number): Promise<ReadOutcome> {
    const outcome = await this.#disk.read(from, maxBytes);
    switch (outcome.kind) {
      case 'outside':
        return outcome;
      case 'faulty':
        return { kind: 'faulty', range: asRange(outcome.range) };
      case 'entries':
        return { kind: 'entries', entries: outcome.entries.map(asShardEntry) };
    }
  }

  truncatePrefix(firstKept: LogIndex, heldFor: HeldFor): Promise<void> {
    const { transfers, current } = this.#options.heldBytesMax;
    const { bytes } = this.#log;
    if (heldFor === 'nobody' || bytes > current) {
      return this.replica.truncatePrefix(firstKept, 'nobody');
    }
    return this.replica.truncatePrefix(firstKept, bytes > transfers ? 'current' : heldFor);
  }

  /** A leader hands over first, so that nobody has to wait for an election. */
  async close(): Promise<void> {
    if (this.#node === undefined) {
      await this.#disk.close();
      return;
    }
    if (this.#leads && !this.alone) await this.#handOver(this.#node);
    await this.#node.stop();
  }

  /** To who has most; resolves when this node leads no more, or nobody takes it in time. */
  async #handOver(node: RaftNode): Promise<void> {
    const peers = node.status().peers.toSorted((a, b) => b.matchIndex - a.matchIndex);
    const to = peers.find(({ active, id }) => {
      return active && node.transferLeadership(id).kind === 'started';
    });
    if (to === undefined) return;
    await new Promise<void>((resolve) => {
      const timer = this.#options.clock.after(HAND_OVER_MS, resolve);
      this.#handedOver = () => {
        timer.cancel();
        resolve();
      };
    });
  }

  /** Takes part no more, and leaves the log open; for a start that was refused. */
  abandon(): void {
    this.#node?.abandon();
  }

  // --- For operators.

  /** Undefined: it is not followed yet. */
  status(): Status | undefined {
    return this.#node?.status();
  }

  /** Of the replica, by name; empty until it is followed. */
  figures(): Iterable<readonly [name: string, value: number]> {
    const status = this.status();
    return status === undefined ? [] : this.#figures.of(status);
  }

  changeMembership(change: MembershipChange): Changed {
    return this.replica.changeMembership(change);
  }

  rescue(order: RescueOrder): Rescued {
    return this.replica.rescue(order);
  }

  transferLeadership(to: string): Transferred {
    return this.replica.transferLeadership(to);
  }

  /** From whoever opened the log. */
  logFailed(error: Error): void {
    this.#disk.logFailed(error);
  }

  // --- For the replica.

  apply(entries: readonly Entry[]): void {
    this.#committed = (entries.at(-1) as Entry).index;
    this.#follower?.committed(entries.map(asShardEntry));
  }

  roleChanged(state: SoftState): void {
    const { role, term, leader } = state;
    this.#figures.roleChanged(state);
    if (role === 'leader') {
      if (this.#leads && this.#term === term) return;
      // It may have lost the lead and won it again between two turns.
      if (this.#leads) this.#follower?.follows(undefined);
      this.#leads = true;
      this.#term = term;
      this.#last = this.replica.status().accepted;
      this.#follower?.leads(term, this.#last as LogIndex);
      return;
    }
    this.#leads = false;
    // The next leader is known when it has been heard of.
    if (leader !== undefined || role === 'stopped') this.#handedOver?.();
    this.#follower?.follows(leader);
  }

  configurationChanged({ configuration }: ConfigurationAt): void {
    this.#options.membersChanged?.(configuration);
  }

  /** Of an entry that is wanted for apply: alone, nobody can give it back. */
  damaged({ from, detail }: DamagedRange): void {
    if (!this.alone || from <= this.#applied) return;
    const words = `entry ${from} cannot be read, and no other node has it: ${detail}`;
    this.#follower?.failed(new StorageError('damaged', words));
  }

  ended(end: ReplicaEnd): void {
    this.#leads = false;
    switch (end.kind) {
      case 'replaced':
        this.#options.replaced();
        break;
      case 'stranger':
        this.#options.stranger?.();
        break;
      case 'givenUp':
        this.#options.givenUp?.(end.by);
        break;
      case 'failed':
        this.#follower?.failed(end.error);
    }
  }

  /** For operators: its state, transfer of the lead, members. Once it is followed. */
  get replica(): RaftNode {
    if (this.#node === undefined) throw new Error('the log is not followed yet');
    return this.#node;
  }
}

/** What counts of the members that the checkpoint knows and those of the configuration file. */
function standingMembers({ founders, checkpoint }: RaftLogOptions): KnownMembers {
  const known = checkpoint === undefined ? undefined : decodeNote(checkpoint.data)?.members;
  const configuration = { index: 0, configuration: founders };
  const founded = { configuration, serveFrom: checkpoint?.index ?? 0 };
  if (known === undefined) return founded;
  const stored = decodeMembers(known);
  const { index, configuration: members } = stored.configuration;
  const single = index === 0 && members.members.length === 1 && founders.members.length === 1;
  // A node that never had peers may change its name.
  return single ? founded : stored;
}

/** The same on every replica; the proposer has it already. */
function noteOf({ local, payload }: Entry): { timestampMs: number; recordCount: number } {
  return (local as ReturnType<typeof noteOf> | undefined) ?? commandsNote(payload);
}

function joined(parts: readonly Uint8Array[], bytes: number): Uint8Array {
  const only = parts[0];
  if (parts.length === 1 && only !== undefined) return only;
  const whole = Buffer.allocUnsafe(bytes);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function asShardEntry({ index, term, payload, kind }: Entry): ShardEntry {
  const place = index as LogIndex;
  if (kind !== 'commands') return { index: place, term, bytes: 0, payload: NO_PAYLOAD };
  return { index: place, term, bytes: payload.length, payload: [payload] };
}

function asStoredEntry({ index, epoch, recordCount, payload }: LogBatch): ShardEntry {
  const place = index as number as LogIndex;
  if (recordCount === 0) return { index: place, term: epoch, bytes: 0, payload: NO_PAYLOAD };
  return { index: place, term: epoch, bytes: payload.length, payload: [payload] };
}

/**
 * A range whose end nobody knows reaches to the end of all numbers: nothing behind it can be
 * trusted.
 */
function asRange(fault: DamagedRange): FaultyRange {
  return {
    from: fault.from as number as LogIndex,
    through: (fault.through ?? Number.MAX_SAFE_INTEGER) as number as LogIndex,
    detail: fault.detail,
  };
}
