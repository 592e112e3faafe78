/**
 * A replica as it runs in the product: the whole host, over the log of the storage engine, on the
 * simulated disk. Simulated are disk, network, clock and chance; all between is the product.
 *
 * The checks are told of each write that the host gives to its log and of each that the log tells
 * durable, of what is applied, and after every start of what the disk held.
 */

import { crc32 } from 'node:zlib';
import { Log } from '#storage';
import type { Files } from '#storage';
import type { CheckpointName } from '../host/catch-up-ports.ts';
import { LogDisk } from '../host/log-disk.ts';
import type { PeerMessage } from '../host/peer-message.ts';
import type { NetworkListener, ReplicaEnd } from '../host/ports.ts';
import { RaftNode } from '../host/raft-node.ts';
import type {
  Changed,
  ConfigurationAt,
  Entry,
  Limits,
  MembershipChange,
  Transferred,
} from '../raft.ts';
import { Applier } from './applier.ts';
import type { Counters } from './counters.ts';
import type { SimulatedDisk } from './disk/disk.ts';
import { ioCode } from './disk/mount.ts';
import type { Kernel } from './kernel.ts';

import { NodeClock, Process } from './node-clock.ts';
import { votersOf } from './node.ts';
import type { DiskFault, NodeState, ProposeOutcome, ReadOutcome, SimulatedNode } from './node.ts';
import { ObservedDisk } from './observed-disk.ts';
import { ReplicaFiles } from './replica-files.ts';
import type { Random } from './random.ts';
import type { ReplicaView, SafetyChecks } from './safety-checks.ts';
import { StateSink, StateSource } from './state-catch-up.ts';
import type { MachineKind } from './state-machine.ts';
import { emptyCheckpoint } from './stored-checkpoint.ts';
import type { VirtualClock } from './virtual-clock.ts';
import { mirrorOf, WriteWatch } from './write-watch.ts';

/** Of the log and of checkpoints. */
export interface HostLimits {
  readonly segmentBytes: number;
  readonly prewriteBytes: number;
  readonly maxWriteBytes: number;
  readonly syncMode: 'prewritten-dsync' | 'fdatasync';
  readonly checkpointEntries: number;
  /** Entries below a checkpoint that stay for replicas that are a little behind. */
  readonly keptEntries: number;
}

export interface HostNodeOptions {
  readonly id: string;
  readonly kernel: Kernel;
  readonly clock: VirtualClock;
  readonly disk: SimulatedDisk;
  /** Until a disk turn that waits now may go on. */
  readonly pace: DiskPace;
  readonly checks: SafetyChecks;
  readonly counters: Counters;
  readonly machines: MachineKind;
  readonly core: Partial<Limits>;
  readonly tickMs: number;
  readonly limits: HostLimits;
  /** That a new replica is made with. */
  readonly configuration: ConfigurationAt;
  send(message: PeerMessage): void;
  /** A state from a peer is about to take the place of its log. */
  installing(): void;
  /** Something happened to it: whoever checks it looks again. */
  touched(): void;
  violated(error: unknown): void;
}

/** How long a call to the disk takes. */
export interface DiskPace {
  leastUs: number;
  mostUs: number;
}

/** One life of the process: what a crash takes. */
interface Life {
  readonly process: Process;
  readonly files: Files;
  readonly applier: Applier;
  node: RaftNode | undefined;
  disk: LogDisk | undefined;
  replica: ReplicaFiles | undefined;
  listener: NetworkListener | undefined;
  checkpointing: boolean;
}

const SLOW_MOST_US = 60_000;
const READ_BYTES = 1 << 20;
const REPAIRS = 'repairs';
const RECORD = { timestampMs: 0, recordCount: 1 };

export class HostNode implements SimulatedNode {
  readonly id: string;
  readonly #options: HostNodeOptions;
  readonly #random;
  #life: Life | undefined;
  #state: NodeState = 'down';
  #voters: (readonly string[])[];
  /** Of the directory that was current at the last start. */
  #number: number | undefined;

  constructor(options: HostNodeOptions) {
    this.id = options.id;
    this.#options = options;
    this.#random = options.kernel.stream(`node ${options.id}`);
    this.#voters = [votersOf(options.configuration)];
  }

