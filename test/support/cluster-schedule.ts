/**
 * One fault schedule of a cluster, decided by a seed: three to five nodes with two or three shards
 * as the product composes them, and the clients of the product on each node, over disks and a
 * network in memory, on a clock that the schedule moves; that of some seeds moves within a step too
 * (`moveWithReadings`). A seed is one run.
 *
 * Clients work (`ClusterClients`) while things fail (`ClusterFaults`) and an operator changes who
 * is a member, loses disks and adds a shard (`ClusterOperations`); windows are so small that
 * whoever was away gets a checkpoint. Then all is healed, every voter of each shard has to lead
 * once, all members have to hold the very same messages, who was removed must lead nothing, what
 * waits comes in silence (`ClusterSilence`, where the clock moves), and what was promised has to be
 * there (`ClusterLedger`).
 */

import { expect, vi } from 'vitest';
import { hasMovingClock } from '../../raft/simulation/moving-clock.ts';
import { Random } from '../../raft/simulation/random.ts';
import type { Offset } from '../../src/broker/ports.ts';
import { nodeOf } from '../../src/cluster/server-id.ts';
import { sessionQueueName } from '../../src/shard/session-name.ts';
import { ClusterClients, HAPPENED, textOf } from './cluster-clients.ts';
import type { Seat } from './cluster-clients.ts';
import { ClusterFaults, FAULTS } from './cluster-faults.ts';
import { ClusterLedger } from './cluster-ledger.ts';
import type { ClusterNode } from './cluster-node.ts';
import { ClusterOperations, OPERATIONS } from './cluster-operations.ts';
import { ClusterPower, POWER_EVENTS } from './cluster-power.ts';
import { ExactlyOnce, SESSION_EVENTS, Subscribed } from './cluster-sessions.ts';
import type { ClusterSessionOptions } from './cluster-sessions.ts';
import { ClusterSilence } from './cluster-silence.ts';
import { moveWithReadings } from './moving-time.ts';
import { NodeCluster, TICK_MS } from './node-cluster.ts';
import type { NodeWishes } from './node-cluster.ts';
import { drawTokensFrom } from './seeded-tokens.ts';
import { queue, turn } from './shard-world.ts';

/** Each has its dead letters in another shard; the last one comes with the shard that is added. */
const QUEUES = [
  { name: 'orders', shard: 0, dead: 'dead-orders', deadShard: 1 },
  { name: 'bills', shard: 1, dead: 'dead-bills', deadShard: 0 },
  { name: 'late', shard: 2, dead: 'dead-late', deadShard: 0 },
] as const;
const LATE = 'late';
const NAMES = ['orders', 'bills'];
const LIMITS = {
  retry: { minMs: 10, maxMs: 50, multiplier: 1, jitter: 0 },
  visibilityTimeoutMs: 1_500,
  deliveryLimit: 1_000_000,
};
const SUBSCRIBER = 's';
const SUBSCRIBED = sessionQueueName(SUBSCRIBER);
const PEEK_MAX = 1_000;
const WINDOW_BYTES = 16_000;
/** Of what is missing. */
const SHOWN = 5;
/** In steps. */
const CALM = 300;
/** Of wall time, so that the names of replicas are the same each time. */
const BEGIN_MS = 1_700_000_000_000;
const DRAIN_STEPS = 6_000;
/** Until the event loop has come to rest. */
const LAST_TURNS = 200;
const TRACE_LINES = 20_000;

/** Lines of a node's log that tell what happened. */
const SAID = new Map<string, Seen>([
  ['the shard has caught up by a checkpoint, and is opened anew', 'a replica replaced'],
  ['a catch-up broke off', 'a catch-up broke off'],
  ['a member was removed', 'a member removed by its leader'],
  ['the replica asks to be a member', 'a replica asked to be a member'],
]);
/** No power cut is damage, and nothing here damages what was synced. */
const NEVER_SAID = ['the log is damaged', 'the records of this replica are lost'];

export const SEEN = [
  ...HAPPENED,
  ...SESSION_EVENTS,
  ...POWER_EVENTS,
  ...FAULTS,
  ...OPERATIONS,
  'a replica replaced',
  'a catch-up broke off',
  'a member removed by its leader',
  'a replica asked to be a member',
  'spilled into runs',
  'a torn write cut off',
  'silence',
] as const;
export type Seen = (typeof SEEN)[number];

/** In the trace; the others are many. */
const TOLD = new Set<Seen>([...POWER_EVENTS, ...FAULTS, ...OPERATIONS]);

