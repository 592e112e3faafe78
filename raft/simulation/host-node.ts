/**
 * A replica as it runs in the product: the whole host, over the log of the storage engine, on the
 * simulated disk. Simulated are disk, network, clock and chance; all between is the product.
 *
 * The checks are told of each write that the host gives to its log and of each that the log tells
 * durable, of what is applied, and after every start of what the disk held.
 */

import { crc32 } from 'node:zlib';
import { StorageError } from '#storage';
import type { Files } from '#storage';
import { LogDisk } from '../host/log-disk.ts';
import type { PeerMessage } from '../host/peer-message.ts';
import type { Network, NetworkListener, ReplicaEnd } from '../host/ports.ts';
import { RaftError } from '../host/raft-error.ts';
import { RaftNode } from '../host/raft-node.ts';
import type { Changed, ConfigurationAt, Limits, MembershipChange, Transferred } from '../raft.ts';
import { Applier } from './applier.ts';
import type { Counters } from './counters.ts';
import type { SimulatedDisk } from './disk/disk.ts';
import { ioCode } from './disk/mount.ts';
import { HostStorage } from './host-storage.ts';
import type { DiskPace, HostLimits, LogPlace } from './host-storage.ts';
import { heldOn, lost } from './held-on-disk.ts';
import type { Kernel } from './kernel.ts';
import { NodeClock, Process } from './node-clock.ts';
import { viewOf, votersOf } from './node.ts';
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
  /** It refuses to start, because what it lost may have been a promise. */
  halted(): void;
  /** Its disk has stopped it. */
  failed(): void;
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
  /** In order: its log is being closed. */
  stopping: boolean;
}

const RECORD = { timestampMs: 0, recordCount: 1 };
/** So small that reads for peers that are behind do wait, and a state of some MiB still comes. */
const CATCH_UP_BYTES_PER_SECOND = 256 * 1024;

export class HostNode implements SimulatedNode {
  readonly id: string;
  readonly #options: HostNodeOptions;
  readonly #random;
  #life: Life | undefined;
  #state: NodeState = 'down';
  #voters: (readonly string[])[];
  /** Of the directory that was current at the last start. */
  #number: number | undefined;
  #logDirectory = '';
  /** It was struck, and has not been up and whole since. */
  #isDamaged = false;
  readonly #storage: HostStorage;

  constructor(options: HostNodeOptions) {
    this.id = options.id;
    this.#options = options;
    this.#random = options.kernel.stream(`node ${options.id}`);
    this.#voters = [votersOf(options.configuration)];
    this.#storage = new HostStorage({ ...options, random: this.#random });
  }

  get state(): NodeState {
    return this.#state;
  }

