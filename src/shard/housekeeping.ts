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
 * Where the spill cannot keep up, `holdsBack` tells the leader to let publishes wait: for more and
 * more of the time, and for good where the log is late, so that they become slow before they stop.
 */

import { chooseRewrite, copyWanted, StorageError } from '#storage';
import type {
  CopyOutcome,
  RecordStore,
  Piece as CopiedFrom,
  Runs,
  RunState,
  RunWriter,
} from '#storage';
import type { LogIndex, Offset, QueueId } from '../machine/ids.ts';
import type { Machine } from '../machine/machine.ts';
import type { LocationIndex } from './location-index.ts';
import type { Alarms } from './alarms.ts';
import type { RunRecords } from './checkpoint.ts';
import { WINDOW_KEY } from './log-window.ts';
import type { LogWindow } from './log-window.ts';
import { decodeRecord } from './record-codec.ts';
import type { PlainData } from './record-codec.ts';
import type { RecordLoader } from './record-loader.ts';
import { encodeRun, RUN_PREFIX, runKey } from './run-records.ts';
import type { RunRecord } from './run-records.ts';
import type { Run, RunSet } from './run-set.ts';
import type { ShardLog } from './shard-log.ts';
import { SlowDown } from './slow-down.ts';
import { Spill } from './spill.ts';
import type { SpillOutcome } from './spill.ts';
import { SpillPart } from './spill-part.ts';
import { WantedSweep } from './wanted-sweep.ts';

export interface HousekeepingOptions {
  readonly log: ShardLog;
  readonly machine: Machine;
  readonly locations: LocationIndex;
  readonly loader: RecordLoader;
  readonly window: LogWindow;
  readonly runs: Pick<Runs, 'create' | 'read' | 'keepOnly' | 'remove' | 'pathOf'>;
  readonly runSet: RunSet;
  readonly spillBufferBytes: number;
  /** Of the time, for rewriting: above 0, at most 1. */
  readonly compactionShare: number;
  readonly sliceMs: number;
  readonly monotonicMs: () => number;
  /** The last entry that is applied whole. */
  readonly appliedIndex: () => LogIndex;
  /** Calls `action` once between two entries. */
  readonly atBoundary: (action: () => void) => Promise<void>;
  /** Resolves in a later turn of the event loop. */
  readonly nextTurn: () => Promise<void>;
  /** Resolves after so long, or as soon as the signal comes. */
  readonly pause: (ms: number, signal: AbortSignal) => Promise<void>;
  /** A checkpoint whose cut comes after this call. */
  readonly checkpoint: () => Promise<void>;
  /** The disk had no room. */
  readonly diskFull: () => void;
  readonly alarms: Pick<Alarms, 'raise' | 'lower'>;
  /** Something is done: others may go on. */
  readonly wake: () => void;
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

export type CopyLog = (
  runs: Pick<Runs, 'create'>,
  takeRunId: () => number,
) => Promise<SpillOutcome>;

const LOOK_MS = 100;
const SWEEP_MS = 2000;
const RETRY_MS = 1000;
/** Of a damaged run, named in the alarm. */
const NAMED_PIECES = 8;
/** A run of one stream that is at least so large is left to the stream's retention. */
const WHOLE_BYTES = 8 << 20;

export class Housekeeping implements RunRecords {
  readonly #options: HousekeepingOptions;
  readonly #sweep: WantedSweep;
  readonly #part: SpillPart;
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
  #isLookDue = false;
  #isLate = false;
  /** Publishes wait although the log is not late. */
  readonly #slowDown = new SlowDown(LOOK_MS);
  /** Runs have come since the last look at them. */
  #runsChanged = false;
  readonly #ended = new AbortController();
  #stopped = false;

  constructor(options: HousekeepingOptions) {
    this.#options = options;
    this.#part = new SpillPart(options.spillBufferBytes);
    this.#sweep = new WantedSweep({ ...options, rest: this.#slices() });
  }

