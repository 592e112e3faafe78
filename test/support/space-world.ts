/**
 * Everything of a shard that has to do with space, and nothing that serves: the real log, records
 * in memory, machine, apply loop, location index, runs, checkpoints and housekeeping, over any
 * `Files`. Commands go straight into the log; what is wanted can be read at any time.
 */
import { Log, Runs } from '../../storage/storage.ts';
import type { Files, RecordStore } from '../../storage/storage.ts';
import type { SettleOutcome } from '../../src/machine/command.ts';
import { DEFAULT_LIMITS } from '../../src/machine/definitions.ts';
import type { QueueLimits, QueueType } from '../../src/machine/definitions.ts';
import { DEFAULT_GROUP } from '../../src/machine/ids.ts';
import type { LogIndex, Offset, QueueId } from '../../src/machine/ids.ts';
import { Machine } from '../../src/machine/machine.ts';
import { Alarms } from '../../src/shard/alarms.ts';
import { Applier } from '../../src/shard/applier.ts';
import { Checkpoints } from '../../src/shard/checkpoint.ts';
import { beginEnqueue, finishCommand, writePlainCommand } from '../../src/shard/codec.ts';
import type { PlainCommand } from '../../src/shard/codec.ts';
import { encodeSectionHeader } from '../../src/shard/entry.ts';
import { Housekeeping } from '../../src/shard/housekeeping.ts';
import { LocationIndex } from '../../src/shard/location-index.ts';
import { LogWindow } from '../../src/shard/log-window.ts';
import { PayloadCursor, Payloads } from '../../src/shard/payloads.ts';
import { decodeRecord } from '../../src/shard/record-codec.ts';
import { RecordLoader } from '../../src/shard/record-loader.ts';
import { recoveryPoint } from '../../src/shard/recovery.ts';
import { RunSet } from '../../src/shard/run-set.ts';
import type { RaftLog } from '../../src/shard/raft-log.ts';
import { StoredMessageView, StoredMessageWriter } from '../../src/shard/stored-message.ts';
import { WireWriter } from '../../src/shard/wire.ts';
import { loneRaftLog } from './lone-raft-log.ts';

export const LOG_FOLDER = '/data/log';
export const RUNS_FOLDER = '/data/runs';

export interface SpaceLimits {
  readonly segmentBytes: number;
  readonly windowBytes: number;
  readonly windowMessages: number;
  readonly spillBufferBytes: number;
  readonly compactionShare: number;
  readonly locationBytes: number;
  readonly residentRecordsMax: number;
  readonly blockBytes: number;
  readonly readBytes: number;
}

export const SMALL_SPACE: SpaceLimits = {
  segmentBytes: 4096,
  windowBytes: 8192,
  windowMessages: 1_000_000,
  spillBufferBytes: 2048,
  compactionShare: 1,
  locationBytes: 1,
  residentRecordsMax: 0,
  blockBytes: 512,
  readBytes: 1,
};

const NODE = 'node-1';

/** One life over what the disk holds. */
export class SpaceWorld {
  readonly machine: Machine;
  readonly runSet = new RunSet();
  readonly alarmLines: string[] = [];
  /** Of those that were opened in this life: the queues of their messages. */
  readonly intents = new Map<number, QueueId>();
  readonly log: RaftLog;
  readonly housekeeping: Housekeeping;
  readonly checkpoints: Checkpoints;
  readonly payloads: Payloads;
  readonly locations: LocationIndex;
  readonly runs: Runs;
  readonly rawLog: Log;
  failure: Error | undefined;
  monotonicMs = 0;
  readonly #loader: RecordLoader;
  readonly #applier: Applier;
  readonly #records: RecordStore;
  readonly #messages = new StoredMessageWriter();
  #number = 1;
  #boot = 0;
  #stampMs = 1_700_000_000_000;

  static async open(
    files: Files,
    records: RecordStore,
    limits: SpaceLimits = SMALL_SPACE,
  ): Promise<SpaceWorld> {
    let world: SpaceWorld | undefined;
    const { log } = await Log.open({
      files,
      directory: LOG_FOLDER,
      now: () => 0,
      segmentBytes: limits.segmentBytes,
      syncMode: 'fdatasync',
      idleMarkMs: 0,
      onFailure: (error) => {
        if (world !== undefined) world.failure ??= error;
      },
    });
    const replica = await loneRaftLog(log, records, NODE);
    world = new SpaceWorld(files, { records, log, replica, limits });
    await world.#recover();
    return world;
  }

