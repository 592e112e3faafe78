/**
 * What must hold in every cluster at every moment (Raft figure 3), looked at from outside: logs as
 * they were handed out, disks as they are, and everything that any server ever called committed.
 *
 * It throws at the first breach. It knows nothing of how the core works.
 */

import type { Entry, LogIndex, Ready, ServerId, Term } from '#raft';
import { Disk, decode, describeEntry } from './cluster.ts';
import type { Cluster, TestServer } from './cluster.ts';

interface Seen {
  term: Term;
  vote: ServerId | undefined;
  commitIndex: LogIndex;
  applied: LogIndex;
}

const sameEntry = (a: Entry, b: Entry): boolean =>
  a.index === b.index &&
  a.term === b.term &&
  a.kind === b.kind &&
  decode(a.payload) === decode(b.payload) &&
  JSON.stringify(a.configuration) === JSON.stringify(b.configuration);

export class Invariants {
  readonly #cluster: Cluster;
  /** Each log as handed out, synced or not. */
  readonly #views = new Map<ServerId, Disk>();
  readonly #leaders = new Map<Term, ServerId>();
  readonly #committed: (Entry | undefined)[] = [];
  readonly #seen = new Map<ServerId, Seen>();
  readonly #asked = new Map<number, LogIndex>();
  #committedMax: LogIndex = 0;
  /** Disks may have lost since what they were told of: they are not looked into. */
  isDamaged: () => boolean = () => false;
  elections = 0;
  reads = 0;
  installs = 0;
  truncations = 0;
  damages = 0;
  lostEnds = 0;
  lostStates = 0;

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
    cluster.onReady = (server, ready) => this.#onReady(server, ready);
  }

  get committed(): LogIndex {
    return this.#committedMax;
  }

  committedAt(index: LogIndex): Entry | undefined {
    return this.#committed[index];
  }

  /** A read is asked for now: its answer may not be older. */
  asked(id: number): void {
    this.#asked.set(id, this.#committedMax);
  }

  /** The view is what the disk has. */
  restarted(id: ServerId): void {
    this.#views.delete(id);
    const seen = this.#seen.get(id);
    if (seen === undefined) return;
    seen.commitIndex = 0;
    seen.applied = 0;
    const { term, vote } = this.#cluster.server(id).disk.hardState;
    seen.term = term;
    seen.vote = vote;
  }

  /** The log's start is about to move: the view is what the disk has then. */
  forget(id: ServerId): void {
    this.#views.delete(id);
  }

  #view(server: TestServer): Disk {
    let view = this.#views.get(server.id);
    if (view === undefined) {
      const { disk } = server;
      view = new Disk({ members: [] });
      view.start = disk.start;
      view.termBeforeStart = disk.termBeforeStart;
      view.entries = [...disk.entries];
      view.checkpoint = disk.checkpoint;
      this.#views.set(server.id, view);
    }
    return view;
  }

  #onReady(server: TestServer, ready: Ready): void {
    const view = this.#view(server);
    const { persist } = ready;
    if (persist !== undefined) {
      if (persist.truncateAfter !== undefined) this.#truncated(server, persist.truncateAfter);
      if (persist.snapshot !== undefined) this.installs += 1;
      view.write(persist, ({ index }) => {
        const transfer = server.transfers.get(index);
        if (transfer === undefined) throw new Error('installed without a transfer');
        return transfer;
      });
    }
    if (ready.commitIndex !== undefined) this.#onCommit(server, view, ready.commitIndex);
    for (const entry of ready.apply) this.#onApply(server, entry);
    if (ready.soft?.role === 'leader') this.#onElection(server, view);
    for (const { id, index } of ready.reads) this.#onRead(server, id, index);
    this.#monotone(server);
  }

  #truncated(server: TestServer, truncateAfter: LogIndex): void {
    this.truncations += 1;
    const view = this.#view(server);
    for (let index = truncateAfter + 1; index <= view.last; index += 1) {
      const entry = view.at(index);
      const committed = this.#committed[index];
      if (entry !== undefined && committed !== undefined && sameEntry(entry, committed)) {
        throw new Error(`a committed entry is truncated: ${describeEntry(entry)}`);
      }
    }
  }

  #onElection(server: TestServer, view: Disk): void {
    const { term } = server.raft;
    const other = this.#leaders.get(term);
    if (other !== undefined && other !== server.id) {
      throw new Error(`election safety: ${other} and ${server.id} lead term ${term}`);
    }
    if (other === undefined) this.elections += 1;
    this.#leaders.set(term, server.id);
    for (let index = view.start; index <= this.#committedMax; index += 1) {
      const committed = this.#committed[index];
      const entry = view.at(index);
      if (committed === undefined || committed.term >= term) continue;
      if (entry === undefined || !sameEntry(entry, committed)) {
        const missing = describeEntry(committed);
        throw new Error(`leader completeness: ${server.id} leads term ${term} without ${missing}`);
      }
    }
  }

  #onCommit(server: TestServer, view: Disk, commitIndex: LogIndex): void {
    for (let index = view.start; index <= commitIndex; index += 1) {
      const entry = view.at(index);
      if (entry === undefined) throw new Error(`${server.id} commits ${index}, which it has not`);
      // Damaged, and replaced in place before it is applied.
      if (server.disk.isFaulty(index)) continue;
      const committed = this.#committed[index];
      if (committed === undefined) {
        this.#committed[index] = entry;
      } else if (!sameEntry(entry, committed)) {
        throw new Error(
          `state machine safety: ${server.id} commits ${describeEntry(entry)}, ` +
            `but ${describeEntry(committed)} was`,
        );
      }
    }
    if (commitIndex <= this.#committedMax) return;
    this.#committedMax = commitIndex;
    this.#durableOnMajority(server, view.at(commitIndex));
  }

  #durableOnMajority(server: TestServer, entry: Entry | undefined): void {
    if (entry === undefined || this.isDamaged()) return;
    const { configuration } = server.raft.configurationAt(entry.index);
    const current = server.raft.status().configuration.configuration;
    for (const { members } of new Set([configuration, current])) {
      const voters = members.filter(({ role }) => role === 'voter');
      const holding = voters.filter(({ id }) => {
        const { disk } = this.#cluster.server(id);
        const held = disk.at(entry.index);
        return (held !== undefined && sameEntry(held, entry)) || disk.start > entry.index;
      });
      if (holding.length * 2 > voters.length) return;
    }
    throw new Error(`${server.id} commits ${describeEntry(entry)}, not durable on a majority`);
  }

  #onApply(server: TestServer, entry: Entry): void {
    const committed = this.#committed[entry.index];
    if (committed === undefined || !sameEntry(entry, committed)) {
      throw new Error(`${server.id} applies ${describeEntry(entry)}, which is not committed`);
    }
    const seen = this.#seenOf(server);
    const { applying } = server.raft.status();
    if (entry.index > applying || entry.index <= seen.applied) {
      throw new Error(`${server.id} applies ${entry.index} twice or out of order`);
    }
    seen.applied = entry.index;
  }

  #onRead(server: TestServer, id: number, index: LogIndex | undefined): void {
    if (index === undefined) return;
    const atLeast = this.#asked.get(id) ?? 0;
    if (index < atLeast) {
      throw new Error(`stale read: ${server.id} serves at ${index}, but ${atLeast} was committed`);
    }
    if (server.raft.status().applied < index) throw new Error('a read before it was applied');
    this.reads += 1;
  }

  #seenOf(server: TestServer): Seen {
    let seen = this.#seen.get(server.id);
    if (seen === undefined) {
      seen = { term: 0, vote: undefined, commitIndex: 0, applied: 0 };
      this.#seen.set(server.id, seen);
    }
    return seen;
  }

  #monotone(server: TestServer): void {
    const seen = this.#seenOf(server);
    const status = server.raft.status();
    if (status.term < seen.term) throw new Error(`the term of ${server.id} goes back`);
    if (status.term === seen.term && seen.vote !== undefined && status.vote !== seen.vote) {
      throw new Error(`${server.id} votes twice in term ${status.term}`);
    }
    if (status.commitIndex < seen.commitIndex) throw new Error('the commit index goes back');
    const ordered =
      status.applied <= status.applying &&
      status.applying <= status.commitIndex &&
      status.commitIndex <= status.accepted &&
      status.durable <= status.submitted &&
      status.submitted <= status.accepted;
    if (!ordered && status.role !== 'stopped')
      throw new Error(`${server.id}: cursors out of order`);
    seen.term = status.term;
    seen.vote = status.vote;
    seen.commitIndex = status.commitIndex;
  }

  /** Log matching, over all pairs of logs; and disks hold what was handed out. */
  check(): void {
    const servers = this.#cluster.servers.filter(({ isUp }) => isUp);
    for (const [at, server] of servers.entries()) {
      for (const other of servers.slice(at + 1)) this.#logsMatch(server, other);
    }
  }

  #logsMatch(a: TestServer, b: TestServer): void {
    const left = this.#view(a);
    const right = this.#view(b);
    let agree = false;
    const first = Math.max(left.start, right.start);
    for (let index = Math.min(left.last, right.last); index >= first; index -= 1) {
      const one = left.at(index);
      const two = right.at(index);
      if (one === undefined || two === undefined) return;
      if (a.disk.isFaulty(index) || b.disk.isFaulty(index)) continue;
      agree ||= one.term === two.term;
      if (agree && !sameEntry(one, two)) {
        throw new Error(
          `log matching: ${a.id} has ${describeEntry(one)}, ${b.id} has ${describeEntry(two)}`,
        );
      }
    }
  }
}
