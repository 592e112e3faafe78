/**
 * One crash schedule of a whole shard, decided by a seed alone: the real log on the simulated disk,
 * records in memory with a write that a power cut may keep or lose, publishes to several queues,
 * consumers that settle, checkpoints, clean stops, and the power cut at some step of the disk.
 *
 * What was promised is kept here: a confirmed publish is there after every crash, in order and
 * once; a settlement that stands in the log before a confirmed publish is never undone.
 */
import { expect } from 'vitest';

import { Log, MemoryRecords, Runs } from '../../storage/storage.ts';
import { loopback } from '../../src/shard/port.ts';
import { DEFAULT_SHARD_LIMITS } from '../../src/shard/shard-limits.ts';
import { Shard } from '../../src/shard/shard.ts';
import type { RaftLog } from '../../src/shard/raft-log.ts';
import { loneRaftLog } from './lone-raft-log.ts';
import { PlainClient, queue, turn } from './shard-world.ts';
import type { Delivered } from './shard-world.ts';
import type { Random } from '../../raft/simulation/random.ts';
import type { SimulatedDisk } from '../../raft/simulation/disk/disk.ts';

const QUEUES = ['orders', 'bills', 'letters'];
const DIRECTORY = '/data/log';
const RUNS_DIRECTORY = '/data/runs';
const KIB = 1024;

export const SEEN = [
  'cut',
  'cut in recovery',
  'stopped cleanly',
  'replayed behind a checkpoint',
  'log given back',
  'spilled into runs',
  'redelivered after a crash',
  'unconfirmed and stored',
  'unconfirmed and lost',
  'settled and gone for good',
] as const;
export type Seen = (typeof SEEN)[number];

interface Message {
  readonly text: string;
  readonly queue: string;
  readonly number: number;
  readonly life: number;
  confirmed: boolean;
  /** The life in which its settlement was sent last; 0: never. */
  settledIn: number;
  /** The last publish that was sent before that. */
  settledBehind: number;
  settled: 'no' | 'maybe' | 'surely';
}

export class ShardSchedule {
  readonly coverage: Map<Seen, number>;
  readonly #disk: SimulatedDisk;
  readonly #random: Random;
  readonly #messages = new Map<string, Message>();
  readonly #records: MemoryRecords;
  readonly #limits;
  readonly #storage;
  #life = 1;
  #term = 0;
  #count = 0;
  #consumer = 0;
  #wallMs = 1_700_000_000_000;
  #client: PlainClient | undefined;
  #shard: Shard | undefined;

