/**
 * Gives space back: spills what leaves the log's window, drops runs of which nothing is wanted, and
 * rewrites those that are mostly unwanted or too many.
 *
 * Two tasks in the background, each at most once at a time, and both in slices of a few
 * milliseconds between other work: the spill goes as fast as it can, because the log grows
 * meanwhile; the rewriting takes at most `compactionShare` of the time and rests for the others.
 * What either has written counts from one moment between two entries on, is named by the next
 * checkpoint, and only behind that do segments and replaced runs go. A crash at any point leaves
 * files that nobody names, or files that somebody names; a start removes the former.
 *
 * A full disk ends a task, which begins again later; any other failure of the disk ends the shard.
 * Where the spill cannot keep up, `isLate` tells the leader to hold publishes back.
 */

import { chooseRewrite, copyWanted, StorageError } from '#storage';
import type { Piece as CopiedFrom, Runs, RunState } from '#storage';
import type { LogIndex, Offset, QueueId } from '../machine/ids.ts';
import type { Machine } from '../machine/machine.ts';
import type { LocationIndex } from './location-index.ts';
import type { LogWindow } from './log-window.ts';
import type { RecordLoader } from './record-loader.ts';
import type { RunRecord } from './run-records.ts';
import type { RunSet } from './run-set.ts';
import type { ShardLog } from './shard-log.ts';
import { Spill } from './spill.ts';
import { WantedSweep } from './wanted-sweep.ts';

export interface HousekeepingOptions {
  readonly log: ShardLog;
  readonly machine: Machine;
  readonly locations: LocationIndex;
  readonly loader: RecordLoader;
  readonly window: LogWindow;
  readonly runs: Runs;
  readonly runSet: RunSet;
  readonly spillBufferBytes: number;
  /** Of the time, for rewriting: above 0, at most 1. */
  readonly compactionShare: number;
  readonly sliceMs: number;
  readonly monotonicMs: () => number;
  /** The last entry that is applied whole. */
  appliedIndex(): LogIndex;
  /** Calls `action` once between two entries. */
  atBoundary(action: () => void): Promise<void>;
  /** Resolves in a later turn of the event loop. */
  nextTurn(): Promise<void>;
  /** Resolves after so long, or at once when the shard ends. */
  pause(ms: number): Promise<void>;
  /** A checkpoint whose cut comes after this call. */
  checkpoint(): Promise<void>;
  /** The disk had no room. */
  diskFull(): void;
  readonly failed: (error: unknown) => void;
}

export interface HousekeepingStats {
  readonly spills: number;
  readonly spilledMessages: number;
  readonly spilledBytes: number;
  readonly lastSpillMs: number;
  readonly rewrites: number;
  readonly rewrittenBytes: number;
  readonly dropped: number;
  /** How often publishes had to be held back for the spill. */
  readonly late: number;
  /** Tasks that a full disk has ended. */
  readonly full: number;
}

const LOOK_MS = 100;
const SWEEP_MS = 2000;
const RETRY_MS = 1000;