  get state(): NodeState {
    return this.#state;
  }

  view(): ReplicaView | undefined {
    const node = this.#life?.node;
    if (node === undefined || (this.#state !== 'up' && this.#state !== 'paused')) return undefined;
    const status = node.status();
    const { members } = status.configuration.configuration;
    return {
      term: status.term,
      vote: status.vote ?? '',
      leads: status.role === 'leader',
      start: status.start,
      // A state that takes the log's place counts for the core before it is current.
      applied: Math.max(this.#life?.applier.machine.applied ?? 0, status.start - 1),
      committed: status.commitIndex,
      last: status.accepted,
      voters: votersOf(status.configuration),
      members: members.map(({ id }) => id),
      damaged: status.faulty.length > 0,
    };
  }

  start(): void {
    const process = new Process((error) => this.#options.violated(error));
    const life: Life = {
      process,
      files: this.#options.disk.mount(),
      applier: new Applier({
        ...this.#options,
        random: this.#random,
        run: (action) => process.run(action),
        applied: (index) => this.#applied(life, index),
      }),
      node: undefined,
      disk: undefined,
      replica: undefined,
      listener: undefined,
      checkpointing: false,
    };
    this.#life = life;
    this.#state = 'starting';
    this.#open(life).catch((error: unknown) => this.#diskFailed(life, error));
  }

  crash(): void {
    this.#options.disk.cutPower();
    this.#endLife('down');
  }

  stop(): void {
    const life = this.#life;
    const node = life?.node;
    if (this.#state !== 'up' || life === undefined || node === undefined) return;
    this.#state = 'starting';
    node.stop().then(
      () => {
        if (this.#life === life) this.crash();
      },
      (error: unknown) => this.#diskFailed(life, error),
    );
  }

  pause(): void {
    if (this.#state !== 'up') return;
    this.#state = 'paused';
    this.#life?.process.pause();
  }

  resume(): void {
    if (this.#state !== 'paused') return;
    this.#state = 'up';
    this.#life?.process.resume();
  }

  receive(message: PeerMessage): void {
    const life = this.#life;
    if (life === undefined) return;
    life.process.run(() => {
      life.listener?.received(message);
      this.#options.touched();
    });
  }

  propose(
    client: string,
    numbers: readonly number[],
    done: (outcome: ProposeOutcome) => void,
  ): void {
    const life = this.#life;
    const node = life?.node;
    if (node === undefined || life === undefined || this.#state !== 'up') {
      return done({ kind: 'refused', leader: undefined });
    }
    const payload = this.#options.machines.encode(client, numbers);
    const proposed = node.propose(payload);
    if (proposed.kind === 'refused') {
      this.#options.counters.add(`refused: ${proposed.code}`);
      done({ kind: 'refused', leader: proposed.leader });
      return;
    }
    const { index, term } = proposed;
    life.applier.proposed(index, { term, client, done });
    this.#options.touched();
  }

  read(client: string, done: (outcome: ReadOutcome) => void): void {
    const life = this.#life;
    const node = life?.node;
    if (node === undefined || life === undefined || this.#state !== 'up') {
      return done({ kind: 'refused' });
    }
    node.read((index) => {
      if (life.process.isOver || index === undefined) return done({ kind: 'refused' });
      done(life.applier.read(client));
    });
  }

  change(change: MembershipChange): Changed | undefined {
    this.#options.touched();
    return this.#state === 'up' ? this.#life?.node?.changeMembership(change) : undefined;
  }

  transfer(to: string): Transferred | undefined {
    this.#options.touched();
    return this.#state === 'up' ? this.#life?.node?.transferLeadership(to) : undefined;
  }

  breakDisk(fault: DiskFault): (() => void) | undefined {
    const { disk, pace } = this.#options;
    const times = Number.MAX_SAFE_INTEGER;
    switch (fault) {
      case 'slow': {
        const { mostUs } = pace;
        pace.mostUs = SLOW_MOST_US;
        return () => (pace.mostUs = mostUs);
      }
      case 'hung':
        return this.#inject(disk.inject({ kind: 'hung', on: 'write', times }));
      case 'failing':
        return this.#inject(disk.inject({ kind: 'eio', on: this.#random.pick(['write', 'sync']) }));
      case 'full':
        return this.#inject(disk.inject({ kind: 'enospc', on: 'write' }));
      case 'short writes':
        return this.#inject(disk.inject({ kind: 'short', on: 'write', times: 5 }));
    }
  }

  damage(_random: Random): string | undefined {
    return undefined;
  }

  get isDamaged(): boolean {
    return false;
  }

  voterSets(): readonly (readonly string[])[] {
    return this.#voters;
  }

  history(): ReadonlyMap<string, readonly number[]> {
    return this.#life?.applier.machine.history ?? new Map<string, readonly number[]>();
  }

  digest(): number {
    return this.#life?.applier.machine.digest ?? 0;
  }

  #inject(injected: { release(): void }): () => void {
    return () => injected.release();
  }

  // --- A life.

  #endLife(state: 'down' | 'failed'): void {
    this.#life?.process.end();
    this.#life = undefined;
    this.#state = state;
    this.#options.touched();
  }

  async #open(life: Life): Promise<void> {
    const { kernel, clock, checks, id, configuration } = this.#options;
    const { files } = life;
    const replica = await ReplicaFiles.open(files, emptyCheckpoint(configuration));
    const { checkpoint } = replica;
    life.replica = replica;
    life.applier.machine.restore(checkpoint.state);
    const log = await this.#openLog(life, replica.logDirectory, checkpoint);
    const logDisk = new LogDisk({
      log,
      note: () => RECORD,
      openRepairs: (how) => this.#openRepairs(life, replica.logDirectory, how),
    });
    life.disk = logDisk;
    if (log.failed !== undefined) logDisk.logFailed(log.failed);
    await logDisk.recover();
    await this.#tellChecks(logDisk, replica);
    const observed = new ObservedDisk({
      disk: logDisk,
      watch: new WriteWatch(id, checks),
      process: life.process,
      cutPrefix: (start) => checks.cutPrefix(id, start),
      violated: (error) => this.#options.violated(error),
      touched: () => this.#options.touched(),
    });
    const node = await RaftNode.open({
      id,
      disk: observed,
      network: {
        send: (message) => {
          this.#options.send(message);
          return true;
        },
        hasRoom: () => true,
        listen: (listener) => (life.listener = listener),
      },
      clock: new NodeClock(kernel, clock, life.process),
      random: () => this.#random.below(0x1_0000_0000) / 0x1_0000_0000,
      machine: {
        apply: (entries) => life.applier.apply(entries),
        roleChanged: () => this.#options.touched(),
        configurationChanged: (now) => this.#configured(votersOf(now)),
        damaged: () => this.#options.touched(),
        ended: (end) => this.#ended(life, end),
      },
      checkpoint: { ...checkpoint, serveFrom: checkpoint.index },
      catchUp: {
        source: new StateSource(() => replica.checkpoint),
        sink: new StateSink({
          files,
          replica,
          openLog: (directory, behind) => this.#openLog(life, directory, behind),
          makingCurrent: () => this.#options.installing(),
        }),
        checksum: (bytes) => crc32(bytes),
        failed: () => this.#options.counters.add('rare: a catch-up broke off'),
      },
      limits: this.#options.core,
      tickMs: this.#options.tickMs,
    });
    if (this.#life !== life) return;
    life.node = node;
    this.#state = 'up';
    node.start();
    this.#options.touched();
  }

  #openLog(
    life: Life,
    directory: string,
    behind: Pick<CheckpointName, 'index' | 'term'>,
  ): Promise<Log> {
    const { limits, clock } = this.#options;
    const { segmentBytes, prewriteBytes, maxWriteBytes, syncMode } = limits;
    return Log.open({
      files: life.files,
      directory,
      now: () => clock.wallMs(),
      segmentBytes,
      prewriteBytes,
      maxWriteBytes,
      syncMode,
      idleMarkMs: 0,
      newLogId: () => this.#logId(),
      ...(behind.index > 0 && { beginsBehind: { index: behind.index, epoch: behind.term } }),
      onFailure: (error) => {
        if (!life.process.isOver) life.disk?.logFailed(error);
      },
    }).then(({ log }) => log);
  }

  async #openRepairs(
    life: Life,
    logDirectory: string,
    how: 'if-there' | 'make',
  ): Promise<Log | undefined> {
    const names = await life.files.list(logDirectory);
    if (how === 'if-there' && !names.includes(REPAIRS)) return undefined;
    return this.#openLog(life, `${logDirectory}/${REPAIRS}`, { index: 0, term: 0 });
  }

  #logId(): string {
    const half = (): string => this.#random.below(0x1_0000_0000).toString(16).padStart(8, '0');
    return half() + half();
  }

  /** Everything that the disk held. */
  async #tellChecks(disk: LogDisk, { checkpoint, number }: ReplicaFiles): Promise<void> {
    const entries: Entry[] = [];
    for (let next = disk.start; next <= disk.last;) {
      const read = await disk.read(next, READ_BYTES);
      if (read.kind !== 'entries') throw new Error(`entry ${next} of ${disk.last}: ${read.kind}`);
      entries.push(...read.entries);
      next += read.entries.length;
    }
    this.#options.checks.restarted(this.id, {
      checkpoint: checkpoint.index,
      start: disk.start,
      entries: entries.map(mirrorOf),
      damaged: [],
      unknownFrom: undefined,
      term: disk.hardState.term,
      voters: votersOf(checkpoint.configuration),
      replaced: this.#number !== undefined && number !== this.#number,
    });
    this.#number = number;
    const configurations = [checkpoint.configuration];
    for (const { index, configuration } of entries) {
      if (configuration !== undefined) configurations.push({ index, configuration });
    }
    this.#voters = configurations.slice(-2).map(votersOf);
  }

