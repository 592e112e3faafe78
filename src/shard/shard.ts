/**
 * The host of one shard: joins log, records, machine, deliveries and port, and runs them in turns.
 *
 * A turn applies what is committed, serves deliveries, and posts one batch; it ends after `sliceMs`
 * and goes on in the next turn of the event loop, so that the log's completions and the port are
 * never kept waiting. Nothing is confirmed or delivered that is not committed and applied. Opening
 * recovers (nothing is written by a refused start), then follows the log, and serves for as long as
 * this node leads; whether it does or not, it applies, writes checkpoints and gives space back. The
 * first failure of log or store, or a broken invariant, ends the shard: who waits hears it, nothing
 * more is taken, and `onFailure` is told once, for the process to end. A crash at any point is a
 * case for `recovery.ts`.
 */

import { randomInt } from 'node:crypto';
import { setTimeout } from 'node:timers/promises';
import type { Runs } from '#storage';
import { AdminError } from '../broker/ports.ts';
import type { QueueDefinition } from '../machine/definitions.ts';
import { type LogIndex, type QueueId, firstQueueIdOf } from '../machine/ids.ts';
import { Machine } from '../machine/machine.ts';
import { Alarms } from './alarms.ts';
import { AppliedEffects } from './applied-effects.ts';
import { Applier } from './applier.ts';
import { ShardCatchUpSource } from './catch-up-source.ts';
import { Checkpoints } from './checkpoint.ts';
import type { DeliveryMarks } from './checkpoint.ts';
import { CheckpointTimes } from './checkpoint-times.ts';
import { Housekeeping } from './housekeeping.ts';
import { Leadership } from './leadership.ts';
import type { ReplicaReads } from './local-reads.ts';
import { LocationIndex } from './location-index.ts';
import { LogWindow } from './log-window.ts';
import { MessageCounters } from './message-counters.ts';
import { Payloads } from './payloads.ts';
import type { BatchPort } from './port.ts';
import { decodeRecord } from './record-codec.ts';
import { RecordLoader } from './record-loader.ts';
import { RetainedReads } from './retained-reads.ts';
import { marksBefore, recoveryPoint } from './recovery.ts';
import type { RecoveryPoint } from './recovery.ts';
import { RunSet } from './run-set.ts';
import { encodeStats } from './requests.ts';
import { Serving } from './serving.ts';
import { EVICT_STEPS } from './shard-limits.ts';
import type { ShardEntry } from './shard-log.ts';
import type { ShardOptions } from './shard-options.ts';
import { collectStats, loadForStats } from './shard-stats.ts';
import { StampClock } from './stamp-clock.ts';
import { Turns } from './turns.ts';

export class Shard {
  /** For readers on this node, whoever leads. */
  readonly reads: ReplicaReads;
  readonly retained: RetainedReads;
  readonly housekeeping: Housekeeping | undefined;
  readonly #options: ShardOptions;
  readonly #machine: Machine;
  readonly #loader: RecordLoader;
  readonly #locations: LocationIndex;
  readonly #window: LogWindow;
  readonly #runSet = new RunSet();
  readonly #payloads: Payloads;
  readonly #alarms: Alarms;
  readonly #checkpoints: Checkpoints;
  readonly #checkpointTimes: CheckpointTimes;
  readonly #applier: Applier;
  readonly #turns: Turns;
  readonly #messages = new MessageCounters();
  readonly #leadership: Leadership<Serving>;
  #stamps: StampClock;
  /** Recovered, and following the log. */
  #follows = false;
  #opened = false;
  #failure: Error | undefined;
  #stopping: Promise<void> | undefined;
  /** Log and records are closed; what is said still goes out. */
  #closed = false;