export class Housekeeping {
  readonly #options: HousekeepingOptions;
  readonly #sweep: WantedSweep;
  readonly #stats = {
    spills: 0,
    spilledMessages: 0,
    spilledBytes: 0,
    lastSpillMs: 0,
    rewrites: 0,
    rewrittenBytes: 0,
    dropped: 0,
    late: 0,
    full: 0,
  };
  #spilling: Promise<void> | undefined;
  #tidying: Promise<void> | undefined;
  #lookAt = 0;
  #sweepAt = 0;
  #spillAt = 0;
  #isLate = false;
  #stopped = false;

  constructor(options: HousekeepingOptions) {
    this.#options = options;
    this.#sweep = new WantedSweep({ ...options, rest: this.#slices() });
    this.#sweep.all();
  }

  get stats(): HousekeepingStats {
    return this.#stats;
  }

  /** The log is more than twice its window: publishes wait for the spill. */
  get isLate(): boolean {
    return this.#isLate;
  }

  get isSpilling(): boolean {
    return this.#spilling !== undefined;
  }

  /** Monotonic milliseconds at which `look` is wanted although nothing happens. */
  get nextLook(): number {
    if (this.#stopped || this.#tidying !== undefined) return Number.POSITIVE_INFINITY;
    return this.#sweep.isDue ? this.#sweepAt : Number.POSITIVE_INFINITY;
  }

  /** Something of this queue may be wanted no more. */
  changed(queueId: QueueId): void {
    this.#sweep.changed(queueId);
  }

  /** Begins what is due; cheap, to be called in every turn. */
  look(): void {
    const now = this.#options.monotonicMs();
    if (this.#stopped || now < this.#lookAt) return;
    this.#lookAt = now + LOOK_MS;
    this.#judgeLate();
    if (this.#spilling === undefined && now >= this.#spillAt && this.#leaving() > 0) {
      this.#spilling = this.#guarded(() => this.#spill()).finally(() => {
        this.#spilling = undefined;
        this.#judgeLate();
      });
    }
    if (this.#tidying === undefined && now >= this.#sweepAt && this.#sweep.isDue) {
      this.#tidying = this.#guarded(() => this.#tidy()).finally(() => {
        this.#tidying = undefined;
        this.#sweepAt = this.#options.monotonicMs() + SWEEP_MS;
      });
    }
  }

  /** Ends both tasks at their next step, and waits for that. Again: nothing. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#spilling;
    await this.#tidying;
  }

  // --- The spill.

  #judgeLate(): void {
    const { window, log } = this.#options;
    const isLate = window.isLate(log.start, log.bytes);
    if (isLate && !this.#isLate) this.#stats.late++;
    this.#isLate = isLate;
  }

  /** Entries below it are to leave the log; 0: none. */
  #leaving(): LogIndex {
    const { log, window, appliedIndex } = this.#options;
    const below = window.leftBelow(log.sealed, log.bytes);
    return Math.min(below, appliedIndex() + 1) as LogIndex;
  }

  async #spill(): Promise<void> {
    const { log, locations, machine, loader, runs, runSet, spillBufferBytes } = this.#options;
    const boundary = this.#leaving();
    if (boundary <= locations.spilledBelow) {
      // Nothing wanted lies there any more: the next checkpoint gives it back.
      await this.#options.checkpoint();
      return;
    }
    const began = this.#options.monotonicMs();
    const outcome = await Spill.run(
      {
        log,
        locations,
        machine,
        loader,
        runs,
        takeRunId: () => runSet.takeId(),
        bufferBytes: spillBufferBytes,
        rest: this.#slices(),
      },
      boundary,
    );
    await this.#options.atBoundary(() => {
      locations.spilled(boundary, outcome.queues);
      runSet.add(outcome.records);
    });
    this.#stats.spills++;
    this.#stats.spilledMessages += outcome.messages;
    this.#stats.spilledBytes += outcome.bytes;
    await this.#options.checkpoint();
    this.#stats.lastSpillMs = this.#options.monotonicMs() - began;
  }

  // --- What runs hold.

  async #tidy(): Promise<void> {
    await this.#sweep.round();
    for (;;) {
      this.#stats.dropped += this.#options.runSet.dropUnwanted();
      const chosen = chooseRewrite(this.#states());
      if (chosen.length === 0) return;
      if (!(await this.#rewrite(chosen))) return;
      await this.#options.checkpoint();
    }
  }

  #states(): RunState[] {
    const states: RunState[] = [];
    for (const run of this.#options.runSet.runs()) {
      const { runId, bytes, values, wanted, isDamaged, lost } = run;
      const isFixed = isDamaged || lost !== undefined || this.#options.isWhole(runId);
      states.push({ runId, bytes, values, wanted, isFixed });
    }
    return states;
  }

  /** False: one of them is damaged, or the task ends. */
  async #rewrite(runIds: readonly number[]): Promise<boolean> {
    const { runs, runSet, machine, loader } = this.#options;
    const pieces: CopiedFrom[] = [];
    const inputs = new Set(runIds);
    for (const queueId of runSet.queueIds().sort((a, b) => a - b)) {
      for (const { runId, first, last } of runSet.pieces(queueId)) {
        if (inputs.has(runId)) pieces.push({ runId, stream: queueId, first, last });
      }
    }
    const output = await runs.create(runSet.takeId());
    try {
      const outcome = await copyWanted({
        runs,
        output,
        pieces,
        prepare: async (stream, from, to) => {
          const [queueId, first, end] = [stream as QueueId, from as Offset, to as Offset];
          await loader.until(() => machine.wantedKeys(queueId, first, end));
        },
        wants: (stream, offset) => machine.isWanted(stream as QueueId, offset as Offset),
        rest: this.#paced(),
      });
      if (outcome.kind === 'damaged') {
        const run = runSet.run(outcome.damage.runId);
        if (run !== undefined) run.isDamaged = true;
        await output.abandon();
        return true;
      }
      let record: RunRecord | undefined;
      if (outcome.pieces.length === 0) await output.abandon();
      else {
        const { runId, fileBytes, values } = await output.finish();
        record = {
          runId,
          bytes: fileBytes,
          values,
          lost: undefined,
          pieces: outcome.pieces.map((piece) => ({
            queueId: piece.stream as QueueId,
            first: piece.first as Offset,
            last: piece.last as Offset,
            values: piece.values,
          })),
        };
        this.#stats.rewrittenBytes += fileBytes;
      }
      await this.#options.atBoundary(() => runSet.replace(runIds, record));
      this.#stats.rewrites++;
      return true;
    } catch (error) {
      await output.abandon();
      throw error;
    }
  }

  // --- Making way.

  /** Makes way when a slice is over. */
  #slices(): () => Promise<void> {
    const { monotonicMs, nextTurn, sliceMs } = this.#options;
    let until = 0;
    return async () => {
      if (this.#stopped) throw new Stopped();
      if (monotonicMs() < until) return;
      await nextTurn();
      if (this.#stopped) throw new Stopped();
      until = monotonicMs() + sliceMs;
    };
  }

  /** Rests so long that the share of the work is kept. */
  #paced(): () => Promise<void> {
    const { monotonicMs, pause, compactionShare } = this.#options;
    let began = monotonicMs();
    return async () => {
      if (this.#stopped) throw new Stopped();
      const worked = monotonicMs() - began;
      await pause(worked * (1 / compactionShare - 1));
      if (this.#stopped) throw new Stopped();
      began = monotonicMs();
    };
  }

  /** A full disk and a stop end the task, anything else ends the shard. */
  async #guarded(task: () => Promise<void>): Promise<void> {
    try {
      await task();
    } catch (error) {
      if (error instanceof Stopped) return;
      if (error instanceof StorageError && error.code === 'full') {
        this.#stats.full++;
        this.#spillAt = this.#options.monotonicMs() + RETRY_MS;
        this.#options.diskFull();
        return;
      }
      this.#options.failed(error);
    }
  }
}

class Stopped extends Error {
  constructor() {
    super('the shard stops');
    this.name = 'Stopped';
  }
}
