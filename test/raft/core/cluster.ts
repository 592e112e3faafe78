/**
 * A tiny cluster for tests of the core: servers with a disk in memory, a network that is a list of
 * messages, and nothing that happens by itself. A test decides which message arrives, which write
 * is done, who ticks and who crashes.
 *
 * A disk has what was synced; a write that was handed out and not synced is lost in a crash.
 */

import { Raft } from '#raft';
import type {
  CatchUp,
  Configuration,
  ConfigurationAt,
  Entry,
  FaultyRange,
  HardState,
  Installed,
  Limits,
  LogIndex,
  Member,
  Message,
  Persist,
  Read,
  Ready,
  Recovered,
  ServerId,
  Term,
  TermStart,
} from '#raft';

const TEST_LIMITS: Partial<Limits> = {
  heartbeatTicks: 1,
  electionTicks: 10,
  diskStallTicks: 30,
  balanceTicks: 20,
};

export const encode = (text: string): Uint8Array => new TextEncoder().encode(text);
export const decode = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

/** State of the state machine at an index: what was applied, in order. */
export interface StoredCheckpoint {
  readonly index: LogIndex;
  readonly term: Term;
  readonly configuration: ConfigurationAt;
  readonly applied: readonly string[];
  readonly serveFrom: LogIndex;
}

export class Disk {
  hardState: HardState = { term: 0, vote: undefined };
  checkpoint: StoredCheckpoint;
  /** First entry: index `checkpoint.index + 1`, or lower while the log is longer. */
  start: LogIndex = 1;
  termBeforeStart: Term = 0;
  entries: Entry[] = [];
  faulty: FaultyRange[] = [];
  /** Its checkpoint cannot be read any more. */
  stateLost = false;
  readonly incarnation: string | undefined;

  constructor(configuration: Configuration, incarnation?: string) {
    this.incarnation = incarnation;
    const at = { index: 0, configuration };
    this.checkpoint = { index: 0, term: 0, configuration: at, applied: [], serveFrom: 0 };
  }

  get last(): LogIndex {
    return this.start + this.entries.length - 1;
  }

  at(index: LogIndex): Entry | undefined {
    return this.entries[index - this.start];
  }

  isFaulty(index: LogIndex): boolean {
    return this.faulty.some(({ from, through }) => index >= from && index <= (through ?? Infinity));
  }

  write(piece: Persist, checkpointOf: (installed: Installed) => StoredCheckpoint): void {
    if (piece.hardState !== undefined) this.hardState = piece.hardState;
    if (piece.snapshot !== undefined) this.#install(checkpointOf(piece.snapshot), piece.snapshot);
    if (piece.truncateAfter !== undefined) {
      this.entries.length = Math.max(0, piece.truncateAfter - this.start + 1);
      this.faulty = this.faulty.filter(({ from }) => from <= this.last);
    }
    for (const entry of piece.entries) {
      if (entry.index !== this.last + 1) throw new Error(`a gap on the disk at ${entry.index}`);
      this.entries.push({ ...entry, local: undefined });
    }
    for (const entry of piece.repaired) this.entries[entry.index - this.start] = entry;
    const repaired = new Set(piece.repaired.map(({ index }) => index));
    this.faulty = this.faulty.flatMap((range) => this.#leftOf(range, repaired));
  }

  /** What is damaged of a range after a write, an entry at a time. */
  #leftOf(range: FaultyRange, repaired: ReadonlySet<LogIndex>): FaultyRange[] {
    const { from, through, throughTerm } = range;
    if (through === undefined) return [range];
    const left: FaultyRange[] = [];
    for (let index = from; index <= Math.min(through, this.last); index += 1) {
      if (repaired.has(index)) continue;
      left.push({
        from: index,
        through: index,
        throughTerm: index === through ? throughTerm : undefined,
      });
    }
    return left;
  }