  /**
   * Recovers and follows the log. Where no other node can lead, resolves when the port is served.
   */
  static async open(options: ShardOptions): Promise<Shard> {
    const point = recoveryPoint(options.log, options.records);
    const shard = new Shard(options, point);
    try {
      await shard.#recover();
      if (shard.#failure !== undefined) throw shard.#failure;
      await shard.#follow(point.index);
    } catch (error) {
      shard.#turns.stop();
      throw error;
    }
    shard.#opened = true;
    return shard;
  }

  private constructor(options: ShardOptions, point: RecoveryPoint) {
    this.#options = options;
    const { log, records, limits, clock, logger } = options;
    const failed = (error: unknown): void => this.#fail(error);
    this.#stamps = new StampClock(clock, 0);
    this.#machine = new Machine({
      maxResidentRecords: limits.residentRecordsMax,
      firstQueueId: options.firstQueueId ?? firstQueueIdOf(options.number ?? 0),
      nameSeed: randomInt(2 ** 32),
    });
    this.#loader = new RecordLoader(records, this.#machine);
    this.#locations = new LocationIndex(limits.locationBytes);
    this.#window = new LogWindow(limits);
    this.#alarms = new Alarms(logger, {
      nameOf: (queueId) => this.#machine.definition(queueId)?.name,
      lostGroups: () => this.#machine.lostGroups(),
    });
    this.#payloads = new Payloads({
      log,
      locations: this.#locations,
      runSet: this.#runSet,
      runs: options.runs,
      loadRecord: (key) => this.#loader.one(key),
      runDamaged: (run, detail) => this.housekeeping?.damaged(run, detail),
      tailBytes: limits.tailBytes,
      readBytes: limits.readBytes,
    });
    this.#turns = new Turns({
      clock,
      sliceMs: limits.sliceMs,
      work: (deadline) => this.#work(deadline),
      nextWake: () => this.#nextWake(),
      failed,
    });
    this.#applier = this.#newApplier(point);
    this.reads = { applier: this.#applier, payloads: this.#payloads, log };
    const parts = { machine: this.#machine, loader: this.#loader, ...this.reads };
    this.retained = new RetainedReads({ ...parts, lead: () => this.#serving });
    this.housekeeping = options.runs === undefined ? undefined : this.#keeping(options.runs);
    this.#checkpointTimes = new CheckpointTimes(limits, () => options.inReserve());
    this.#checkpoints = new Checkpoints(
      {
        machine: this.#machine,
        locations: this.#locations,
        loader: this.#loader,
        records,
        log,
        runRecords: this.housekeeping,
        atBoundary: (cut) => this.#atBoundary(cut),
        nextTurn: () => this.#turns.next(),
        heldFor: () => this.#window.heldFor(log),
        monotonicMs: () => clock.monotonicMs(),
        sliceMs: limits.sliceMs,
      },
      point.index,
    );
    this.#leadership = new Leadership({
      appliedIndex: () => this.#applier.index,
      make: (term, first) => this.#newServing(term, marksBefore(first, point)),
      unprepared: ({ message }) => logger.error({ error: message }, 'the configured queues'),
      onLead: (lead) => options.onLead?.(lead),
    });
    for (const words of point.damage) this.#alarms.raise('log-damaged', words);
  }

  #newApplier(applied: RecoveryPoint): Applier {
    const { clock, logger } = this.#options;
    return new Applier({
      machine: this.#machine,
      loader: this.#loader,
      locations: this.#locations,
      sink: new AppliedEffects({
        payloads: this.#payloads,
        window: this.#window,
        messages: this.#messages,
        logger,
        serving: () => this.#serving,
        appended: (queueId) => this.retained.enqueued(queueId),
        wantsLess: (queueId) => this.#wantsLess(queueId),
        shardMap: (map) => this.#options.onShardMap?.(map),
      }),
      applied,
      monotonicMs: () => clock.monotonicMs(),
      wake: () => this.#turns.wake(),
      failed: (error) => this.#fail(error),
    });
  }

  #keeping(runs: Runs): Housekeeping {
    const { log, limits, clock } = this.#options;
    return new Housekeeping({
      log,
      machine: this.#machine,
      locations: this.#locations,
      loader: this.#loader,
      window: this.#window,
      runs,
      runSet: this.#runSet,
      ...limits,
      monotonicMs: () => clock.monotonicMs(),
      appliedIndex: () => this.#applier.index,
      atBoundary: (action) => this.#atBoundary(action),
      nextTurn: () => this.#turns.next(),
      pause: (ms, signal) => setTimeout(ms, undefined, { signal }).catch(() => undefined),
      checkpoint: () => this.#checkpointBehind(),
      diskFull: () => this.#options.diskFull(),
      alarms: this.#alarms,
      wake: () => this.#turns.wake(),
      failed: (error) => this.#fail(error),
    });
  }

  /** The index up to which everything is applied. */
  get appliedIndex(): LogIndex {
    return this.#applier.index;
  }

  /** This node leads, and its port is about to be served, or is. */
  get serves(): boolean {
    return this.#serving !== undefined;
  }

  queueType(name: string): QueueDefinition['type'] | undefined {
    return this.#machine.queueNamed(name)?.definition.type;
  }

  /** One session of a sender, now or as soon as it can be; false: this node does not lead. */
  serve(port: BatchPort): boolean {
    return this.#stopping === undefined && this.#leadership.serve(port);
  }

  /** Of shard 0, while this node leads it: another shard, in the map when it resolves. */
  async addShard(number: number, founders: readonly string[]): Promise<void> {
    if (this.#serving === undefined) throw new AdminError('unavailable', 'another node leads');
    await this.#serving.places.addShard(number, founders);
  }

  get failure(): Error | undefined {
    return this.#failure;
  }

  /** For a replica that is behind the start of the log. */
  get catchUpSource(): ShardCatchUpSource {
    return new ShardCatchUpSource({
      ...this.#options,
      machine: this.#machine,
      loader: this.#loader,
      payloads: this.#payloads,
      checkpoint: () => this.checkpoint(),
      checkpointUnderWay: () => (this.#checkpoints.running ? this.checkpoint() : undefined),
      appliedIndex: () => this.#applier.index,
      nextTurn: () => this.#turns.next(),
    });
  }

  /** Begins a checkpoint, or joins the one that runs; `marks` for the last one of a clean stop. */
  checkpoint(marks?: DeliveryMarks): Promise<void> {
    this.#checkpointTimes.begun();
    return this.#checkpoints.run(marks).catch((error: unknown) => {
      this.#fail(error);
      throw error;
    });
  }

  /** One whose cut comes after this call. */
  async #checkpointBehind(): Promise<void> {
    if (this.#checkpoints.running) await this.checkpoint();
    await this.checkpoint();
  }

  /**
   * Takes nothing more, waits for what is under way, writes a last checkpoint and closes log and
   * records with the mark of a clean stop. Again: the same stop. Rejects when the store failed
   * first.
   */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  stats(): Map<string, number> {
    return collectStats({
      log: this.#options.log,
      machine: this.#machine,
      applier: this.#applier,
      checkpoints: this.#checkpoints,
      housekeeping: this.housekeeping,
      runSet: this.#runSet,
      runs: this.#options.runs,
      loader: this.#loader,
      payloads: this.#payloads,
      alarms: this.#alarms,
      messages: this.#messages,
      serving: this.#serving,
      nowMs: this.#stamps.now(),
      moreStats: this.#options.moreStats?.() ?? [],
      applyMs: this.#turns.busyMs,
    });
  }

  /** Also of queues that nobody has touched since the start, where there are few enough. */
  async statsOfAll(): Promise<Map<string, number>> {
    await loadForStats(this.#machine, this.#loader);
    return this.stats();
  }

  // --- Start.

  async #recover(): Promise<void> {
    const { records } = this.#options;
    await this.#loader.until(() => this.#machine.startKeys());
    for await (const page of records.iterate(LocationIndex.summaryPrefix)) {
      for (const { value } of page) this.#locations.restore(decodeRecord(value));
    }
    await this.housekeeping?.restore(records);
    if (this.#machine.shard === 0) this.#options.onShardMap?.(this.#machine.shardMap);
  }

  async #follow(behind: LogIndex): Promise<void> {
    const { log } = this.#options;
    const served = this.#leadership.served();
    // Told below, where nothing else went wrong first.
    served.catch(() => undefined);
    this.#follows = true;
    await log.follow(behind, {
      committed: (entries) => this.#committed(entries),
      leads: (term, first) => this.#leadership.leads(term, first),
      follows: (server) => this.#leadership.follows(server),
      failed: (error) => this.#fail(error),
    });
    if (log.alone) await served;
    else this.#leadership.servesUnasked();
  }

  get #serving(): Serving | undefined {
    return this.#leadership.serving;
  }

  #newServing(term: number, marks: DeliveryMarks): Serving {
    const { log, limits, clock, logger, port, queues, groups = [] } = this.#options;
    this.#stamps = new StampClock(clock, this.#machine.lastStamp);
    this.#alarms.tellLostGroups();
    return new Serving({
      term,
      number: this.#options.number ?? 0,
      others: this.#options.others,
      marks,
      machine: this.#machine,
      loader: this.#loader,
      payloads: this.#payloads,
      alarms: this.#alarms,
      log,
      port,
      nodes: this.#options.nodes?.() ?? [],
      limits,
      logger,
      queues,
      groups,
      stamps: this.#stamps,
      applier: this.#applier,
      inReserve: () => this.#inReserve(),
      holdsBack: () => this.housekeeping?.holdsBack() === true,
      monotonicMs: () => clock.monotonicMs(),
      atBoundary: (action) => this.#atBoundary(action),
      ofMembers: this.#options.ofMembers,
      retained: this.retained,
      stats: async () => encodeStats(await this.statsOfAll()),
      stop: () => this.stop(),
      isVolatile: this.#options.runs === undefined,
      closed: () => this.#closed,
      wake: () => this.#turns.wake(),
      failed: (error) => this.#fail(error),
    });
  }

  // --- Turns.

  #committed(entries: readonly ShardEntry[]): void {
    if (this.#failure !== undefined) return;
    const proposals = this.#serving?.proposals;
    for (const entry of entries) {
      proposals?.committed(entry);
      this.#checkpointTimes.committed(entry.bytes);
    }
    this.#applier.push(entries);
    // Somebody waits for it where it is answered. Elsewhere it must not be in the way of what came
    // with it: the entries that are about to be written, and acknowledged.
    if (this.#serving === undefined) this.#turns.wake();
    else this.#turns.now();
  }

  #work(deadline: number): boolean {
    if (this.#failure !== undefined) return false;
    if (this.#closed) {
      this.#serving?.sessions.post();
      return false;
    }
    let more = this.#applier.run(deadline);
    if (this.#follows) {
      this.#options.log.applied(this.#applier.index);
      this.#leadership.look();
      const delivers = this.#stopping === undefined;
      more = this.#serving?.work(deadline, delivers) === true || more;
      this.#startCheckpointIfDue();
      this.housekeeping?.look();
    }
    if (!this.#loader.busy) this.#machine.evict(EVICT_STEPS);
    return more;
  }

  #startCheckpointIfDue(): void {
    if (this.#checkpoints.running || this.#stopping !== undefined) return;
    const changed = { runs: this.#runSet.isChanged, bytes: this.#checkpoints.changedBytes };
    const now = this.#options.clock.monotonicMs();
    if (this.#checkpointTimes.isDue(now, changed)) this.checkpoint().catch(() => undefined);
  }

  /** In milliseconds from now. */
  #nextWake(): number {
    const { clock } = this.#options;
    const due = this.#serving?.nextWake ?? Number.POSITIVE_INFINITY;
    return Math.min(
      due - this.#stamps.now(),
      this.#checkpoints.running
        ? Number.POSITIVE_INFINITY
        : this.#checkpointTimes.due - clock.monotonicMs(),
      (this.housekeeping?.nextLook ?? Number.POSITIVE_INFINITY) - clock.monotonicMs(),
    );
  }

  #atBoundary(action: (index: LogIndex, term: number) => void): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#applier.atBoundary(() => {
        try {
          action(this.#applier.index, this.#applier.term);
          resolve();
        } catch (error) {
          reject(error instanceof Error ? error : new Error(String(error)));
        }
      });
    });
  }

  /** Something of this queue may be wanted no more. */
  #wantsLess(queueId: QueueId): void {
    this.#checkpoints.settled(queueId);
    this.housekeeping?.changed(queueId);
  }

  #inReserve(): boolean {
    const inside = this.#options.inReserve();
    if (inside)
      this.#alarms.raise('disk-reserve', 'publishes are refused until there is space again');
    else this.#alarms.lower('disk-reserve');
    return inside;
  }

  // --- End.

  get #isBusy(): boolean {
    const isWaiting = this.#serving !== undefined && this.#applier.index < this.#options.log.last;
    return this.housekeeping?.isBusy === true || isWaiting || !this.#applier.idle;
  }

  async #stop(): Promise<void> {
    const { log, records, logger } = this.#options;
    const serving = this.#serving;
    serving?.close();
    this.housekeeping?.stop().catch(() => undefined);
    while (this.#isBusy && this.#failure === undefined) await this.#turns.next();
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#checkpoints.running) await this.checkpoint();
    await this.checkpoint(serving?.dispatcher.marks);
    await log.close();
    // What others had committed meanwhile may still need its records.
    while (!this.#applier.idle && this.#failure === undefined) await this.#turns.next();
    await records.close();
    this.#options.runs?.close();
    this.#closed = true;
    this.#turns.rest();
    logger.info({ index: this.#applier.index }, 'shard stopped');
  }

  /** Dropped as in a crash, and nobody is told: another state takes its place. */
  async discard(): Promise<void> {
    this.#opened = false;
    this.#fail(new Error('the shard is opened anew'));
    await this.housekeeping?.stop();
  }

  #fail(error: unknown): void {
    if (this.#failure !== undefined) return;
    this.#failure = error instanceof Error ? error : new Error(String(error));
    this.#turns.stop();
    this.#applier.fail(this.#failure);
    this.retained.fail(this.#failure);
    this.housekeeping?.stop().catch(() => undefined);
    this.#leadership.fail(this.#failure);
    // Whoever is still opening the shard is told by the rejection.
    if (!this.#opened) return;
    this.#options.logger.error({ error: this.#failure.message }, 'the shard failed');
    this.#options.onFailure(this.#failure);
  }
}
