/**
 * Replicas as they run, for tests: real logs over files in memory, a network of lists, a clock that
 * the test moves. The event loop is the real one; nothing waits for real time.
 *
 * A state machine is the list of what was applied; its checkpoint is taken and durable at once, and
 * a catch-up brings that list in parts.
 */

import { Log } from '../../../storage/log/log.ts';
import { LogDisk, RaftNode, decodeConfiguration, encodeConfiguration } from '#raft';
import type {
  CatchUpBuilding,
  CatchUpReading,
  Clock,
  Configuration,
  ConfigurationAt,
  DamagedRange,
  Entry,
  HardState,
  Limits,
  Network,
  NetworkListener,
  PeerMessage,
  ReplicaEnd,
  SoftState,
  StateMachine,
  Timer,
} from '#raft';
import { MemoryFiles } from '../../support/memory-files.ts';
import { openRepairsLog } from '../../support/repairs-log.ts';
import { repeated } from '../../../raft/simulation/repeated.ts';

const TICK_MS = 10;
const STEPS_MAX = 20_000;
/** So small that a log has many segments. */
const STORAGE = {
  segmentBytes: 4096,
  prewriteBytes: 4096,
  maxWriteBytes: 4096,
  indexIntervalBytes: 512,
  idleMarkMs: 0,
} as const;

export const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (payload: Uint8Array): string => new TextDecoder().decode(payload);

function turn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

class TestTimer implements Timer {
  readonly atMs: number;
  readonly action: () => void;
  cancelled = false;

  constructor(atMs: number, action: () => void) {
    this.atMs = atMs;
    this.action = action;
  }

  cancel(): void {
    this.cancelled = true;
  }
}

export class TestClock implements Clock {
  nowMs = 0;
  #timers: TestTimer[] = [];

  monotonicMs(): number {
    return this.nowMs;
  }

  after(ms: number, action: () => void): Timer {
    const timer = new TestTimer(this.nowMs + ms, action);
    this.#timers.push(timer);
    return timer;
  }

  every(ms: number, action: () => void): Timer {
    return repeated(this, ms, action);
  }

  soon(action: () => void): void {
    queueMicrotask(action);
  }

  later(action: () => void): void {
    setImmediate(action);
  }

  advance(ms: number): void {
    this.nowMs += ms;
    const due = this.#timers.filter(({ atMs }) => atMs <= this.nowMs);
    this.#timers = this.#timers.filter(({ atMs }) => atMs > this.nowMs);
    for (const timer of due) if (!timer.cancelled) timer.action();
  }
}

interface StoredCheckpoint {
  readonly index: number;
  readonly term: number;
  readonly configuration: ConfigurationAt;
  readonly applied: readonly string[];
  readonly serveFrom: number;
}

export function checksumOf(part: Uint8Array): number {
  return part.reduce((sum, byte) => (sum * 31 + byte) >>> 0, 7);
}

/** One replica through its lives. */
export class TestHost implements StateMachine {
  readonly id: string;
  readonly #cluster: Hosts;
  files = new MemoryFiles();
  directory = '/data/log-1';
  checkpoint: StoredCheckpoint;
  /** What an unfinished catch-up has brought, by the checkpoint's index. */
  staged = new Map<number, string[]>();
  node: RaftNode | undefined;
  log: Log | undefined;
  applied: string[] = [];
  appliedIndex = 0;
  /** Entries that came in one piece. */
  pieces: number[] = [];
  ends: ReplicaEnd[] = [];
  roles: SoftState[] = [];
  configurations: ConfigurationAt[] = [];
  /** The state machine takes its time: `goOn` applies. */
  slow = false;
  #held: Entry[] = [];
  catchUpFailures: Error[] = [];
  damages: DamagedRange[] = [];
  answers = 0;
  listener: NetworkListener | undefined;

  constructor(cluster: Hosts, id: string, configuration: Configuration) {
    this.#cluster = cluster;
    this.id = id;
    const at = { index: 0, configuration };
    this.checkpoint = { index: 0, term: 0, configuration: at, applied: [], serveFrom: 0 };
  }