  #install(checkpoint: StoredCheckpoint, { index, term, keepSuffix }: Installed): void {
    this.checkpoint = checkpoint;
    this.stateLost = false;
    this.entries = keepSuffix ? this.entries.slice(index + 1 - this.start) : [];
    this.start = index + 1;
    this.termBeforeStart = term;
    const isLeft = (range: FaultyRange): boolean =>
      keepSuffix && (range.through ?? Infinity) > index;
    this.faulty = this.faulty.filter(isLeft);
  }

  recovered(): Recovered {
    const terms: TermStart[] = [];
    for (const { term, index } of this.entries) {
      if (terms.at(-1)?.term !== term) terms.push({ term, firstIndex: index });
    }
    const { configuration, serveFrom } = this.checkpoint;
    const index = this.stateLost ? this.start - 1 : this.checkpoint.index;
    const later = this.entries.flatMap((entry): ConfigurationAt[] =>
      entry.configuration === undefined || entry.index <= index
        ? []
        : [{ index: entry.index, configuration: entry.configuration }],
    );
    return {
      hardState: this.hardState,
      start: this.start,
      termBeforeStart: this.termBeforeStart,
      last: this.last,
      terms,
      configurations: [configuration, ...later],
      applied: index,
      faulty: this.faulty,
      serveFrom,
      stateLost: this.stateLost,
    };
  }
}

export class TestServer {
  readonly id: ServerId;
  disk: Disk;
  raft: Raft;
  /** Handed out and not yet on the disk. */
  writes: Persist[] = [];
  /** The log as handed out: what a sync of everything would leave. */
  applied: string[] = [];
  appliedEntries: Entry[] = [];
  reads: Read[] = [];
  catchUps: CatchUp[] = [];
  isUp = true;
  /** Checkpoints that were given to `install`, by index. */
  readonly transfers = new Map<LogIndex, StoredCheckpoint>();
  /** The host does not apply while this is set. */
  isApplyHeld = false;
  heldApply: Entry[] = [];

  constructor(id: ServerId, disk: Disk, raft: Raft) {
    this.id = id;
    this.disk = disk;
    this.raft = raft;
  }

  get log(): readonly string[] {
    return this.disk.entries.map(describeEntry);
  }
}

export function describeEntry(entry: Entry): string {
  const { index, term, kind, payload, configuration } = entry;
  const what =
    kind === 'commands' ? decode(payload) : kind === 'empty' ? '-' : describe(configuration);
  return `${index}/${term} ${what}`;
}

export function describe(configuration: Configuration | undefined): string {
  const marks = { voter: '', learner: '?', joining: '+' };
  const members = configuration?.members ?? [];
  return `{${members.map(({ id, role }) => id + marks[role]).join(' ')}}`;
}

/** Time-outs in the order of the names: `a` has the shortest. */
function placeOf(id: ServerId): number {
  return (((id.charCodeAt(0) - 'a'.charCodeAt(0)) % 9) + 1) / 10;
}

export interface ClusterOptions {
  readonly servers?: readonly ServerId[];
  /** Default: all of them voters. */
  readonly members?: readonly Member[];
  readonly limits?: Partial<Limits>;
  readonly random?: (id: ServerId) => () => number;
  readonly preferred?: ServerId;
  /** The logs have names, by which a server that lost its disk is found out. */
  readonly incarnations?: boolean;
}

export const voter = (id: ServerId): Member => ({ id, role: 'voter', address: id });

export class Cluster {
  readonly servers: TestServer[] = [];
  /** On their way. */
  network: Message[] = [];
  /** Directed links that lose everything: `a>b`. */
  readonly cut = new Set<string>();
  /** Called with everything that a server hands out, before it is carried out. */
  onReady: ((server: TestServer, ready: Ready) => void) | undefined;
  readonly #options: ClusterOptions;
  readonly #configuration: Configuration;
  #disks = 0;