  get runSet(): RunSet {
    return this.#options.runSet;
  }

  get stats(): HousekeepingStats {
    return this.#stats;
  }

  /** The log is twice its window, in bytes or in messages, on a follower too. */
  get isLate(): boolean {
    return this.#isLate;
  }

  /** Publishes wait, if this node leads. */
  holdsBack(): boolean {
    return this.#slowDown.holdsBack(this.#options.monotonicMs()) || this.#isLate;
  }

  /** A task is under way. */
  get isBusy(): boolean {
    return this.#spilling !== undefined || this.#tidying !== undefined;
  }

  /** Monotonic milliseconds at which `look` is wanted although nothing happens. */
  get nextLook(): number {
    if (this.#stopped) return Number.POSITIVE_INFINITY;
    const tidies = this.#tidying === undefined && this.#tidyIsDue;
    // Nothing else may happen before it is tried again, or looked for after the last message.
    const isTriedAgain = this.#spillAt > this.#lookAt - LOOK_MS;
    const isMeant = this.#isLate || isTriedAgain || this.#isLookDue;
    const spills = this.#spilling === undefined && isMeant;
    return Math.min(
      tidies ? Math.max(this.#lookAt, this.#sweepAt) : Number.POSITIVE_INFINITY,
      spills ? Math.max(this.#lookAt, this.#spillAt) : Number.POSITIVE_INFINITY,
      this.#slowDown.nextLook,
    );
  }

  /** Something of this queue may be wanted no more. */
  changed(queueId: QueueId): void {
    this.#sweep.changed(queueId);
  }

  /** Begins what is due; cheap, to be called in every turn. */
  look(): void {
    const now = this.#options.monotonicMs();
    if (this.#slowDown.ended(now)) this.#options.wake();
    this.#isLookDue = !this.#stopped && now < this.#lookAt;
    if (this.#stopped || this.#isLookDue) return;
    this.#lookAt = now + LOOK_MS;
    this.#judgeLate();
    this.#judgeSlow(now);
    if (this.#spilling === undefined && now >= this.#spillAt && this.#leaving() > 0) {
      this.#spills(this.#guarded(() => this.#spill()));
    }
    if (this.#tidying === undefined && now >= this.#sweepAt && this.#tidyIsDue) {
      this.#runsChanged = false;
      this.#tidying = this.#guarded(() => this.#tidy()).finally(() => {
        this.#tidying = undefined;
        this.#sweepAt = this.#options.monotonicMs() + SWEEP_MS;
        this.#options.wake();
      });
    }
  }

  /**
   * No spill begins before `work` is done, so that each message lies in a run or in the log alone.
   * `copyLog` writes the latter, as far as it is applied, into runs of another replica; nothing
   * changes here.
   */
  async withoutSpill<Result>(work: (copyLog: CopyLog) => Promise<Result>): Promise<Result> {
    while (this.#spilling !== undefined) await this.#spilling;
    if (this.#stopped) throw new Stopped();
    const working = work((runs, takeRunId) => {
      const boundary = (this.#options.appliedIndex() + 1) as LogIndex;
      return this.#spillBelow(boundary, runs, takeRunId);
    });
    const over = (): void => undefined;
    this.#spills(working.then(over, over));
    return working;
  }

  /** Damage was found in a run. */
  damaged(run: Run, detail: string): void {
    if (run.isDamaged) return;
    run.isDamaged = true;
    const { runSet, machine, alarms } = this.#options;
    const pieces = runSet.piecesOf(run.runId);
    const named = pieces.slice(0, NAMED_PIECES).map(({ queueId, first, last }) => {
      return `${machine.definition(queueId)?.name ?? `#${queueId}`} ${first}-${last}`;
    });
    if (pieces.length > NAMED_PIECES) named.push('...');
    alarms.raise('run-damaged', `${detail} (the run holds ${named.join(', ')})`);
  }

  // --- Checkpoints.

  freeze(): ReturnType<RunRecords['freeze']> {
    const { runSet, window, locations } = this.#options;
    const { puts, deletions } = runSet.freeze();
    const records = puts.map((run) => ({ key: runKey(run.runId), data: encodeRun(run) }));
    const data = [locations.spilledBelow, window.encode()];
    return { puts: [...records, { key: WINDOW_KEY, data }], deletions };
  }

  async saved(): Promise<void> {
    const { runs, runSet } = this.#options;
    await runs.remove(runSet.saved());
  }

  /**
   * At start, before any replay: what the checkpoint says, held against the files. What it does not
   * name is removed, what it names and is not there is damage.
   */
  async restore(records: Pick<RecordStore, 'get' | 'iterate'>): Promise<void> {
    const { runs, runSet, window, locations } = this.#options;
    for await (const page of records.iterate(RUN_PREFIX)) {
      for (const { value } of page) runSet.restore(decodeRecord(value));
    }
    const stored = await records.get(WINDOW_KEY);
    if (stored !== undefined) {
      const [spilledBelow, state] = decodeRecord(stored) as readonly PlainData[];
      locations.restoreSpilled(spilledBelow as LogIndex);
      window.restore(state);
    }
    const { missing } = await runs.keepOnly(runSet.named());
    for (const runId of missing) {
      const run = runSet.run(runId);
      if (run === undefined) continue;
      run.lost = `${runs.pathOf(runId)} is missing`;
      this.damaged(run, run.lost);
    }
    this.#runsChanged = runSet.size > 0;
    this.#sweep.all();
  }

  /** Ends both tasks at their next step, and waits for that. Again: nothing. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#ended.abort();
    await this.#spilling;
    await this.#tidying;
  }

  get #tidyIsDue(): boolean {
    return this.#runsChanged || this.#sweep.isDue;
  }

  // --- The spill.

  #judgeLate(): void {
    const { window, log, alarms } = this.#options;
    // Where no segment can leave, nothing is won by waiting.
    const isLate = window.isLate(log) && this.#leaving() > 0;
    if (isLate === this.#isLate) return;
    this.#isLate = isLate;
    if (isLate) this.#stats.late++;
    const long = `the log, of ${log.bytes} bytes, is twice its window, in bytes or in messages`;
    // On a follower nobody waits yet; its disk is behind all the same.
    const words = `${long}: publishes wait where this node leads`;
    if (isLate) alarms.raise('spill-late', words);
    else alarms.lower('spill-late');
  }

  /** Publishes wait, and then come for one look: so long that it is their part of the time. */
  #judgeSlow(now: number): void {
    const { window, log, locations } = this.#options;
    const from = Math.max(log.start, locations.spilledBelow) as LogIndex;
    const waiting = this.#leaving() <= from ? 0 : window.slowness(log, from);
    this.#slowDown.judge(now, waiting);
  }

  /** Entries below it are to leave the log; 0: none. */
  #leaving(): LogIndex {
    const { log, window, appliedIndex } = this.#options;
    const below = window.leftBelow(log);
    return Math.min(below, appliedIndex() + 1) as LogIndex;
  }

  async #spill(): Promise<void> {
    const { locations, runs, runSet } = this.#options;
    const boundary = this.#leaving();
    if (boundary <= locations.spilledBelow) {
      // Nothing wanted lies there any more: a checkpoint gives it back.
      this.#spillAt = this.#options.monotonicMs() + RETRY_MS;
      await this.#options.checkpoint();
      return;
    }
    const began = this.#options.monotonicMs();
    const outcome = await this.#spillBelow(boundary, runs, () => runSet.takeId());
    await this.#options.atBoundary(() => {
      locations.spilled(boundary, outcome.queues);
      runSet.add(outcome.records);
    });
    this.#runsChanged ||= outcome.records.length > 0;
    this.#stats.spills++;
    this.#stats.spilledMessages += outcome.messages;
    this.#stats.spilledBytes += outcome.bytes;
    await this.#options.checkpoint();
    this.#stats.lastSpillMs = this.#options.monotonicMs() - began;
  }

  #spillBelow(
    boundary: LogIndex,
    runs: Pick<Runs, 'create'>,
    takeRunId: () => number,
  ): Promise<SpillOutcome> {
    const { log, locations, machine, loader } = this.#options;
    const [part, rest] = [this.#part, this.#slices()];
    return Spill.run({ log, locations, machine, loader, runs, takeRunId, part, rest }, boundary);
  }

  /** Until it has ended, which it does in peace, no other begins. */
  #spills(task: Promise<void>): void {
    this.#spilling = task.finally(() => {
      this.#spilling = undefined;
      this.#judgeLate();
      this.#judgeSlow(this.#options.monotonicMs());
      this.#options.wake();
    });
  }

  // --- What runs hold.

  async #tidy(): Promise<void> {
    await this.#sweep.round();
    for (;;) {
      this.#stats.dropped += this.#options.runSet.dropUnwanted();
      const chosen = chooseRewrite(this.#states());
      if (chosen.length === 0) return;
      await this.#rewrite(chosen);
      await this.#options.checkpoint();
    }
  }

  #states(): RunState[] {
    const { machine } = this.#options;
    const states: RunState[] = [];
    for (const run of this.#options.runSet.runs()) {
      const { runId, bytes, values, wanted, only, lost } = run;
      const isDamaged = run.isDamaged || lost !== undefined;
      const isStream = only !== undefined && machine.definition(only)?.type === 'stream';
      const goesWhole = isStream && bytes >= WHOLE_BYTES;
      states.push({ runId, bytes, values, wanted, isDamaged, goesWhole });
    }
    return states;
  }

  /** Copies what is wanted of these runs into a new one, which takes their place. */
  async #rewrite(runIds: readonly number[]): Promise<void> {
    const { runs, runSet } = this.#options;
    const output = await runs.create(runSet.takeId());
    try {
      const outcome = await this.#copy(output, new Set(runIds));
      if (outcome.kind === 'damaged') {
        const run = runSet.run(outcome.damage.runId);
        if (run !== undefined) this.damaged(run, outcome.damage.detail);
        await output.abandon();
        return;
      }
      const record = outcome.pieces.length === 0 ? undefined : await finished(output, outcome);
      if (record === undefined) await output.abandon();
      await this.#options.atBoundary(() => runSet.replace(runIds, record));
      this.#stats.rewrites++;
      this.#stats.rewrittenBytes += record?.bytes ?? 0;
    } catch (error) {
      await output.abandon();
      throw error;
    }
  }

  #copy(output: RunWriter, inputs: ReadonlySet<number>): Promise<CopyOutcome> {
    const { runs, runSet, machine, loader } = this.#options;
    const pieces: CopiedFrom[] = [];
    for (const queueId of runSet.queueIds().sort((a, b) => a - b)) {
      for (const { runId, first, last } of runSet.pieces(queueId)) {
        if (inputs.has(runId)) pieces.push({ runId, stream: queueId, first, last });
      }
    }
    return copyWanted({
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
      await pause(worked * (1 / compactionShare - 1), this.#ended.signal);
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

async function finished(
  output: RunWriter,
  { pieces }: Extract<CopyOutcome, { kind: 'copied' }>,
): Promise<RunRecord> {
  const { runId, fileBytes, values } = await output.finish();
  return {
    runId,
    bytes: fileBytes,
    values,
    lost: undefined,
    pieces: pieces.map((piece) => ({
      queueId: piece.stream as QueueId,
      first: piece.first as Offset,
      last: piece.last as Offset,
      values: piece.values,
    })),
  };
}

class Stopped extends Error {
  constructor() {
    super('the shard stops');
    this.name = 'Stopped';
  }
}