  async start(): Promise<void> {
    const { checkpoint, id } = this;
    const { clock, limits, catchUpBytesPerSecond } = this.#cluster;
    const made: { disk?: LogDisk } = {};
    const { index, term } = checkpoint;
    const { log } = await Log.open({
      files: this.files,
      directory: this.directory,
      now: () => 0,
      ...STORAGE,
      beginsBehind: { index, epoch: term },
      onFailure: (error) => made.disk?.logFailed(error),
    });
    const onFailure = (error: Error): void => made.disk?.logFailed(error);
    const repairs = { files: this.files, directory: `${this.directory}-repairs`, onFailure };
    const disk = new LogDisk({
      log,
      note: () => ({ timestampMs: 1, recordCount: 1 }),
      openRepairs: (how) => openRepairsLog(repairs, how),
    });
    await disk.recover();
    made.disk = disk;
    this.log = log;
    this.applied = [...checkpoint.applied];
    this.appliedIndex = index;
    this.#held = [];
    this.node = await RaftNode.open({
      id,
      disk,
      network: this.#network(),
      clock,
      random: () => this.#cluster.random(id),
      machine: this,
      checkpoint,
      catchUp: {
        source: { open: () => Promise.resolve(this.#reading()) },
        sink: {
          begin: ({ index: of, ...name }) => this.#building({ index: of, ...name }),
          forget: () => undefined,
        },
        checksum: checksumOf,
        failed: (error) => void this.catchUpFailures.push(error),
      },
      catchUpBytesPerSecond,
      limits,
    });
    this.node.start();
  }

  /** The power goes: what is not synced is lost. */
  crash(): void {
    this.node?.abandon();
    this.node = undefined;
    this.listener = undefined;
    this.files = this.files.crash();
  }

  async stop(): Promise<void> {
    await this.node?.stop();
    this.node = undefined;
    this.listener = undefined;
  }

  get leads(): boolean {
    return this.node?.role === 'leader';
  }

  propose(what: string): number {
    const proposed = this.node?.propose(bytes(what));
    if (proposed?.kind !== 'accepted') throw new Error(`${this.id} refused: ${proposed?.code}`);
    return proposed.index;
  }

  /** A durable checkpoint of what is applied, and the log below goes. */
  async compact(): Promise<void> {
    const { node, appliedIndex } = this;
    if (node === undefined) throw new Error(`${this.id} is down`);
    this.checkpoint = {
      index: appliedIndex,
      term: node.termAt(appliedIndex) ?? 0,
      configuration: node.configurationAt(appliedIndex),
      applied: [...this.applied],
      serveFrom: appliedIndex,
    };
    await node.truncatePrefix(appliedIndex + 1);
  }

  // --- StateMachine.

  apply(entries: readonly Entry[]): void {
    this.pieces.push(entries.length);
    this.#held.push(...entries);
    if (!this.slow) this.goOn();
  }

  goOn(): void {
    for (const entry of this.#held.splice(0)) {
      if (entry.index !== this.appliedIndex + 1) throw new Error(`a gap before ${entry.index}`);
      this.appliedIndex = entry.index;
      if (entry.kind === 'commands') this.applied.push(text(entry.payload));
    }
    this.node?.applied(this.appliedIndex);
  }

  roleChanged(state: SoftState): void {
    this.roles.push(state);
  }

  configurationChanged(configuration: ConfigurationAt): void {
    this.configurations.push(configuration);
  }

  damaged(range: DamagedRange): void {
    this.damages.push(range);
  }

  ended(end: ReplicaEnd): void {
    this.ends.push(end);
    this.node = undefined;
    this.listener = undefined;
  }

  // --- Its network.

  #network(): Network {
    const { id } = this;
    return {
      send: (message) => this.#cluster.send(id, message),
      hasRoom: () => true,
      listen: (listener) => {
        this.listener = listener;
      },
    };
  }

  // --- Catch-up: the list in parts, asked for by number.

  #reading(): CatchUpReading | undefined {
    const { checkpoint } = this;
    if (checkpoint.index === 0) return undefined;
    return {
      checkpoint,
      summary: bytes(String(checkpoint.applied.length)),
      answer: (question) => {
        this.answers++;
        return Promise.resolve(bytes(checkpoint.applied[Number(text(question))] ?? ''));
      },
      close: () => undefined,
    };
  }

