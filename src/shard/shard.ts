/**
 * The host of one shard: joins log, records, machine, deliveries and port, and runs them in turns.
 *
 * A turn applies what is committed, serves deliveries, and posts one batch; it ends after `sliceMs`
 * and goes on in the next turn of the event loop, so that the log's completions and the port are
 * never kept waiting. Nothing is confirmed or delivered that is not durable and applied. Opening
 * recovers (nothing is written by a refused start), then begins a term above every earlier one
 * before the first proposal. The first failure of log or store, or a broken invariant, ends the
 * shard: who waits hears it, nothing more is taken, and `onFailure` is told once, for the process
 * to end. A crash at any point is a case for `recovery.ts`.
 */

import { randomInt } from 'node:crypto';
import { setTimeout } from 'node:timers/promises';
import type { Runs } from '#storage';
import type { QueueDefinition } from '../machine/definitions.ts';
import type { Effects, RareEffect } from '../machine/effect.ts';
import { DELAYED_QUEUE, type LogIndex, type QueueId } from '../machine/ids.ts';
import { Machine } from '../machine/machine.ts';
import { Alarms } from './alarms.ts';
import { Applier } from './applier.ts';
import type { AppliedSink } from './applier.ts';
import { Checkpoints } from './checkpoint.ts';
import type { DeliveryMarks } from './checkpoint.ts';
import { Housekeeping } from './housekeeping.ts';
import { LocationIndex } from './location-index.ts';
import { LogWindow } from './log-window.ts';
import { MessageCounters } from './message-counters.ts';
import { Payloads } from './payloads.ts';
import { decodeRecord } from './record-codec.ts';
import { RecordLoader } from './record-loader.ts';
import { recoveryPoint, replay } from './recovery.ts';
import type { RecoveryPoint } from './recovery.ts';
import { RunSet } from './run-set.ts';
import { encodeStats } from './requests.ts';
import { Serving } from './serving.ts';
import type { ShardEntry } from './shard-log.ts';
import type { ConfiguredGroup, ShardOptions } from './shard-options.ts';
import { STATS_QUEUES_MAX, collectStats } from './shard-stats.ts';
import { StampClock } from './stamp-clock.ts';
import { Turns } from './turns.ts';

export class Shard {
  readonly #options: ShardOptions;
  readonly #machine: Machine;
  readonly #loader: RecordLoader;
  readonly #locations: LocationIndex;
  readonly #window: LogWindow;
  readonly #runSet = new RunSet();
  readonly #housekeeping: Housekeeping | undefined;
  readonly #payloads: Payloads;
  readonly #alarms: Alarms;
  readonly #checkpoints: Checkpoints;
  readonly #applier: Applier;
  readonly #turns: Turns;
  readonly #messages = new MessageCounters();
  #stamps: StampClock;
  #serving: Serving | undefined;
  #failure: Error | undefined;
  #stopping: Promise<void> | undefined;
  /** Log and records are closed; what is said still goes out. */
  #closed = false;
  #logBytes = 0;
  #checkpointDue = Number.POSITIVE_INFINITY;

