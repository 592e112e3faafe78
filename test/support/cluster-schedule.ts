/**
 * One fault schedule of three nodes with two shards, decided by a seed: the host of Raft, shards
 * with their checkpoints, runs, catch-ups and dead letters for each other, and the clients of the
 * product on each node, over files and a network in memory, on a clock that the schedule moves.
 *
 * Clients work (`ClusterClients`) while nodes lose their power, disks fail, refuse and hang, links
 * break and messages are lost; windows are so small that whoever was away gets a checkpoint. Then
 * all is healed, every node has to lead once and hold the very same messages, and what was promised
 * has to be there (`ClusterLedger`).
 */

import { expect } from 'vitest';
import { Random } from '../../raft/simulation/random.ts';
import type { Offset } from '../../src/broker/ports.ts';
import { HELD_WINDOWS } from '../../src/shard/log-window.ts';
import type { ShardLimits } from '../../src/shard/shard-limits.ts';
import { sessionQueueName } from '../../src/shard/session-name.ts';
import { StorageError } from '../../storage/errors.ts';
import { ClusterClients, HAPPENED, textOf } from './cluster-clients.ts';
import type { Seat } from './cluster-clients.ts';
import { ClusterLedger } from './cluster-ledger.ts';
import { ExactlyOnce, SESSION_EVENTS, Subscribed } from './cluster-sessions.ts';
import type { ClusterSessionOptions } from './cluster-sessions.ts';
import { failure } from './memory-files.ts';
import type { MemoryCall } from './memory-files.ts';
import type { ShardCluster, ShardNode } from './shard-cluster.ts';
import { NODES, ShardPair } from './shard-pair.ts';
import { queue, turn } from './shard-world.ts';

/** Each has its dead letters in the other shard. */
const QUEUES = [
  { name: 'orders', shard: 0, dead: 'dead-orders' },
  { name: 'bills', shard: 1, dead: 'dead-bills' },
] as const;
const NAMES = QUEUES.map(({ name }) => name);
const SUBSCRIBER = 's';
const SUBSCRIBED = sessionQueueName(SUBSCRIBER);
const INJECTED = 'put in by the schedule';
const PEEK_MAX = 1_000;
const WINDOW_BYTES = 16_000;
/** Of what is missing. */
const SHOWN = 5;
/** In steps. */
const CALM = 300;
const LONG = 400;
const SHORT = 10;
const DRAIN_STEPS = 6_000;

export const SEEN = [
  ...HAPPENED,
  ...SESSION_EVENTS,
  'power cut',
  'all without power',
  'power cut in a catch-up',
  'a replica replaced',
  'a catch-up broke off',
  'stopped by its disk',
  'isolated',
  'links broken',
  'messages lost',
  'slow disk',
  'lead handed over',
  'spilled into runs',
] as const;
export type Seen = (typeof SEEN)[number];

type Fault = (node: string) => Promise<void>;

export class ClusterSchedule {
  readonly #random: Random;
  readonly #coverage: Map<Seen, number>;
  readonly #pair: ShardPair;
  readonly #ledger = new ClusterLedger(new Map(QUEUES.map(({ name, dead }) => [name, dead])));
  readonly #clients: ClusterClients;
  readonly #publisher: ExactlyOnce;
  readonly #subscriber: Subscribed;
  readonly #starting = new Set<string>();
  readonly #down = new Set<string>();
  readonly #limits: Partial<ShardLimits>;
  #faults = 0;