  #configured(voters: readonly string[]): void {
    this.#voters = [...this.#voters.slice(-1), voters];
    this.#options.touched();
  }

  #ended(life: Life, end: ReplicaEnd): void {
    if (this.#life !== life) return;
    if (end.kind === 'failed') return this.#diskFailed(life, end.error);
    this.#options.counters.add('catch-ups');
    this.#endLife('down');
    this.#state = 'starting';
    life.disk?.close().then(
      () => this.#startAnew(),
      () => this.#startAnew(),
    );
  }

  #startAnew(): void {
    if (this.#state === 'starting' && this.#life === undefined) this.start();
  }

  #applied(life: Life, index: number): void {
    life.node?.applied(index);
    this.#checkpoint(life);
    this.#options.touched();
  }

  /** Never ahead of what this replica's own log has durable. */
  #checkpoint(life: Life): void {
    const { replica, node, applier } = life;
    const { checkpointEntries, keptEntries } = this.#options.limits;
    if (replica === undefined || node === undefined) return;
    const index = applier.machine.applied;
    // The log's own end may be that of entries that are to be cut off.
    if (life.checkpointing || index > node.status().durable) return;
    if (index - replica.checkpoint.index < checkpointEntries) return;
    life.checkpointing = true;
    const configuration = node.configurationAt(index);
    const state = applier.machine.state();
    const stored = { index, term: applier.appliedTerm, configuration, state };
    replica
      .save(stored)
      .then(() => {
        life.checkpointing = false;
        this.#options.counters.add('checkpoints');
        return node.truncatePrefix(index + 1 - keptEntries);
      })
      .catch((error: unknown) => this.#diskFailed(life, error));
  }

  /** As the product does: what cannot be written ends the process. */
  #diskFailed(life: Life, error: unknown): void {
    if (this.#life !== life) return;
    if (!isOfTheDisk(error)) return this.#options.violated(error);
    this.#options.counters.add('rare: replica stopped by its disk');
    this.#options.kernel.note(`${this.id} failed: ${String(error)}`);
    this.#endLife('failed');
  }
}

/** A fault that was installed, and not a bug that passes for one. */
function isOfTheDisk(error: unknown): boolean {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    if (['EIO', 'ENOSPC'].includes(ioCode(cause) ?? '')) return true;
  }
  return false;
}