  private constructor(
    files: Files,
    parts: { records: RecordStore; log: Log; replica: RaftLog; limits: SpaceLimits },
  ) {
    const { records, log, replica, limits } = parts;
    this.rawLog = log;
    this.log = replica;
    this.#records = records;
    const point = recoveryPoint(this.log, records);
    const failed = (error: unknown): void => void (this.failure ??= error as Error);
    const monotonicMs = (): number => (this.monotonicMs += 0.01);
    const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
    this.machine = new Machine({ maxResidentRecords: limits.residentRecordsMax });
    this.#loader = new RecordLoader(records, this.machine);
    this.locations = new LocationIndex(limits.locationBytes);
    const window = new LogWindow(limits);
    const { directory, owner } = { directory: RUNS_FOLDER, owner: log.logId };
    const { blockBytes } = limits;
    this.runs = new Runs({ files, directory, owner, blockBytes, indexCacheBytes: 1, now: () => 0 });
    const alarms = new Alarms(
      {
        warn: (fields, message) =>
          void this.alarmLines.push(`${message} ${JSON.stringify(fields)}`),
        error: (fields, message) =>
          void this.alarmLines.push(`${message} ${JSON.stringify(fields)}`),
      },
      {
        nameOf: (queueId) => this.machine.definition(queueId)?.name,
        lostGroups: () => this.machine.lostGroups(),
      },
    );
    const shared = { machine: this.machine, locations: this.locations, loader: this.#loader };
    const atBoundary = (action: (index: LogIndex, term: number) => void): Promise<void> =>
      new Promise((resolve, reject) => {
        this.#applier.atBoundary(() => {
          try {
            action(this.#applier.index, this.#applier.term);
            resolve();
          } catch (error) {
            reject(error as Error);
          }
        });
      });
    this.housekeeping = new Housekeeping({
      ...shared,
      ...limits,
      log: this.log,
      window,
      runs: this.runs,
      runSet: this.runSet,
      sliceMs: 1,
      monotonicMs,
      appliedIndex: () => this.#applier.index,
      atBoundary,
      nextTurn,
      pause: nextTurn,
      checkpoint: () => this.checkpoint(),
      diskFull: () => undefined,
      alarms,
      wake: () => undefined,
      failed,
    });
    this.checkpoints = new Checkpoints(
      {
        ...shared,
        records,
        log: this.log,
        runRecords: this.housekeeping,
        atBoundary,
        nextTurn,
        heldFor: () => window.heldFor(this.log),
        monotonicMs,
        sliceMs: 1,
      },
      point.index,
    );
    this.payloads = new Payloads({
      log: this.log,
      locations: this.locations,
      runSet: this.runSet,
      runs: this.runs,
      loadRecord: (key) => this.#loader.one(key),
      runDamaged: (run, detail) => this.housekeeping.damaged(run, detail),
      tailBytes: 1,
      readBytes: limits.readBytes,
    });
    const less = (queueId: QueueId): void => {
      this.checkpoints.settled(queueId);
      this.housekeeping.changed(queueId);
    };
    this.#applier = new Applier({
      ...shared,
      applied: point,
      monotonicMs,
      wake: () => this.#work(),
      failed,
      sink: {
        begun: (entry) => window.begun(entry.index),
        confirmed: () => undefined,
        enqueued: () => window.enqueued(),
        settled: (effects, at) => less(effects.queueId(at)),
        ranged: (effects, at) => less(effects.queueId(at)),
        requeued: () => undefined,
        rare: (effect) => {
          if (effect.kind === 'stream-opened') this.#boot = effect.boot;
          if (effect.kind === 'intent-opened') {
            this.intents.set(effect.intent.number, effect.intent.queueId);
          }
          if (effect.kind === 'intent-closed') {
            less(this.intents.get(effect.intent) as QueueId);
          }
          if ('queueId' in effect) less(effect.queueId);
        },
      },
    });
  }

  get applied(): LogIndex {
    return this.#applier.index;
  }

  // --- Commands.

  async declare(
    name: string,
    limits: Partial<QueueLimits> = {},
    type: QueueType = 'classic',
  ): Promise<QueueId> {
    await this.plain({
      kind: 'declare-queue',
      name,
      type,
      topics: [`$queue/${name}/#`],
      limits: { ...DEFAULT_LIMITS, ...limits },
    });
    return this.machine.queueNamed(name)?.queueId as QueueId;
  }

  /** Stores each text in every one of its queues, all in one entry; resolves when it is applied. */
  async publish(messages: readonly { queues: readonly number[]; text: string }[]): Promise<void> {
    if (this.#boot === 0) await this.plain({ kind: 'open-stream' } as PlainCommand, NODE);
    const writer = new WireWriter(4096);
    for (const { queues, text } of messages) {
      const start = beginEnqueue(writer, queues as readonly QueueId[]);
      const message = { topic: 't', payload: Buffer.from(text), qos: 1, retain: false } as const;
      this.#messages.write(
        writer,
        { ...message, properties: undefined },
        { clientId: 'c', protocol: 'mqtt' },
      );
      finishCommand(writer, start);
    }
    const firstNumber = this.#number;
    this.#number += messages.length;
    const place = { boot: this.#boot, firstNumber, answeredUpTo: firstNumber - 1 };
    await this.#propose(writer.written().slice(), {
      node: NODE,
      ...place,
      commands: messages.length,
    });
  }

  async plain(command: PlainCommand, node = ''): Promise<void> {
    const writer = new WireWriter(256);
    writePlainCommand(writer, command);
    const place = { node, boot: 0, firstNumber: 0, answeredUpTo: 0, commands: 1 };
    await this.#propose(writer.written().slice(), place);
  }

  async settle(
    queueId: QueueId,
    offsets: readonly number[],
    outcome: SettleOutcome = 'complete',
  ): Promise<void> {
    const writer = new WireWriter(256);
    for (const offset of offsets) {
      writePlainCommand(writer, {
        kind: 'settle',
        queueId,
        groupId: DEFAULT_GROUP,
        offset: offset as Offset,
        outcome,
        cause: 'client',
      });
    }
    const commands = offsets.length;
    const place = { node: '', boot: 0, firstNumber: 0, answeredUpTo: 0, commands };
    await this.#propose(writer.written().slice(), place);
  }

  // --- Looking.

  /** The text of a message, or `lost: why`. */
  async read(queueId: QueueId, offset: number, cursor = new PayloadCursor()): Promise<string> {
    for (;;) {
      const found = this.payloads.get(queueId, offset as Offset, cursor);
      if (found === 'lost') return `lost: ${this.payloads.lostDetail}`;
      if (found !== 'away') {
        const view = new StoredMessageView(found.bytes, found.start, found.end);
        return Buffer.from(view.payload).toString();
      }
      const fetched = await this.payloads.fetch(queueId, offset as Offset);
      if (fetched.kind === 'lost') return `lost: ${fetched.detail}`;
    }
  }

  async isWanted(queueId: QueueId, offset: number): Promise<boolean> {
    const [from, to] = [offset as Offset, (offset + 1) as Offset];
    await this.#loader.until(() => this.machine.wantedKeys(queueId, from, to));
    return this.machine.isWanted(queueId, from);
  }

  /** Lets housekeeping do all that is due now; where it never ends, so many turns of it. */
  async tidy(turns = Number.POSITIVE_INFINITY): Promise<void> {
    for (let idle = 0, turn = 0; idle < 40 && turn < turns; idle += 1, turn += 1) {
      this.monotonicMs += 3000;
      this.housekeeping.look();
      if (this.failure !== undefined) throw this.failure;
      if (this.housekeeping.isBusy) idle = 0;
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  async checkpoint(): Promise<void> {
    if (this.checkpoints.running) await this.checkpoints.run();
    await this.checkpoints.run();
  }

  async stop(): Promise<void> {
    await this.housekeeping.stop();
    await this.checkpoint();
    await this.log.close();
    await this.#records.close();
    this.runs.close();
  }

  // --- The loop.

  async #recover(): Promise<void> {
    await this.#loader.until(() => this.machine.startKeys());
    for await (const page of this.#records.iterate(LocationIndex.summaryPrefix)) {
      for (const { value } of page) this.locations.restore(decodeRecord(value));
    }
    await this.housekeeping.restore(this.#records);
    let first = Number.POSITIVE_INFINITY;
    await this.log.follow(this.#applier.index, {
      committed: (entries) => {
        this.#applier.push(entries);
        this.#work();
      },
      leads: (_term, index) => {
        first = index;
      },
      follows: () => undefined,
      failed: (error) => {
        this.failure ??= error;
      },
    });
    while (this.#applier.index < first) {
      if (this.failure !== undefined) throw this.failure;
      await new Promise((resolve) => setImmediate(resolve));
    }
    this.#stampMs = Math.max(this.#stampMs, this.machine.lastStamp);
    this.#boot = 0;
    this.#number = 1;
  }

  #work(): void {
    while (this.#applier.run(Number.POSITIVE_INFINITY));
    this.log.applied(this.#applier.index);
    if (!this.#loader.busy) this.machine.evict(64);
  }

  async #propose(
    body: Uint8Array,
    place: Omit<Parameters<typeof encodeSectionHeader>[0], 'stampMs' | 'commandBytes'>,
  ): Promise<void> {
    const stampMs = (this.#stampMs += 1);
    const header = encodeSectionHeader({ ...place, stampMs, commandBytes: body.length });
    const bytes = header.length + body.length;
    const payload = [header, body];
    const index = this.log.propose({ stampMs, commandCount: place.commands, bytes, payload });
    if (typeof index === 'string') throw new Error(`an entry is ${index}`);
    while (this.#applier.index < index) {
      if (this.failure !== undefined) throw this.failure;
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
}
