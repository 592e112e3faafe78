/**
 * Random lives of small clusters: messages late, lost, twice and out of order, writes done at any
 * time, crashes, cuts, transfers, changes of membership, checkpoints. After every step everything
 * of Raft figure 3 must hold, and when peace returns the cluster must serve and agree.
 *
 * `RAFT_RUNS`, `RAFT_SEED` and `RAFT_PATH` (as a failure prints them) choose what is run, and
 * `RAFT_TRACE` prints what the servers do.
 */

import { fc } from '../../support/properties.ts';
import { describe, expect, it } from 'vitest';
import type { Limits, Message } from '#raft';
import { Cluster, voter } from './cluster.ts';
import type { TestServer } from './cluster.ts';
import { readyLines } from '../../scenarios/trace.ts';
import { Invariants } from './invariants.ts';

/** A step: what, and two numbers that choose from what there is. */
type Step = readonly [number, number, number];

const SMALL: Partial<Limits> = {
  heartbeatTicks: 1,
  electionTicks: 4,
  diskStallTicks: 12,
  windowMessages: 2,
  windowBytes: 400,
  messageBytes: 200,
  tailBytes: 200,
  applyBytes: 300,
};

/** Numbers from 0 to 1 that differ from server to server, the same in each run. */
function randomOf(id: string): () => number {
  let state = id.charCodeAt(0) * 7919;
  return () => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return state / 2 ** 32;
  };
}

class Life {
  readonly cluster: Cluster;
  readonly invariants: Invariants;
  readonly #names: readonly string[];
  #proposed = 0;
  #reads = 0;
  readonly #sent: Message[] = [];

  constructor(servers: number) {
    this.#names = ['a', 'b', 'c', 'd', 'e'].slice(0, servers);
    const members = this.#names.slice(0, Math.max(3, servers - 1)).map(voter);
    const random = randomOf;
    this.cluster = new Cluster({
      servers: this.#names.slice(0, members.length),
      members,
      random,
      limits: SMALL,
    });
    for (const id of this.#names.slice(members.length)) this.cluster.add(id);
    this.invariants = new Invariants(this.cluster);
    this.invariants.isDamaged = () => this.#isDamaged;
    if (process.env['RAFT_TRACE'] !== undefined) this.#trace();
  }

  #trace(): void {
    const check = this.cluster.onReady;
    this.cluster.onReady = (server, ready) => {
      console.log(readyLines(server.id, ready, { sessions: true, messages: true }).join('\n'));
      check?.(server, ready);
    };
  }