  constructor(options: ClusterOptions = {}) {
    this.#options = options;
    const ids = options.servers ?? ['a', 'b', 'c'];
    this.#configuration = { members: options.members ?? ids.map(voter) };
    for (const id of ids) this.add(id, this.#configuration);
  }

  add(id: ServerId, configuration: Configuration = { members: [] }): TestServer {
    const disk = new Disk(configuration, this.#incarnation(id));
    const server = new TestServer(id, disk, this.#start(id, disk));
    this.servers.push(server);
    return server;
  }

  #incarnation(id: ServerId): string | undefined {
    if (this.#options.incarnations !== true) return undefined;
    this.#disks += 1;
    return `${id}disk${this.#disks}`;
  }

  /** It starts again under its name, as if it were new. */
  wipe(id: ServerId): void {
    this.crash(id);
    this.server(id).disk = new Disk(this.#configuration, this.#incarnation(id));
    this.restart(id);
  }

  #start(id: ServerId, disk: Disk): Raft {
    return new Raft({
      id,
      recovered: disk.recovered(),
      limits: { ...TEST_LIMITS, ...this.#options.limits },
      random: this.#options.random?.(id) ?? (() => placeOf(id)),
      preferred: this.#options.preferred,
      incarnation: disk.incarnation,
    });
  }

  server(id: ServerId): TestServer {
    const found = this.servers.find((server) => server.id === id);
    if (found === undefined) throw new Error(`no server ${id}`);
    return found;
  }

  raft(id: ServerId): Raft {
    return this.server(id).raft;
  }

  /** Takes what the server has to do: sends, queues writes, applies, fetches. */
  run(id: ServerId): void {
    const server = this.server(id);
    for (let turns = 0; server.isUp; turns += 1) {
      if (turns > 1000) throw new Error(`${id} has always something to do`);
      const ready = server.raft.ready();
      if (ready === undefined) return;
      this.onReady?.(server, ready);
      this.#carryOut(server, ready);
    }
  }

  #carryOut(server: TestServer, ready: Ready): void {
    for (const message of ready.send) {
      if (!this.cut.has(`${message.from}>${message.to}`)) this.network.push(message);
    }
    if (ready.persist !== undefined) server.writes.push(ready.persist);
    server.reads.push(...ready.reads);
    server.catchUps.push(...ready.catchUp);
    if (ready.apply.length > 0) {
      server.heldApply.push(...ready.apply);
      if (!server.isApplyHeld) this.apply(server.id);
    }
    for (const { id, from, through, maxBytes } of ready.fetch) {
      const entries: Entry[] = [];
      let bytes = 0;
      for (let index = from; index <= through; index += 1) {
        const entry = server.disk.isFaulty(index) ? undefined : server.disk.at(index);
        bytes += entry?.payload.byteLength ?? 0;
        if (entry === undefined || (entries.length > 0 && bytes > maxBytes)) break;
        entries.push(entry);
      }
      if (entries.length === 0) server.raft.fetchFailed(id);
      else server.raft.fetched(id, entries);
    }
  }

  apply(id: ServerId): void {
    const server = this.server(id);
    for (const entry of server.heldApply) {
      server.appliedEntries.push(entry);
      if (entry.kind === 'commands') server.applied.push(decode(entry.payload));
    }
    const last = server.heldApply.at(-1);
    server.heldApply = [];
    if (last !== undefined) server.raft.applied(last.index);
  }

  /** Puts writes on the disk and tells the core: all of them, or the first so many. */
  sync(id: ServerId, count = Infinity): boolean {
    const server = this.server(id);
    const done = server.writes.splice(0, count);
    for (const piece of done) {
      server.disk.write(piece, (installed) => this.#installed(server, installed));
    }
    const last = done.at(-1);
    if (last !== undefined) server.raft.persisted(last.token);
    return last !== undefined;
  }

  #installed(server: TestServer, { index, serveFrom }: Installed): StoredCheckpoint {
    const transfer = server.transfers.get(index);
    if (transfer === undefined) throw new Error(`nothing was transferred at ${index}`);
    server.applied = [...transfer.applied];
    server.appliedEntries = [];
    return { ...transfer, serveFrom };
  }

  crash(id: ServerId): void {
    const server = this.server(id);
    server.isUp = false;
    server.writes = [];
    server.heldApply = [];
  }

  /** From what the disk has. */
  restart(id: ServerId): void {
    const server = this.server(id);
    server.isUp = true;
    server.writes = [];
    server.heldApply = [];
    server.reads = [];
    server.catchUps = [];
    server.applied = [...server.disk.checkpoint.applied];
    server.appliedEntries = [];
    server.raft = this.#start(id, server.disk);
  }

  tick(id: ServerId, count = 1): void {
    for (let done = 0; done < count; done += 1) {
      if (!this.server(id).isUp) return;
      this.raft(id).tick();
      this.run(id);
    }
  }

  /** Hands over the message at this place of the network. */
  deliver(at = 0): void {
    const [message] = this.network.splice(at, 1);
    if (message === undefined) return;
    const server = this.servers.find(({ id }) => id === message.to);
    if (server === undefined || !server.isUp) return;
    server.raft.step(message);
    this.run(server.id);
  }

  inject(message: Message): void {
    this.raft(message.to).step(message);
    this.run(message.to);
  }

  /** Everything that can happen without time passing happens. */
  settle(): void {
    for (let turns = 0; turns < 10_000; turns += 1) {
      let moved = false;
      for (const { id, isUp } of this.servers) {
        if (!isUp) continue;
        this.run(id);
        if (this.sync(id)) moved = true;
        this.run(id);
      }
      if (this.network.length > 0) {
        this.deliver();
        moved = true;
      }
      if (!moved) return;
    }
    throw new Error('the cluster does not come to rest');
  }

  /** Time passes for all, and everything settles after each tick. */
  pass(ticks: number): void {
    for (let done = 0; done < ticks; done += 1) {
      for (const { id } of this.servers) this.tick(id);
      this.settle();
    }
  }

  /** Time passes for this one alone until it leads. */
  elect(id: ServerId): void {
    for (const { id: other, isUp, raft } of this.servers) {
      if (other !== id && isUp && raft.role === 'leader' && !this.cut.has(`${other}>${id}`)) {
        throw new Error(`${other} leads: cut it off first`);
      }
    }
    for (let ticks = 0; ticks < 60; ticks += 1) {
      for (const { id: other, isUp } of this.servers) {
        // Nobody hears from a leader any more, and nobody else stands by then.
        if (isUp && other !== id && ticks < 10) this.tick(other);
      }
      this.tick(id);
      this.settle();
      if (this.raft(id).role === 'leader') return;
    }
    throw new Error(`${id} was not elected`);
  }

  propose(id: ServerId, text: string): LogIndex {
    const proposed = this.raft(id).propose(encode(text));
    if (proposed.kind === 'refused') throw new Error(`refused: ${proposed.code}`);
    this.run(id);
    return proposed.index;
  }

  isolate(id: ServerId): void {
    for (const { id: other } of this.servers) {
      if (other === id) continue;
      this.cut.add(`${id}>${other}`);
      this.cut.add(`${other}>${id}`);
    }
  }

  heal(): void {
    this.cut.clear();
  }

  get leader(): TestServer | undefined {
    let newest: TestServer | undefined;
    for (const server of this.servers) {
      if (!server.isUp || server.raft.role !== 'leader') continue;
      if (newest === undefined || server.raft.term > newest.raft.term) newest = server;
    }
    return newest;
  }

  /** A checkpoint at what is applied, and the log starts behind it. */
  compact(id: ServerId): void {
    const { raft, disk, applied } = this.server(id);
    const index = raft.status().applied;
    const term = raft.termAt(index) ?? 0;
    const configuration = raft.configurationAt(index);
    disk.checkpoint = { index, term, configuration, applied: [...applied], serveFrom: 0 };
    disk.entries = disk.entries.slice(index + 1 - disk.start);
    disk.start = index + 1;
    disk.termBeforeStart = term;
    disk.faulty = disk.faulty.filter(({ through }) => (through ?? Infinity) > index);
    raft.compacted(index + 1);
  }

  /** The leader's checkpoint goes to the other one, as a host would carry it. */
  transfer(from: ServerId, to: ServerId): ReturnType<Raft['install']> {
    const { checkpoint } = this.server(from).disk;
    const server = this.server(to);
    server.transfers.set(checkpoint.index, checkpoint);
    const { index, term, configuration } = checkpoint;
    const outcome = server.raft.install({ index, term, configuration, serveFrom: index });
    this.run(to);
    return outcome;
  }
}