  #building(name: {
    readonly index: number;
    readonly term: number;
    readonly configuration: ConfigurationAt;
  }): Promise<CatchUpBuilding> {
    return Promise.resolve({
      ...this.#parts(name.index),
      serveFrom: name.index,
      close: () => undefined,
      keep: () => Promise.reject(new Error('nothing is to be kept here')),
      makeCurrent: (hardState) => this.#makeCurrent(name, hardState),
    });
  }

  #parts(index: number): Pick<CatchUpBuilding, 'next' | 'take'> {
    const source = this.#cluster.hosts.find(({ checkpoint }) => checkpoint.index === index);
    const count = source?.checkpoint.applied.length ?? 0;
    const parts = this.staged.get(index) ?? [];
    this.staged.set(index, parts);
    let asked = parts.filter((part) => part !== undefined).length;
    return {
      next: () => {
        if (asked < count) return bytes(String(asked++));
        return parts.length === count ? 'complete' : 'wait';
      },
      take: (question, answer) => {
        parts[Number(text(question))] = text(answer);
        return Promise.resolve();
      },
    };
  }

  async #makeCurrent(
    { index, term, configuration }: Omit<StoredCheckpoint, 'applied' | 'serveFrom'>,
    { term: voteTerm, vote }: HardState,
  ): Promise<void> {
    const directory = `${this.directory}+`;
    const { log } = await Log.open({
      files: this.files,
      directory,
      now: () => 0,
      ...STORAGE,
      beginsBehind: { index, epoch: term },
      onFailure: () => undefined,
    });
    await log.setHardState({ term: voteTerm, vote: vote ?? '' });
    await log.close();
    // Through the codec, as a real checkpoint would.
    const members = decodeConfiguration(encodeConfiguration(configuration.configuration));
    const applied = this.staged.get(index) ?? [];
    const at = { index: configuration.index, configuration: members };
    this.checkpoint = { index, term, configuration: at, applied, serveFrom: index };
    this.directory = directory;
  }
}

export interface HostsOptions {
  readonly ids?: readonly string[];
  readonly limits?: Partial<Limits>;
  readonly catchUpBytesPerSecond?: number;
}

export class Hosts {
  readonly hosts: TestHost[];
  readonly clock = new TestClock();
  readonly limits: Partial<Limits>;
  readonly catchUpBytesPerSecond: number | undefined;
  /** Directed links that lose everything, `a>b`. */
  readonly cut = new Set<string>();
  /** Every message that was sent. */
  readonly sent: PeerMessage[] = [];
  /** Of what would be delivered; false: it is lost. */
  passes: (message: PeerMessage) => boolean = () => true;
  #onTheirWay: PeerMessage[] = [];
  #draws = 0;

  constructor(options: HostsOptions = {}) {
    const { ids = ['a', 'b', 'c'], limits = {}, catchUpBytesPerSecond } = options;
    this.limits = limits;
    this.catchUpBytesPerSecond = catchUpBytesPerSecond;
    const members = ids.map((id) => ({ id, role: 'voter', address: id }) as const);
    this.hosts = ids.map((id) => new TestHost(this, id, { members }));
  }

  async start(): Promise<void> {
    for (const host of this.hosts) await host.start();
  }

  host(id: string): TestHost {
    const found = this.hosts.find((host) => host.id === id);
    if (found === undefined) throw new Error(`no host ${id}`);
    return found;
  }

  get leader(): TestHost | undefined {
    const leaders = this.hosts.filter(({ leads }) => leads);
    return leaders.toSorted((a, b) => (b.node?.term ?? 0) - (a.node?.term ?? 0))[0];
  }

  get followers(): readonly TestHost[] {
    const { leader } = this;
    return this.hosts.filter((host) => host !== leader);
  }

  /** Spread, and the same in each run. */
  random(id: string): number {
    this.#draws += 1;
    const draw = Math.imul(this.#draws * 2654435761 + id.charCodeAt(0), 40503) >>> 0;
    return draw / 0x1_0000_0000;
  }

  send(from: string, message: PeerMessage): boolean {
    this.sent.push(message);
    if (!this.cut.has(`${from}>${message.to}`)) this.#onTheirWay.push(message);
    return true;
  }

  isolate(id: string): void {
    for (const host of this.hosts) {
      if (host.id === id) continue;
      this.cut.add(`${id}>${host.id}`);
      this.cut.add(`${host.id}>${id}`);
    }
  }

  /** Delivers, lets disks work, and lets a tick pass. */
  async step(): Promise<void> {
    await this.settle();
    this.clock.advance(TICK_MS);
  }

  /** Delivers, and lets disks work; no time passes. */
  async settle(): Promise<void> {
    for (const message of this.#onTheirWay.splice(0)) {
      if (this.passes(message)) this.host(message.to).listener?.received(message);
    }
    for (let turns = 0; turns < 4; turns++) await turn();
  }

  async until(holds: () => boolean): Promise<void> {
    for (let steps = 0; steps < STEPS_MAX; steps++) {
      if (holds()) return;
      await this.step();
    }
    throw new Error(`it never came to hold: ${holds.toString()}`);
  }

  /** One that has committed in its term. */
  async elect(): Promise<TestHost> {
    await this.until(() => {
      const { node } = this.leader ?? {};
      return node !== undefined && node.termAt(node.commitIndex) === node.term;
    });
    return this.leader as TestHost;
  }

  /** Everything that this host has proposed so far is applied on these. */
  async applied(on: readonly TestHost[], index: number): Promise<void> {
    await this.until(() => on.every(({ appliedIndex }) => appliedIndex >= index));
  }
}