  #name(choice: number): string {
    return this.#names[choice % this.#names.length] ?? 'a';
  }

  step([what, one, two]: Step): void {
    const { cluster } = this;
    const id = this.#name(one);
    const server = cluster.server(id);
    const { isUp } = server;
    if (what < 25) {
      if (cluster.network.length > 0) cluster.deliver(one % Math.min(cluster.network.length, 8));
    } else if (what < 40) {
      this.#burst(1 + (two % 8));
    } else if (what < 43) {
      cluster.network.splice(one % Math.max(1, cluster.network.length), 1 + (two % 4));
    } else if (what < 46) {
      const message = cluster.network[one % Math.max(1, cluster.network.length)];
      if (message !== undefined && cluster.network.length < 200) cluster.network.push(message);
    } else if (what < 60) {
      cluster.tick(id, 1 + (two % 6));
    } else if (what < 72) {
      if (isUp && cluster.sync(id, 1 + (two % 3))) cluster.run(id);
    } else if (what < 80) {
      this.#propose(two);
    } else if (what < 82) {
      if (isUp) this.#crash(id);
    } else if (what < 85) {
      this.#reign(id, two);
    } else if (what < 90) {
      for (const down of cluster.servers) if (!down.isUp) this.#restart(down.id);
    } else {
      this.#rare(what - 90, id, two);
    }
    if (what === 62 && isUp) this.#damage(id, two);
    if (what === 63 && isUp) this.#loseEnd(id, two);
    if (what === 64) this.#readFromLeaders();
    if (what === 65 || what === 67) this.#loseState(two);
    if (what === 66) this.#wantStates();
    const newest = cluster.network.at(-1);
    if (newest !== undefined && this.#sent.at(-1) !== newest) this.#sent.push(newest);
    this.invariants.check();
  }

  /** Messages in order, and whoever gets one writes. */
  #burst(count: number): void {
    const { cluster } = this;
    for (let done = 0; done < count; done += 1) {
      const to = cluster.network[0]?.to;
      cluster.deliver();
      if (to !== undefined && cluster.server(to).isUp && cluster.sync(to)) cluster.run(to);
    }
  }

  /**
   * A short reign: this one and some others, cut off from the rest, elect it; it takes a proposal,
   * some of what it sends arrives, some of it is written, and then it may fail.
   */
  #reign(id: string, choice: number): void {
    const { cluster } = this;
    if (!cluster.server(id).isUp) this.#restart(id);
    const court = cluster.servers.filter(
      (server, at) => server.id !== id && (choice >> at) % 2 === 1,
    );
    cluster.heal();
    for (const { id: other } of cluster.servers) {
      if (other !== id && !court.some((server) => server.id === other)) cluster.isolate(other);
    }
    for (const server of court) if (!server.isUp) this.#restart(server.id);
    cluster.network = [];
    for (let round = 0; round < 12 && cluster.raft(id).role !== 'leader'; round += 1) {
      for (const server of court) if (round < 4) cluster.tick(server.id);
      cluster.tick(id);
      for (let turns = 0; turns < 3 && cluster.raft(id).role !== 'leader'; turns += 1) {
        for (const server of [cluster.server(id), ...court]) {
          if (cluster.sync(server.id)) cluster.run(server.id);
        }
        this.#burst(cluster.network.length);
      }
    }
    this.#propose(choice);
    cluster.run(id);
    if (choice % 3 > 0) cluster.sync(id, choice % 4);
    cluster.run(id);
    this.#burst((choice >> 3) % 6);
    if (choice % 5 > 1) this.#crash(id);
  }

  #crash(id: string): void {
    this.cluster.crash(id);
  }

  #restart(id: string): void {
    this.cluster.restart(id);
    this.invariants.restarted(id);
  }

  #propose(choice: number): void {
    for (const { id, isUp, raft } of this.cluster.servers) {
      if (!isUp || raft.role !== 'leader') continue;
      this.#proposed += 1;
      raft.propose(new TextEncoder().encode(`${id}${this.#proposed}${'.'.repeat(choice % 60)}`));
      if (choice % 2 === 0) this.cluster.run(id);
    }
  }

  #rare(what: number, id: string, two: number): void {
    const { cluster } = this;
    const server = cluster.server(id);
    const other = this.#name(two);
    if (what === 0) cluster.cut.add(`${id}>${other}`);
    else if (what === 1) cluster.heal();
    else if (what === 2 && server.isUp) this.#read(id);
    else if (what === 3 && server.isUp) server.raft.transferLeadership(other);
    else if (what === 4 && server.isUp) this.#change(id, other, two);
    else if (what === 5 && server.isUp && server.writes.length === 0) this.#compact(id);
    else if (what === 6 && server.isUp) this.#transfer(id, other);
    else if (what === 8) this.#replay(two);
    else if (what === 9) cluster.isolate(id);
    else if (what === 7) server.isApplyHeld = !server.isApplyHeld;
    if (cluster.server(id).isUp) cluster.run(id);
    if (!server.isApplyHeld && server.isUp) cluster.apply(id);
  }

  /** Something that was sent long ago arrives once more. */
  #replay(choice: number): void {
    const old = this.#sent[choice % Math.max(1, this.#sent.length)];
    if (old !== undefined) this.cluster.network.push(old);
  }

  /** One server at a time: what two of three have lost, nobody can bring back. */
  get #isDamaged(): boolean {
    return this.cluster.servers.some(
      ({ disk, isUp, raft }) =>
        disk.faulty.length > 0 ||
        disk.hardState.tailLost === true ||
        (isUp && raft.status().tailLost),
    );
  }

  /** Damage that nobody could repair is no test: two voters, or two configurations. */
  get #mayNotBreak(): boolean {
    const configurations = this.cluster.servers.map(({ raft }) => raft.status().configuration);
    const used = new Set(configurations.map(({ index }) => index));
    const { members } = configurations[0]?.configuration ?? { members: [] };
    const voters = members.filter(({ role }) => role === 'voter').length;
    return this.#isDamaged || this.#isStateLost || used.size > 1 || voters < 3;
  }

  get #isStateLost(): boolean {
    return this.cluster.servers.some(({ disk }) => disk.stateLost);
  }

  /** An entry on its disk cannot be read any more. */
  #damage(id: string, choice: number): void {
    const { disk, raft, writes } = this.cluster.server(id);
    if (this.#mayNotBreak || writes.length > 0 || disk.entries.length === 0) return;
    const index = disk.start + (choice % disk.entries.length);
    const range = { from: index, through: index, throughTerm: disk.at(index)?.term };
    disk.faulty = [range];
    raft.damaged(range);
    this.invariants.damages += 1;
    this.cluster.run(id);
  }

  /** It comes back without the end of its log, and knows that there was more. */
  #loseEnd(id: string, choice: number): void {
    const { disk } = this.cluster.server(id);
    const losable = disk.last - Math.max(disk.checkpoint.index, disk.start - 1);
    if (this.#mayNotBreak || losable < 1) return;
    this.#crash(id);
    disk.entries.length -= 1 + (choice % losable);
    disk.faulty = [{ from: disk.last + 1, through: undefined }];
    this.invariants.lostEnds += 1;
    this.#restart(id);
  }

  /** Its checkpoint cannot be read any more; log and vote can. */
  #loseState(choice: number): void {
    const losable = this.cluster.servers.filter(({ isUp, disk }) => isUp && disk.start > 1);
    if (this.#mayNotBreak || losable.length === 0) return;
    const { id, disk } = losable[choice % losable.length] as TestServer;
    this.#crash(id);
    disk.stateLost = true;
    this.invariants.lostStates += 1;
    this.#restart(id);
  }

  /** Who has lost its state asks whoever it takes for its leader. */
  #wantStates(): void {
    for (const { id, isUp, raft } of this.cluster.servers) {
      const { leader, start } = raft.status();
      if (!isUp || !raft.isStateLost || leader === undefined) continue;
      const asked = this.cluster.server(leader);
      if (asked.isUp) asked.raft.catchUpWanted(id, start - 1);
    }
  }

  #readFromLeaders(): void {
    for (const { id, isUp, raft } of this.cluster.servers) {
      if (isUp && raft.role === 'leader') this.#read(id);
    }
  }

  #read(id: string): void {
    this.#reads += 1;
    this.invariants.asked(this.#reads);
    this.cluster.raft(id).readIndex(this.#reads);
  }

  #change(id: string, other: string, two: number): void {
    if (this.#isDamaged || this.#isStateLost) return;
    const kinds = ['add', 'promote', 'remove', 'demote'] as const;
    const kind = kinds[two % kinds.length] ?? 'add';
    const { raft } = this.cluster.server(id);
    if (kind === 'add') {
      raft.changeMembership({
        kind,
        id: other,
        address: other,
        role: two % 3 === 0 ? 'joining' : 'learner',
      });
    } else {
      raft.changeMembership({ kind, id: other });
    }
  }

  #compact(id: string): void {
    const { raft, disk } = this.cluster.server(id);
    const { applied, durable } = raft.status();
    if (applied > durable || applied < disk.start || raft.termAt(applied) === undefined) return;
    if (disk.last < applied) return;
    this.invariants.forget(id);
    this.cluster.compact(id);
  }

  #transfer(from: string, to: string): void {
    const leader = this.cluster.server(from);
    if (from === to || !this.cluster.server(to).isUp) return;
    for (const { to: wanted, session } of leader.catchUps) {
      if (wanted !== to) continue;
      this.cluster.transfer(from, to);
      leader.raft.catchUpEnded(to, session);
    }
  }

  /** No more faults: one leader, a new write everywhere, the same logs. */
  peace(): void {
    const { cluster } = this;
    cluster.heal();
    for (const server of cluster.servers) {
      server.isApplyHeld = false;
      if (server.isUp) cluster.apply(server.id);
      else this.#restart(server.id);
    }
    this.#serve();
  }

  #serve(): void {
    const { cluster, invariants } = this;
    let written = 0;
    for (let round = 0; round < 60; round += 1) {
      cluster.pass(4);
      this.#wantStates();
      invariants.check();
      for (const server of cluster.servers) {
        this.#carryCheckpoints(server.id);
        // Damage behind the state machine goes with the next checkpoint.
        if (server.raft.status().faulty.length > 0) this.#compact(server.id);
      }
      const { leader } = cluster;
      if (leader === undefined) continue;
      if (written === 0) {
        const proposed = leader.raft.propose(new TextEncoder().encode('the last'));
        if (proposed.kind === 'accepted') written = proposed.index;
        continue;
      }
      const { members } = leader.raft.status().configuration.configuration;
      const all = members.map(({ id }) => cluster.server(id).raft.status().applied);
      const last = leader.raft.status().accepted;
      if (all.every((applied) => applied === last) && !this.#isDamagedAmong(members)) {
        if (leader.applied.at(-1) === 'the last' || leader.applied.includes('the last')) return;
        written = 0;
      }
    }
    const states = cluster.servers.map(({ id, raft, log }) => {
      const { role, term, vote, commitIndex, applied, start, faulty, tailLost } = raft.status();
      const texts = log.map((text) => text.replaceAll('.', ''));
      const state = {
        id,
        role,
        term,
        vote,
        commitIndex,
        applied,
        start,
        faulty,
        tailLost,
        log: texts,
      };
      return JSON.stringify(state);
    });
    throw new Error(`no peace:\n${states.join('\n')}`);
  }

  #isDamagedAmong(members: readonly { readonly id: string }[]): boolean {
    return members.some(({ id }) => {
      const { faulty, tailLost, stateLost } = this.cluster.server(id).raft.status();
      return faulty.length > 0 || tailLost || stateLost;
    });
  }

  #carryCheckpoints(id: string): void {
    const { catchUps, raft, disk } = this.cluster.server(id);
    // As a source does that is asked for a newer one.
    if (catchUps.some(({ least }) => disk.checkpoint.index < least)) this.#compact(id);
    for (const { to, session } of catchUps.splice(0)) {
      this.cluster.transfer(id, to);
      this.cluster.settle();
      raft.catchUpEnded(to, session);
    }
  }

  states(): string[] {
    const { leader } = this.cluster;
    const ids = leader?.raft.status().configuration.configuration.members ?? [];
    return ids.map(({ id }) => this.cluster.server(id).applied.join());
  }
}