  constructor(seed: number, coverage: Map<Seen, number>) {
    const random = new Random(seed).stream('cluster');
    this.#random = random;
    this.#coverage = coverage;
    const tiny = random.chance(0.5);
    this.#clients = new ClusterClients({
      random,
      ledger: this.#ledger,
      consumed: NAMES,
      queues: () => (this.#subscriber.isThere ? [...NAMES, SUBSCRIBED] : NAMES),
      payloadBytes: tiny ? 600 : 4_000,
      join: (node, shards) => this.#pair.join(node, shards),
      saw: (what) => this.saw(what),
    });
    const session = (clientId: string): ClusterSessionOptions => ({
      clientId,
      random: random.stream(clientId),
      ledger: this.#ledger,
      clients: this.#clients,
      saw: (what) => this.saw(what),
    });
    this.#publisher = new ExactlyOnce(session('p'), NAMES);
    this.#subscriber = new Subscribed(session(SUBSCRIBER), SUBSCRIBED);
    this.#limits = {
      windowBytes: WINDOW_BYTES,
      checkpointLogBytes: 16_000,
      spillBufferBytes: 8_192,
      residentRecordsMax: tiny ? 0 : 100,
      tailBytes: tiny ? 1 : 64_000,
      locationBytes: tiny ? 1 : 64_000,
      entryBytesMax: tiny ? 2_000 : 64_000,
      compactionShare: 1,
    };
    const windowBytes = random.chance(0.3) ? 0 : WINDOW_BYTES;
    this.#pair = new ShardPair(random, {
      transfers: HELD_WINDOWS.transfers * windowBytes,
      current: HELD_WINDOWS.current * windowBytes,
    });
    this.#pair.before = () => {
      this.#publisher.step();
      this.#subscriber.step();
    };
  }

  saw(what: Seen): void {
    this.#coverage.set(what, (this.#coverage.get(what) ?? 0) + 1);
  }

  async run(): Promise<void> {
    await this.#pair.start(this.#limits);
    await this.#declare();
    for (let rounds = this.#random.between(3, 7); rounds > 0; rounds -= 1) {
      await this.#work(this.#random.between(20, 200));
      await this.#fault();
    }
    await this.#heal();
    for (const shard of this.#pair.shards) await this.#compare(shard);
    await this.#drain();
    const { missing } = this.#ledger;
    expect(missing.slice(0, SHOWN), `${missing.length} missing`).toEqual([]);
    this.#ledger.inOrder();
  }

  async #declare(): Promise<void> {
    const limits = {
      retry: { minMs: 10, maxMs: 50, multiplier: 1, jitter: 0 },
      visibilityTimeoutMs: 1_500,
      deliveryLimit: 1_000_000,
    };
    for (const { name, shard, dead } of QUEUES) {
      await this.#pair.declare(1 - shard, queue(dead));
      await this.#pair.declare(shard, queue(name, { ...limits, deadLetter: dead }));
    }
  }

  // --- Time.

  async #work(steps: number): Promise<void> {
    for (let left = steps; left > 0; left -= 1) {
      this.#look();
      this.#clients.use();
      await this.#pair.step();
    }
  }

  /** Who has clients now, and who has failed. */
  #look(): void {
    for (const id of NODES) {
      const parts = this.#pair.partsOf(id);
      if (parts.some(({ failures }) => failures.length > 0)) this.#stopped(id);
      this.#clients.look(id, this.#pair.clientsAt(id));
      for (const { replacements, files } of parts) {
        if (replacements > 0) this.saw('a replica replaced');
        if (files.paths().some((path) => path.endsWith('.run'))) this.saw('spilled into runs');
      }
    }
  }

  // --- Faults.

  async #fault(): Promise<void> {
    this.#faults += 1;
    const faults: readonly Fault[] = [
      (id) => this.#away(id),
      (id) => this.#behind(id),
      (id) => this.#behind(id),
      (id) => this.#behind(id),
      () => this.#allAway(),
      (id) => this.#isolate(id),
      () => this.#lossy(),
      (id) => this.#failing(id),
      (id) => this.#failing(id),
      (id) => this.#slow(id),
      (id) => this.#recordsFail(id),
      () => this.#breakLinks(),
      (id) => this.#handOver(id),
    ];
    await this.#random.pick(faults)(this.#random.pick(NODES));
  }

  #cut(id: string): void {
    this.saw('power cut');
    this.#clients.leave(id);
    for (const part of this.#pair.partsOf(id)) {
      if (part.files.paths().some((path) => path.includes(`-${part.number + 1}/`))) {
        this.saw('power cut in a catch-up');
      }
      part.crash(this.#random.chance(0.5));
      part.failures.length = 0;
    }
    this.#down.add(id);
  }

  /** The process ends with its shard. */
  #stopped(id: string): void {
    for (const { failures } of this.#pair.partsOf(id)) failures.forEach(expectInjected);
    this.saw('stopped by its disk');
    this.#cut(id);
    this.#start(id);
  }

  #start(id: string): void {
    if (!this.#down.has(id) || this.#starting.has(id)) return;
    this.#starting.add(id);
    const parts = this.#pair.partsOf(id);
    Promise.allSettled(parts.map((part) => part.start())).then(
      (results) => {
        this.#starting.delete(id);
        this.#down.delete(id);
        for (const [nth, result] of results.entries()) {
          if (result.status === 'rejected') parts[nth]?.failures.push(result.reason as Error);
        }
      },
      () => undefined,
    );
  }

  async #away(id: string): Promise<void> {
    if (this.#starting.has(id)) return;
    this.#cut(id);
    await this.#work(this.#random.pick([5, 60]));
    this.#start(id);
  }

  /** What it lacks has left the log, and while it gets it something else happens. */
  async #behind(id: string): Promise<void> {
    if (this.#starting.has(id)) return;
    this.#cut(id);
    await this.#work(LONG);
    this.#start(id);
    await this.#work(this.#random.below(30));
    const others = NODES.filter((node) => node !== id);
    const troubles: readonly (() => Promise<void>)[] = [
      () => this.#failing(id, (part) => `-${part.number + 1}/`),
      () => this.#failing(id, (part) => `-${part.number + 1}/`),
      () => this.#slow(id),
      () => this.#lossy(),
      () => this.#away(id),
      () => this.#away(this.#random.pick(others)),
      () => this.#handOver(this.#random.pick(others)),
    ];
    await this.#random.pick(troubles)();
    await this.#work(this.#random.below(100));
  }

  async #allAway(): Promise<void> {
    if (this.#starting.size > 0) return;
    this.saw('all without power');
    for (const id of NODES) this.#cut(id);
    await this.#work(this.#random.below(20));
    for (const id of NODES) {
      this.#start(id);
      await this.#work(this.#random.below(30));
    }
  }

  async #isolate(id: string): Promise<void> {
    this.saw('isolated');
    for (const shard of this.#pair.shards) shard.isolate(id);
    await this.#work(this.#random.pick([30, 300, 600]));
    for (const shard of this.#pair.shards) shard.heal();
  }

  async #lossy(): Promise<void> {
    const share = this.#random.pick([0.05, 0.3]);
    const random = this.#random.stream(`loss ${this.#faults}`);
    this.saw('messages lost');
    for (const shard of this.#pair.shards) shard.passes = () => !random.chance(share);
    await this.#work(this.#random.between(50, 300));
    for (const shard of this.#pair.shards) shard.passes = () => true;
  }

  /** One call fails, or some; of the log, or of runs. */
  async #failing(
    id: string,
    where: (part: ShardNode) => string = () => this.#random.pick(['/runs-', '/runs-', '/data-']),
  ): Promise<void> {
    const paths = this.#pair.partsOf(id).map(where);
    const operations = this.#random.pick([['write'], ['sync'], ['rename'], ['write', 'sync']]);
    const code = this.#random.pick(['ENOSPC', 'EIO']);
    let left = this.#random.between(1, 3);
    let skip = this.#random.below(8);
    const before = (call: MemoryCall): void => {
      if (left === 0 || !operations.includes(call.operation)) return;
      if (!paths.some((path) => call.path.includes(path))) return;
      if (skip-- > 0) return;
      left -= 1;
      throw failure(code, `${INJECTED}: ${call.operation} ${call.path}`);
    };
    await this.#withDisk(id, before, this.#random.between(50, 400));
  }

  async #slow(id: string): Promise<void> {
    this.saw('slow disk');
    const turns = this.#random.pick([4, 40]);
    const before = async (): Promise<void> => {
      for (let left = turns; left > 0; left -= 1) await turn();
    };
    await this.#withDisk(id, before, this.#random.between(50, 200));
  }

  async #withDisk(
    id: string,
    before: (call: MemoryCall) => Promise<void> | void,
    steps: number,
  ): Promise<void> {
    const disks = this.#pair.partsOf(id).map(({ files }) => files);
    for (const files of disks) files.before = before;
    await this.#work(steps);
    // Of a life that is over none ever answers.
    for (const { files } of this.#pair.partsOf(id)) {
      if (disks.includes(files)) files.before = () => undefined;
    }
  }

  async #recordsFail(id: string): Promise<void> {
    const part = this.#random.pick(this.#pair.partsOf(id));
    part.records.failNextWrite(new StorageError('failed', INJECTED));
    await this.#work(this.#random.between(50, 200));
  }

  #breakLinks(): Promise<void> {
    this.saw('links broken');
    for (const { links } of this.#pair.shards) links.breakAll();
    return this.#work(SHORT);
  }

  async #handOver(to: string): Promise<void> {
    const leader = this.#random.pick(this.#pair.shards).nodes.find(({ leads }) => leads);
    if (leader === undefined || leader.id === to) return;
    const answer = leader.raftLog?.replica.transferLeadership(to);
    if (answer?.kind === 'started') this.saw('lead handed over');
    await this.#work(SHORT);
  }

  // --- All is well again.

  async #heal(): Promise<void> {
    for (const id of NODES) this.#start(id);
    await this.#pair.until('all are up', () => {
      this.#look();
      return this.#starting.size === 0 && this.#down.size === 0 && this.#pair.isUp;
    });
    this.#clients.rest();
    this.#publisher.rest();
    await this.#pair.until('every publish is answered', () => this.#ledger.open === 0);
    await this.#pair.until('what is sent exactly once is over', () => this.#publisher.isDone);
    for (let steps = CALM; steps > 0; steps -= 1) await this.#pair.step();
    await this.#pair.until('nothing is on its way between shards', () => this.#pair.isAtRest);
    await this.#pair.until('all have applied the same', () => this.#pair.isEven);
    for (const { nodes } of this.#pair.shards) {
      for (const { errors } of nodes) if (errors.length > 0) this.saw('a catch-up broke off');
    }
  }

  /** Each of them leads once, and holds the same. */
  async #compare(shard: ShardCluster): Promise<void> {
    const held = new Map<string, readonly string[]>();
    for (const node of shard.nodes) {
      await this.#pair.until(`${node.id} leads`, () => {
        const leader = shard.nodes.find(({ leads }) => leads);
        if (leader !== node) leader?.raftLog?.replica.transferLeadership(node.id);
        return leader === node;
      });
      for (const name of namesIn(shard.number)) {
        const lines = await this.#peek(node.id, name);
        const before = held.get(name) ?? lines;
        const lacks = before.filter((line) => !lines.includes(line));
        expect(lacks.slice(0, SHOWN), `${node.id} lacks of ${name}`).toEqual([]);
        expect(lines.length, `messages of ${name} at ${node.id}`).toBe(before.length);
        held.set(name, lines);
      }
    }
  }

  async #peek(node: string, name: string): Promise<readonly string[]> {
    const { client } = this.#clients.at(node) as Seat;
    const lines: string[] = [];
    for (let from = 0; ;) {
      const page = await this.#pair.done(client.admin.peek(name, from as Offset, PEEK_MAX));
      for (const { offset, message } of page) lines.push(`${offset} ${textOf(message.payload)}`);
      const last = page.at(-1);
      if (last === undefined) return lines;
      from = last.offset + 1;
    }
  }

  /** What comes that must not is found by the ledger, what does not come by who asks it. */
  async #drain(): Promise<void> {
    const seat = this.#clients.at('a') as Seat;
    for (const { name, dead } of QUEUES) {
      this.#clients.drain(seat, name);
      this.#clients.drain(seat, dead);
    }
    this.#subscriber.drain();
    const all = (): boolean => this.#ledger.missing.length === 0;
    for (let steps = 0; steps < DRAIN_STEPS && !all(); steps += CALM) {
      for (let left = CALM; left > 0; left -= 1) await this.#pair.step();
    }
    for (let steps = CALM; steps > 0; steps -= 1) await this.#pair.step();
  }
}

function namesIn(shard: number): readonly string[] {
  return QUEUES.map((each) => (each.shard === shard ? each.name : each.dead));
}

function expectInjected(error: Error): void {
  for (let cause: unknown = error; cause instanceof Error; cause = cause.cause) {
    if (cause.message.includes(INJECTED)) return;
  }
  throw error;
}