  constructor(disk: SimulatedDisk, random: Random, coverage: Map<Seen, number>) {
    this.#disk = disk;
    this.#random = random;
    this.coverage = coverage;
    const syncing = random.stream('records');
    this.#records = new MemoryRecords(async () => {
      for (let turns = syncing.below(20); turns > 0; turns -= 1) await turn();
    });
    const tiny = random.chance(0.5);
    this.#limits = {
      ...DEFAULT_SHARD_LIMITS,
      tailBytes: tiny ? 1 : 64 * KIB,
      locationBytes: tiny ? 1 : 64 * KIB,
      residentRecordsMax: tiny ? 0 : 100,
      checkpointBytes: tiny ? 1_000 : 20_000,
      entryBytesMax: tiny ? 600 : 64 * KIB,
      sliceMs: 1,
      windowBytes: (tiny ? 8 : 64) * KIB,
      spillBufferBytes: 4 * KIB,
      compactionShare: 1,
    };
    this.#storage = {
      segmentBytes: (tiny ? 4 : 16) * KIB,
      prewriteBytes: 4 * KIB,
      maxWriteBytes: 8 * KIB,
      idleMarkMs: 0,
    };
  }

  saw(what: Seen): void {
    this.coverage.set(what, (this.coverage.get(what) ?? 0) + 1);
  }

  async makeFolder(): Promise<void> {
    const files = this.#disk.mount();
    await files.makeDirectory(DIRECTORY);
    await files.makeDirectory(RUNS_DIRECTORY);
    await files.syncDirectory('/data');
    await files.syncDirectory('/');
  }

  /** The power is gone: what the disk lost is decided, and so is a checkpoint under way. */
  crashed(): void {
    this.#life += 1;
    this.#records.crash(this.#random.chance(0.5));
  }

  async open(): Promise<void> {
    let monotonic = 0;
    const records = await this.#records.open();
    if (records.checkpoint !== undefined) this.saw('replayed behind a checkpoint');
    let replica: RaftLog | undefined;
    const failed = (error: Error): void => {
      throw error;
    };
    const { log } = await Log.open({
      files: this.#disk.mount(),
      directory: DIRECTORY,
      now: () => this.#wallMs,
      ...this.#storage,
      onFailure: (error) => (replica === undefined ? failed(error) : replica.logFailed(error)),
    });
    if (log.start > 1) this.saw('log given back');
    const runs = await this.#disk.mount().list(RUNS_DIRECTORY);
    if (runs.some((name) => name.endsWith('.run'))) this.saw('spilled into runs');
    const [near, far] = loopback();
    replica = await loneRaftLog(log, records);
    const shard = await Shard.open({
      node: 'node-1',
      log: replica,
      records,
      runs: new Runs({
        files: this.#disk.mount(),
        directory: RUNS_DIRECTORY,
        owner: log.logId,
        blockBytes: 1024,
        indexCacheBytes: 1024,
        now: () => this.#wallMs,
      }),
      port: far,
      queues: QUEUES.map((name) => queue(name)),
      limits: this.#limits,
      clock: { wallMs: () => (this.#wallMs += 10), monotonicMs: () => (monotonic += 0.01) },
      logger: { info: () => undefined, warn: () => undefined, error: () => undefined },
      inReserve: () => false,
      diskFull: () => undefined,
      onFailure: failed,
    });
    expect(log.hardState.term, 'a term is never used twice').toBeGreaterThan(this.#term);
    this.#term = log.hardState.term;
    this.#shard = shard;
    const client = new PlainClient(near);
    this.#client = client;
    const life = this.#life;
    client.onConfirmed = (upTo) => this.#confirmed(life, upTo);
    client.hello();
    while (client.boot === 0) await turn();
  }

  async work(steps: number): Promise<void> {
    const random = this.#random;
    const client = this.#client as PlainClient;
    const life = this.#life;
    // When the power has gone, who worked in that life does nothing more.
    for (let left = steps; left > 0 && life === this.#life; left -= 1) {
      const what = random.below(12);
      if (what < 6) this.#publish(client, random.between(1, 6));
      else if (what < 8) this.#consume(client);
      else if (what < 10) this.#settle(client);
      else if (what < 11) for (let turns = random.below(60); turns > 0; turns -= 1) await turn();
      else this.#shard?.checkpoint().catch(() => undefined);
      if (random.chance(0.5)) await turn();
    }
    await this.#quiet(client);
  }

  async stop(): Promise<void> {
    await this.#shard?.stop();
    this.saw('stopped cleanly');
  }

  /** After the last crash: what is delivered now is what was promised. */
  async check(): Promise<void> {
    const client = this.#client as PlainClient;
    for (const name of QUEUES) this.#consumeAll(client, name);
    client.send();
    await this.#quiet(client);
    const delivered = new Map<string, Delivered>();
    const byQueue = new Map<number, number>();
    for (const delivery of client.deliveries) {
      expect(this.#messages.has(delivery.text), `${delivery.text} was published`).toBe(true);
      expect(delivered.has(delivery.text), `${delivery.text} comes once`).toBe(false);
      delivered.set(delivery.text, delivery);
      expect(delivery.offset).toBeGreaterThan(byQueue.get(delivery.queueId) ?? -1);
      byQueue.set(delivery.queueId, delivery.offset);
      if (delivery.redelivered) this.saw('redelivered after a crash');
    }
    const order = new Map<string, number>();
    for (const message of this.#messages.values()) this.#checkOne(message, delivered, order);
  }

  #checkOne(
    message: Message,
    delivered: ReadonlyMap<string, Delivered>,
    order: Map<string, number>,
  ): void {
    const { text, confirmed, settled } = message;
    const delivery = delivered.get(text);
    if (settled === 'surely') {
      expect(delivery, `${text} was settled for good`).toBeUndefined();
      this.saw('settled and gone for good');
    } else if (settled === 'no' && confirmed) {
      expect(delivery, `${text} was confirmed`).toBeDefined();
    } else if (!confirmed) {
      this.saw(delivery === undefined ? 'unconfirmed and lost' : 'unconfirmed and stored');
    }
    if (delivery === undefined) return;
    expect(delivery.offset, `${text} keeps its place`).toBeGreaterThan(
      order.get(message.queue) ?? -1,
    );
    order.set(message.queue, delivery.offset);
  }

  #publish(client: PlainClient, count: number): void {
    for (let left = count; left > 0; left -= 1) {
      const name = this.#random.pick(QUEUES);
      const text = `${this.#count++} ${'x'.repeat(this.#random.below(300))}`;
      const number = client.enqueue([client.queues.get(name) ?? 0], text);
      this.#messages.set(text, {
        text,
        queue: name,
        number,
        life: this.#life,
        confirmed: false,
        settledIn: 0,
        settledBehind: 0,
        settled: 'no',
      });
    }
    client.send();
  }

  #consume(client: PlainClient): void {
    const queueId = client.queues.get(this.#random.pick(QUEUES)) ?? 0;
    client.consume(++this.#consumer, queueId, this.#random.between(1, 10));
    client.send();
  }

  #consumeAll(client: PlainClient, name: string): void {
    client.consume(++this.#consumer, client.queues.get(name) ?? 0, 100_000);
  }

  #settle(client: PlainClient): void {
    for (const delivery of client.deliveries) {
      const message = this.#messages.get(delivery.text);
      if (message === undefined || message.settledIn === this.#life) continue;
      if (!this.#random.chance(0.7)) continue;
      client.settle(delivery, 'complete');
      message.settledIn = this.#life;
      message.settledBehind = client.next - 1;
      message.settled = 'maybe';
      client.grant(delivery.consumer, 1);
    }
    client.send();
  }

  /**
   * A word that was on its way when the power went is heard in the next life, and holds all the
   * same.
   */
  #confirmed(life: number, upTo: number): void {
    for (const message of this.#messages.values()) {
      if (message.life === life && message.number <= upTo) message.confirmed = true;
      // A publish that was sent behind the settlement is confirmed: the settlement lies before it
      // in the log.
      const { settledBehind, settledIn, settled } = message;
      if (settled === 'maybe' && settledIn === life && settledBehind < upTo) {
        message.settled = 'surely';
      }
    }
  }

  /** Until nothing has happened for some turns. */
  async #quiet(client: PlainClient): Promise<void> {
    let seen = '';
    for (let idle = 0; idle < 60; idle += 1) {
      const now = `${client.confirmed} ${client.deliveries.length} ${this.#disk.steps}`;
      if (now !== seen) idle = 0;
      seen = now;
      await turn();
    }
  }
}