const NOTHING = {
  elections: 0,
  reads: 0,
  installs: 0,
  truncations: 0,
  committed: 0,
  damages: 0,
  lostEnds: 0,
  lostStates: 0,
};
const COUNTED = Object.keys(NOTHING) as (keyof typeof NOTHING)[];

const steps = fc.array(fc.tuple(fc.nat(99), fc.nat(999), fc.nat(999)), {
  minLength: 300,
  maxLength: 700,
  size: 'max',
});

describe('random lives of a cluster', () => {
  it.each([3, 4, 5])(
    '%i servers: election safety, log matching, leader completeness, state machine safety, reads [Raft figure 3]',
    (servers) => {
      const seen = { ...NOTHING };
      fc.assert(
        fc.property(steps, (life) => {
          const story = new Life(servers);
          for (const step of life) story.step(step);
          story.peace();
          expect(new Set(story.states()).size).toBe(1);
          for (const key of COUNTED) seen[key] += story.invariants[key];
        }),
        {
          numRuns: Number(process.env['RAFT_RUNS'] ?? 30),
          seed: Number(process.env['RAFT_SEED'] ?? 1),
          path: process.env['RAFT_PATH'] ?? '',
          endOnFailure: process.env['RAFT_RUNS'] !== undefined,
        },
      );
      // What never happened was not tested.
      if (process.env['RAFT_RUNS'] !== undefined) console.log(seen);
      for (const count of Object.values(seen)) expect(count).toBeGreaterThan(0);
    },
    600_000,
  );
});