  /** Recovers, begins a term, declares the queues, and serves the port. */
  static async open(options: ShardOptions): Promise<Shard> {
    const point = recoveryPoint(options.log, options.records);
    const shard = new Shard(options, point);
    try {
      await shard.#recover(point);
      if (shard.#failure !== undefined) throw shard.#failure;
      await shard.#serve(point.marks);
    } catch (error) {
      shard.#turns.stop();
      throw error;
    }
    return shard;
  }

  private constructor(options: ShardOptions, point: RecoveryPoint) {
    this.#options = options;
    const { log, records, limits, clock, logger } = options;
    const failed = (error: unknown): void => this.#fail(error);
    this.#stamps = new StampClock(clock, 0);
    this.#machine = new Machine({
      maxResidentRecords: limits.residentRecordsMax,
      firstQueueId: options.firstQueueId,
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
      runDamaged: (run, detail) => this.#housekeeping?.damaged(run, detail),
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
    this.#applier = new Applier({
      machine: this.#machine,
      loader: this.#loader,
      locations: this.#locations,
      sink: this.#sink(),
      applied: point,
      monotonicMs: () => clock.monotonicMs(),
      wake: () => this.#turns.wake(),
      failed,
    });
    this.#housekeeping = options.runs === undefined ? undefined : this.#keeping(options.runs);
    this.#checkpoints = new Checkpoints(
      {
        machine: this.#machine,
        locations: this.#locations,
        loader: this.#loader,
        records,
        log,
        runRecords: this.#housekeeping,
        atBoundary: (cut) => this.#atBoundary(cut),
        nextTurn: () => this.#turns.next(),
        monotonicMs: () => clock.monotonicMs(),
        sliceMs: limits.sliceMs,
      },
      point.index,
    );
    for (const words of point.damage) this.#alarms.raise('log-damaged', words);
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

  /** Undefined: there is no such queue. */
  queueType(name: string): QueueDefinition['type'] | undefined {
    return this.#machine.queueNamed(name)?.definition.type;
  }

  get failure(): Error | undefined {
    return this.#failure;
  }

  /** Begins a checkpoint, or joins the one that runs; `marks` for the last one of a clean stop. */
  checkpoint(marks?: DeliveryMarks): Promise<void> {
    this.#logBytes = 0;
    this.#checkpointDue = Number.POSITIVE_INFINITY;
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
      housekeeping: this.#housekeeping,
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
  async #statsOfAll(): Promise<Uint8Array> {
    const machine = this.#machine;
    if (machine.queueCount <= STATS_QUEUES_MAX) {
      const queueIds = [DELAYED_QUEUE, ...machine.queueIds()];
      await this.#loader.until(() => queueIds.flatMap((queueId) => machine.queueKeys(queueId)));
    }
    return encodeStats(this.stats());
  }

  // --- Start.

  async #recover(point: RecoveryPoint): Promise<void> {
    const { log, records } = this.#options;
    await this.#loader.until(() => this.#machine.startKeys());
    for await (const page of records.iterate(LocationIndex.summaryPrefix)) {
      for (const { value } of page) this.#locations.restore(decodeRecord(value));
    }
    await this.#housekeeping?.restore(records);
    await replay(log, point.index, async (entries) => {
      this.#applier.push(entries);
      this.#turns.wake();
      while (!this.#applier.idle && this.#failure === undefined) await this.#turns.next();
      if (this.#failure !== undefined) throw this.#failure;
    });
  }

  async #serve(marks: DeliveryMarks): Promise<void> {
    const { log, limits, clock, logger, port, queues, groups = [] } = this.#options;
    const term = await log.startTerm();
    this.#stamps = new StampClock(clock, this.#machine.lastStamp);
    const serving = new Serving({
      term,
      marks,
      machine: this.#machine,
      loader: this.#loader,
      payloads: this.#payloads,
      alarms: this.#alarms,
      log,
      port,
      limits,
      logger,
      stamps: this.#stamps,
      applier: this.#applier,
      inReserve: () => this.#inReserve(),
      holdsBack: () => this.#housekeeping?.isLate === true,
      monotonicMs: () => clock.monotonicMs(),
      atBoundary: (action) => this.#atBoundary(action),
      stats: () => this.#statsOfAll(),
      stop: () => this.stop(),
      isVolatile: this.#options.runs === undefined,
      closed: () => this.#closed,
      wake: () => this.#turns.wake(),
      failed: (error) => this.#fail(error),
    });
    this.#serving = serving;
    this.#alarms.tellLostGroups();
    log.onCommitted((entries) => this.#committed(entries));
    await this.#declare(serving, queues);
    await serving.createGroups(groups.flatMap((group) => this.#groupOf(group)));
    serving.start();
  }

  async #declare(serving: Serving, queues: readonly QueueDefinition[]): Promise<void> {
    const { outcomes, lines } = await serving.declare(queues);
    for (const line of lines) this.#options.logger.info(line, 'queue has new limits');
    const created = outcomes.filter((outcome) => outcome === 'created').length;
    if (created > 0) this.#options.logger.info({ created }, 'queues created');
  }

  #groupOf({
    queue,
    name,
    filter,
    start,
  }: ConfiguredGroup): Parameters<Serving['createGroups']>[0] {
    const there = this.#machine.queueNamed(queue);
    if (there === undefined) return [];
    return [{ queueId: there.queueId, name, groupKind: 'explicit', filter, start }];
  }

  // --- Turns.

  #committed(entries: readonly ShardEntry[]): void {
    if (this.#failure !== undefined) return;
    const proposals = this.#serving?.proposals;
    for (const entry of entries) {
      proposals?.committed(entry);
      this.#logBytes += entry.bytes;
    }
    this.#applier.push(entries);
    this.#turns.now();
  }

  #work(deadline: number): boolean {
    if (this.#failure !== undefined) return false;
    if (this.#closed) {
      this.#serving?.server.post();
      return false;
    }
    let more = this.#applier.run(deadline);
    const serving = this.#serving;
    if (serving !== undefined) {
      more = serving.work(deadline, this.#stopping === undefined) || more;
      this.#startCheckpointIfDue();
      this.#housekeeping?.look();
    }
    if (!this.#loader.busy) this.#machine.evict(EVICT_STEPS);
    return more;
  }

  #startCheckpointIfDue(): void {
    const { limits, clock } = this.#options;
    if (this.#checkpoints.running || this.#stopping !== undefined) return;
    const now = clock.monotonicMs();
    const isChanged = this.#logBytes > 0 || this.#runSet.isChanged;
    if (isChanged && this.#checkpointDue === Number.POSITIVE_INFINITY) {
      this.#checkpointDue = now + limits.checkpointIntervalMs;
    }
    if (
      this.#logBytes >= limits.checkpointLogBytes ||
      this.#checkpoints.changedBytes >= limits.checkpointBytes ||
      now >= this.#checkpointDue
    ) {
      this.checkpoint().catch(() => undefined);
    }
  }

  /** In milliseconds from now. */
  #nextWake(): number {
    const { clock } = this.#options;
    const due = this.#serving?.nextWake ?? Number.POSITIVE_INFINITY;
    return Math.min(
      due - this.#stamps.now(),
      this.#checkpoints.running
        ? Number.POSITIVE_INFINITY
        : this.#checkpointDue - clock.monotonicMs(),
      (this.#housekeeping?.nextLook ?? Number.POSITIVE_INFINITY) - clock.monotonicMs(),
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

  // --- What apply did.

  #sink(): AppliedSink {
    return {
      begun: (entry) => {
        this.#payloads.applied(entry);
        this.#window.begun(entry.index);
      },
      confirmed: (effects: Effects, at: number) => this.#serving?.confirmed(effects, at),
      enqueued: (queueId, offset, priority) => {
        this.#messages.enqueued++;
        this.#window.enqueued();
        this.#serving?.enqueued(queueId, offset, priority);
      },
      settled: (effects, at) => {
        this.#messages.settled(effects, at);
        this.#wantsLess(effects.queueId(at));
        this.#serving?.dispatcher.settled(effects, at);
      },
      ranged: (effects, at) => {
        this.#wantsLess(effects.queueId(at));
        this.#serving?.dispatcher.ranged(effects, at);
      },
      requeued: (effects, at) => {
        this.#messages.requeued++;
        this.#serving?.dispatcher.requeued(effects, at);
      },
      rare: (effect) => this.#rare(effect),
    };
  }

  #rare(effect: RareEffect): void {
    this.#messages.rare(effect);
    switch (effect.kind) {
      case 'queue-deleted':
      case 'start-raised':
      case 'group-deleted':
      case 'group-sought':
        this.#wantsLess(effect.queueId);
        break;
      case 'intent-closed':
        this.#wantsLess(this.#serving?.sourceOf(effect.intent));
        break;
      case 'version-set':
      case 'version-refused':
        this.#options.logger.info({ ...effect }, 'rules of the state machine');
        break;
      default:
    }
    this.#serving?.rare(effect);
  }

  /** Something of this queue may be wanted no more. */
  #wantsLess(queueId: QueueId | undefined): void {
    if (queueId === undefined) return;
    this.#checkpoints.settled(queueId);
    this.#housekeeping?.changed(queueId);
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
    return this.#housekeeping?.isBusy === true || this.#applier.index < this.#options.log.last;
  }

  async #stop(): Promise<void> {
    const { log, records, logger } = this.#options;
    const serving = this.#serving;
    serving?.close();
    this.#housekeeping?.stop().catch(() => undefined);
    while (this.#isBusy && this.#failure === undefined) await this.#turns.next();
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#checkpoints.running) await this.checkpoint();
    await this.checkpoint(serving?.dispatcher.marks);
    await log.close();
    await records.close();
    this.#options.runs?.close();
    this.#closed = true;
    this.#turns.rest();
    logger.info({ index: this.#applier.index }, 'shard stopped');
  }

  #fail(error: unknown): void {
    if (this.#failure !== undefined) return;
    this.#failure = error instanceof Error ? error : new Error(String(error));
    this.#turns.stop();
    this.#applier.fail(this.#failure);
    this.#housekeeping?.stop().catch(() => undefined);
    const serving = this.#serving;
    // Before anybody is served, whoever opens the shard is told by the rejection.
    if (serving === undefined) return;
    this.#options.logger.error({ error: this.#failure.message }, 'the shard failed');
    serving.fail(this.#failure);
    this.#options.onFailure(this.#failure);
  }

  /** The log failed: heard by whoever made it. */
  logFailed(error: Error): void {
    this.#fail(error);
  }
}

/** Records looked at for eviction in one turn. */
const EVICT_STEPS = 256;