  view(): ReplicaView | undefined {
    const node = this.#life?.node;
    if (node === undefined || (this.#state !== 'up' && this.#state !== 'paused')) return undefined;
    const cursors = node.cursors();
    // A state that takes the log's place counts for the core before it is current.
    const applied = Math.max(this.#life?.applier.machine.applied ?? 0, cursors.start - 1);
    return viewOf(cursors, applied, this.#life?.replica?.checkpoint.index ?? 0);
  }

  start(): void {
    const process = new Process((error) => this.#options.violated(error));
    const life: Life = {
      process,
      files: this.#storage.mount(),
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
      stopping: false,
    };
    this.#life = life;
    this.#state = 'starting';
    this.#open(life).catch((error: unknown) => this.#diskFailed(life, error));
  }

  crash(): void {
    this.#storage.cutPower();
    this.#endLife('down');
  }

  stop(): void {
    const life = this.#life;
    const node = life?.node;
    if (this.#state !== 'up' || life === undefined || node === undefined) return;
    this.#state = 'starting';
    life.stopping = true;
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
    return this.#storage.break(fault);
  }

  damage(random: Random): string | undefined {
    const text = this.#storage.damage(this.#logDirectory, random);
    if (text !== undefined) this.#isDamaged = true;
    return text;
  }

  wipe(): void {
    const { checks, configuration, id } = this.#options;
    this.#storage.wipe();
    this.#voters = [votersOf(configuration)];
    this.#number = undefined;
    this.#logDirectory = '';
    this.#isDamaged = false;
    checks.wiped(id);
  }

  get isDamaged(): boolean {
    const node = this.#life?.node;
    if (this.#state === 'up' && node !== undefined) {
      const { faulty, tailLost } = node.status();
      this.#isDamaged = faulty.length > 0 || tailLost;
    }
    return this.#isDamaged;
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
    this.#logDirectory = replica.logDirectory;
    const place = this.#place(life, replica.logDirectory);
    const log = await this.#storage.openLog({ ...place, behind: checkpoint });
    const logDisk = new LogDisk({
      log,
      note: () => RECORD,
      openRepairs: (how) => this.#storage.openRepairs(place, how),
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
      network: this.#network(life),
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
          openLog: (directory, behind) =>
            this.#storage.openLog({ ...this.#place(life, directory), behind }),
          makingCurrent: () => this.#options.installing(),
        }),
        checksum: (bytes) => crc32(bytes),
        failed: () => this.#options.counters.add('rare: a catch-up broke off'),
      },
      incarnation: log.logId,
      limits: this.#options.core,
      catchUpBytesPerSecond: CATCH_UP_BYTES_PER_SECOND,
      tickMs: this.#options.tickMs,
    });
    if (this.#life !== life) return;
    life.node = node;
    this.#state = 'up';
    node.start();
    this.#options.touched();
  }

  #network(life: Life): Network {
    return {
      send: (message) => {
        this.#options.send(message);
        return true;
      },
      hasRoom: () => true,
      listen: (listener) => (life.listener = listener),
    };
  }

  #place(life: Life, directory: string): LogPlace {
    const onFailure = (error: Error): void => {
      if (!life.process.isOver) life.disk?.logFailed(error);
    };
    return { files: life.files, directory, onFailure };
  }

  /** Everything that the disk held. */
  async #tellChecks(disk: LogDisk, { checkpoint, number }: ReplicaFiles): Promise<void> {
    const { entries, damaged } = await heldOn(disk);
    this.#options.checks.restarted(this.id, {
      checkpoint: checkpoint.index,
      start: disk.start,
      entries: entries.map((entry) => (typeof entry === 'number' ? lost(entry) : mirrorOf(entry))),
      damaged,
      unknownFrom: disk.faulty.find(({ through }) => through === undefined)?.from,
      term: disk.hardState.term,
      vote: disk.hardState.vote ?? '',
      tailLost: disk.hardState.tailLost === true,
      voteUnsure: disk.hardStateUnsure,
      voters: votersOf(checkpoint.configuration),
      replaced: this.#number !== undefined && number !== this.#number,
    });
    this.#number = number;
    const configurations = [checkpoint.configuration];
    for (const entry of entries) {
      if (typeof entry === 'number' || entry.configuration === undefined) continue;
      configurations.push({ index: entry.index, configuration: entry.configuration });
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
    if (end.kind === 'stranger') return this.#stranger();
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
    if (life.checkpointing || index > node.cursors().durable) return;
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
        if (this.#life !== life || life.stopping) return undefined;
        return node.truncatePrefix(index + 1 - keptEntries);
      })
      .catch((error: unknown) => this.#diskFailed(life, error));
  }

  /** As the product does: what cannot be written ends the process. */
  #diskFailed(life: Life, error: unknown): void {
    if (this.#life !== life) return;
    if (this.#isDamaged && isRefusal(error)) return this.#halted(error);
    if (!isOfTheDisk(error)) return this.#options.violated(error);
    this.#options.counters.add('rare: replica stopped by its disk');
    this.#options.kernel.note(`${this.id} failed: ${String(error)}`);
    this.#endLife('failed');
    this.#options.failed();
  }

  /** Its disk was wiped, and the cluster has told it so. */
  #stranger(): void {
    this.#options.counters.add('rare: stranger under a known name');
    this.#endLife('failed');
    this.#options.halted();
  }

  /** It says loudly that it may not go on: whoever runs it replaces it. */
  #halted(error: Error): void {
    this.#options.counters.add('rare: start refused over damage');
    this.#options.kernel.note(`${this.id} refuses to start: ${error.message}`);
    this.#endLife('failed');
    this.#options.halted();
  }
}

/** A loud halt: what is left on the disk is not enough to go on. */
function isRefusal(error: unknown): error is Error {
  if (error instanceof RaftError) return true;
  return error instanceof StorageError && error.code === 'damaged';
}

/** A fault that was installed, and not a bug that passes for one. */
function isOfTheDisk(error: unknown): boolean {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    if (['EIO', 'ENOSPC'].includes(ioCode(cause) ?? '')) return true;
  }
  return false;
}