export class ClusterSchedule {
  readonly #random: Random;
  /** The clock moves with its readings. */
  readonly #moves: boolean;
  readonly #coverage: Map<Seen, number>;
  readonly #cluster: NodeCluster;
  readonly #power: ClusterPower;
  readonly #faults: ClusterFaults;
  readonly #operations: ClusterOperations;
  readonly #ledger = new ClusterLedger(new Map(QUEUES.map(({ name, dead }) => [name, dead])));
  readonly #clients: ClusterClients;
  readonly #publisher: ExactlyOnce;
  readonly #subscriber: Subscribed;
  readonly #trace: string[] = [];
  #violation: Error | undefined;

  constructor(seed: number, coverage: Map<Seen, number>) {
    const random = new Random(seed).stream('cluster');
    this.#random = random;
    this.#moves = hasMovingClock(seed);
    this.#coverage = coverage;
    const saw = (what: Seen): void => this.saw(what);
    const tiny = random.chance(0.5);
    const nodes = ['a', 'b', 'c', 'd', 'e'].slice(0, random.pick([3, 3, 3, 3, 4, 5]));
    const said = (...line: [string, string, object]): void => this.#said(...line);
    const cluster = new NodeCluster({ random, nodes, wishes: wishesOf(tiny), said });
    this.#cluster = cluster;
    this.#clients = new ClusterClients({
      random,
      ledger: this.#ledger,
      consumed: () => this.#names,
      queues: () => (this.#subscriber.isThere ? [...this.#names, SUBSCRIBED] : this.#names),
      payloadBytes: tiny ? 600 : 4_000,
      saw,
    });
    const power = new ClusterPower({
      cluster,
      random: random.stream('power'),
      left: (id) => this.#clients.leave(id),
      saw,
    });
    this.#power = power;
    const work = (steps: number): Promise<void> => this.#work(steps);
    this.#faults = new ClusterFaults({ cluster, power, random, work, saw });
    this.#operations = new ClusterOperations({
      cluster,
      power,
      random: random.stream('operator'),
      late: queue(LATE, { ...LIMITS, deadLetter: 'dead-late' }),
      saw,
      said: (words) => this.#note('operator', words),
    });
    const session = (clientId: string): ClusterSessionOptions => ({
      clientId,
      random: random.stream(clientId),
      ledger: this.#ledger,
      clients: this.#clients,
      saw,
    });
    this.#publisher = new ExactlyOnce(session('p'), NAMES);
    this.#subscriber = new Subscribed(session(SUBSCRIBER), SUBSCRIBED);
    cluster.before = () => {
      this.#publisher.step();
      this.#subscriber.step();
    };
  }

  /** What happened last, for a seed that is run alone. */
  get trace(): readonly string[] {
    return this.#trace;
  }

  saw(what: Seen): void {
    if (TOLD.has(what)) this.#note('schedule', what);
    this.#coverage.set(what, (this.#coverage.get(what) ?? 0) + 1);
  }

  async run(): Promise<void> {
    const draws = this.#random.stream('time-outs');
    vi.setSystemTime(BEGIN_MS);
    drawTokensFrom(this.#random.stream('tokens'));
    vi.spyOn(crypto, 'getRandomValues').mockImplementation((into) => {
      const bytes = into as Uint8Array;
      new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength).set(
        draws.bytes(bytes.byteLength),
      );
      return into;
    });
    const stand = this.#moves ? moveWithReadings(this.#random.stream('clock'), TICK_MS) : undefined;
    try {
      await this.#run();
    } finally {
      stand?.();
      vi.restoreAllMocks();
      for (const node of this.#cluster.nodes) {
        this.#clients.leave(node.id);
        node.cut(0, false);
      }
      // What is still under way would read the clock of the next schedule.
      for (let turns = LAST_TURNS; turns > 0; turns -= 1) await turn();
    }
  }

  async #run(): Promise<void> {
    await this.#cluster.start();
    await this.#declare();
    const rounds = this.#random.between(3, 7) - (this.#cluster.nodes.length - 3);
    for (let left = rounds; left > 0; left -= 1) {
      await this.#work(this.#random.between(20, 200));
      if (this.#random.chance(0.6)) this.#operations.begin();
      await this.#faults.next();
    }
    await this.#heal();
    for (const shard of this.#cluster.shards) await this.#compare(shard);
    if (this.#moves) await this.#silence();
    await this.#drain();
    const { missing } = this.#ledger;
    expect(missing.slice(0, SHOWN), `${missing.length} missing`).toEqual([]);
    this.#ledger.inOrder();
  }

  async #declare(): Promise<void> {
    for (const { name, shard, dead, deadShard } of QUEUES) {
      await this.#cluster.declare(deadShard, queue(dead));
      if (name === LATE) continue;
      await this.#cluster.declare(shard, queue(name, { ...LIMITS, deadLetter: dead }));
    }
  }

  /** Those that are consumed. */
  get #names(): readonly string[] {
    return this.#operations.isLateThere ? [...NAMES, LATE] : NAMES;
  }

  #said(node: string, words: string, fields: object): void {
    this.#note(node, `${words} ${JSON.stringify(fields)}`);
    const what = SAID.get(words);
    if (what !== undefined) this.saw(what);
    if ('tornTail' in fields && fields.tornTail !== undefined) this.saw('a torn write cut off');
    if (NEVER_SAID.some((never) => words.startsWith(never))) {
      this.#violation ??= new Error(`${node} says: ${words}`);
    }
  }

  #note(who: string, what: string): void {
    this.#trace.push(`${Date.now() - BEGIN_MS} ${who}: ${what}`);
    if (this.#trace.length > TRACE_LINES) this.#trace.shift();
  }

  // --- Time.

  async #work(steps: number): Promise<void> {
    for (let left = steps; left > 0; left -= 1) {
      this.#look();
      this.#clients.use();
      await this.#cluster.step();
    }
  }

  /** Who has clients now, and who has failed. */
  #look(): void {
    if (this.#violation !== undefined) throw this.#violation;
    this.#power.look();
    // What must not be is thrown here.
    void this.#operations.underWay;
    for (const node of this.#cluster.nodes) {
      if (this.#operations.isGone(node.id)) this.#clients.quit(node.id);
      else this.#clients.look(node.id, node.client);
    }
  }

  // --- All is well again.

  async #heal(): Promise<void> {
    const cluster = this.#cluster;
    for (const { id } of cluster.nodes) this.#power.start(id);
    await this.#until('all are up, and the operator is done', () => {
      return this.#power.isOn && this.#operations.underWay === undefined && this.#isUp;
    });
    this.#clients.rest();
    this.#publisher.rest();
    await this.#until('every publish is answered', () => this.#ledger.open === 0);
    await this.#until('what is sent exactly once is over', () => this.#publisher.isDone);
    await this.#until('members and hosts are the same', () => this.#isSettled);
    const changed = this.#lastChanges;
    for (let steps = CALM; steps > 0; steps -= 1) await cluster.step();
    expect(this.#lastChanges, 'nobody changes members any more').toEqual(changed);
    await this.#until('nothing is on its way between shards', () => this.#isAtRest);
    await this.#until('all have applied the same', () => this.#isEven);
    if (cluster.nodes.some(({ hasRuns }) => hasRuns)) this.saw('spilled into runs');
    this.#removedLeadNothing();
  }

  async #until(what: string, holds: () => boolean): Promise<void> {
    try {
      await this.#cluster.until(what, () => {
        this.#look();
        return holds();
      });
    } catch (error) {
      const { underWay } = this.#operations;
      if (underWay === undefined) throw error;
      throw new Error(`the operator waits: ${underWay}`, { cause: error });
    }
  }

  /** Every node that stays can speak to each shard, and its replicas are open. */
  get #isUp(): boolean {
    return this.#operations.nodes.every((node) =>
      this.#cluster.shards.every((shard) => {
        const part = node.part(shard);
        const isOpen = part?.durable === undefined || part.durable.shard !== undefined;
        return part !== undefined && isOpen && node.clientOf(shard) !== undefined;
      }),
    );
  }

  /** No message is on its way from one shard to another. */
  get #isAtRest(): boolean {
    return this.#cluster.shards.every((shard) => {
      const stats = this.#cluster.leaderOf(shard)?.part(shard)?.durable?.shard?.stats();
      return stats?.get('outbox/open') === 0;
    });
  }

  /** Behind shard 0 the map says where a replica is to be; those of no other node are members. */
  get #isSettled(): boolean {
    return this.#cluster.shards.every((shard) => {
      const leader = this.#cluster.leaderOf(shard);
      const hosts = leader?.part(shard)?.row?.hosts;
      const all = this.#membersOf(shard);
      // It is to be a voter yet.
      if (all.some(({ role }) => role === 'joining')) return false;
      const members = all.map(({ id }) => nodeOf(id));
      if (shard === 0) return leader !== undefined;
      return hosts !== undefined && hosts.toSorted().join(' ') === members.toSorted().join(' ');
    });
  }

  /** Of the members of each shard, as any node has it. */
  get #lastChanges(): readonly number[] {
    return this.#cluster.shards.map((shard) => {
      const known = this.#cluster.nodes.map((node) => node.replica(shard)?.configuration.index);
      return Math.max(...known.map((index) => index ?? 0));
    });
  }

  /** All members have applied the same, and one of them leads. */
  get #isEven(): boolean {
    return this.#cluster.shards.every((shard) => {
      const applied = this.#membersOf(shard).map(({ id }) => {
        const node = this.#cluster.node(nodeOf(id));
        return node.serverId(shard) === id ? node.part(shard)?.durable?.shard?.appliedIndex : -1;
      });
      return new Set(applied).size === 1 && !applied.includes(-1);
    });
  }

  /** By the word of whoever leads; nobody: none. */
  #membersOf(shard: number): readonly { readonly id: string; readonly role: string }[] {
    const status = this.#cluster.leaderOf(shard)?.replica(shard);
    return status?.configuration.configuration.members ?? [];
  }

  #removedLeadNothing(): void {
    for (const node of this.#cluster.nodes) {
      if (!this.#operations.isGone(node.id)) continue;
      for (const shard of this.#cluster.shards) {
        const members = this.#membersOf(shard).map(({ id }) => nodeOf(id));
        expect(members, `members of shard ${shard}`).not.toContain(node.id);
        expect(node.leads(shard), `${node.id} leads shard ${shard}`).toBe(false);
      }
    }
  }

  /** Each of its voters leads once, and holds the same. */
  async #compare(shard: number): Promise<void> {
    const held = new Map<string, readonly string[]>();
    for (const { id, role } of this.#membersOf(shard)) {
      if (role !== 'voter') continue;
      const node = this.#cluster.node(nodeOf(id));
      const transfer = this.#operations.do((changes) => changes.stepsOf(shard).transfer(id));
      await this.#cluster.done(transfer);
      await this.#until(`${id} leads shard ${shard}`, () => node.leads(shard));
      for (const name of this.#namesIn(shard)) {
        const lines = await this.#peek(node, name);
        const before = held.get(name) ?? lines;
        const lacks = before.filter((line) => !lines.includes(line));
        expect(lacks.slice(0, SHOWN), `${id} lacks of ${name}`).toEqual([]);
        expect(lines.length, `messages of ${name} at ${id}`).toBe(before.length);
        held.set(name, lines);
      }
    }
  }

  async #silence(): Promise<void> {
    const cluster = this.#cluster;
    const silence = new ClusterSilence({
      cluster,
      power: this.#power,
      operations: this.#operations,
      clients: this.#clients,
      ledger: this.#ledger,
      random: this.#random.stream('silence'),
      names: (shard) => this.#namesIn(shard).filter((name) => this.#names.includes(name)),
      voters: (shard) =>
        this.#membersOf(shard).flatMap(({ id, role }) => (role === 'voter' ? [id] : [])),
      until: (what, holds) => this.#until(what, holds),
      saw: (what) => this.saw(what),
    });
    await silence.keep();
    await this.#until('all are up again', () => this.#power.isOn && this.#isUp);
  }

  #namesIn(shard: number): readonly string[] {
    return QUEUES.flatMap((each) => [
      ...(each.shard === shard && this.#names.includes(each.name) ? [each.name] : []),
      ...(each.deadShard === shard ? [each.dead] : []),
    ]);
  }

  async #peek(node: ClusterNode, name: string): Promise<readonly string[]> {
    const { client } = this.#clients.at(node.id) as Seat;
    const lines: string[] = [];
    for (let from = 0; ;) {
      const page = await this.#cluster.done(client.admin.peek(name, from as Offset, PEEK_MAX));
      for (const { offset, message } of page) lines.push(`${offset} ${textOf(message.payload)}`);
      const last = page.at(-1);
      if (last === undefined) return lines;
      from = last.offset + 1;
    }
  }

  /** What comes that must not is found by the ledger, what does not come by who asks it. */
  async #drain(): Promise<void> {
    const [seat] = this.#clients.seats as [Seat];
    for (const shard of this.#cluster.shards) {
      for (const name of this.#namesIn(shard)) this.#clients.drain(seat, name);
    }
    this.#subscriber.drain();
    const all = (): boolean => this.#ledger.missing.length === 0;
    for (let steps = 0; steps < DRAIN_STEPS && !all(); steps += CALM) {
      for (let left = CALM; left > 0; left -= 1) await this.#cluster.step();
    }
    for (let steps = CALM; steps > 0; steps -= 1) await this.#cluster.step();
  }
}

/** Of every node: everything is small. */
function wishesOf(tiny: boolean): NodeWishes {
  return {
    checkpointLogBytes: 16_000,
    maxResidentRecords: tiny ? 0 : 100,
    cacheBytes: tiny ? 1 : 64_000,
    locationBytes: tiny ? 1 : 64_000,
    runs: {
      windowBytes: WINDOW_BYTES,
      windowMessages: 1_000_000,
      compactionShare: 1,
      blockBytes: 4_096,
      spillBufferBytes: 8_192,
    },
    storage: {
      segmentBytes: 16_384,
      indexIntervalBytes: 4_096,
      syncMode: 'prewritten-dsync',
      prewriteBytes: 4_096,
      idleMarkMs: 0,
      maxWriteBytes: 1 << 20,
    },
  };
}
