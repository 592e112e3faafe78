/**
 * The receiver's end of a catch-up: builds a replica in a directory of its own, from the records of
 * a checkpoint and the payloads that its queues still want, and makes it the current one.
 *
 * Records come first, in batches that each are a checkpoint of the new store; then its queues are
 * looked through by a machine over that store, and what they want is asked for, queue by queue and
 * in the order of offsets (`CatchUpPieces`), straight into runs of its own. What the runs of the
 * current replica have is taken over instead of asked for (`kept-runs.ts`), while the records come
 * and before its queues are looked through. What an attempt that
 * broke off has brought stays for the next one, from whatever leader and at whatever later
 * checkpoint: a message never changes. Where a part of it could not be written, nothing stays.
 * There is one place, and so one attempt at a time. The log of the new replica is empty and begins
 * behind the checkpoint. Nothing of the old replica is touched before `makeCurrent`; a crash
 * before its rename leaves the old one, and files that the next attempt clears away.
 */

import type { Log, RecordBatch, RecordStore, RunWriter, Runs } from '#storage';
import { LogDisk } from '#raft';
import type { CatchUpBuilding, CatchUpSink, CheckpointName, Entry, HardState } from '#raft';
import type { LogIndex, Offset, QueueId } from '../machine/ids.ts';
import { Machine } from '../machine/machine.ts';
import { decodePayloads, decodeQuestion, decodeRecords, encodeQuestion } from './catch-up-codec.ts';
import type { CatchUpQuestion } from './catch-up-codec.ts';
import { CatchUpPieces } from './catch-up-pieces.ts';
import type { WantedRange } from './catch-up-pieces.ts';
import { encodeNote } from './checkpoint.ts';
import { commandsNote } from './entry.ts';
import { isLayoutKey } from './layout-keys.ts';
import { takeOverRuns } from './kept-runs.ts';
import type { KeptRuns } from './kept-runs.ts';
import { encodeMembers } from './members.ts';
import { encodeRecord } from './record-codec.ts';
import { RecordLoader } from './record-loader.ts';
import { encodeRun, runKey } from './run-records.ts';
import type { PieceRecord, RunRecord } from './run-records.ts';
import { RUN_VALUE_HEADER_BYTES, writeRunValueHeader } from './run-values.ts';

/** A replica that is being made. */
export interface MadeReplica {
  /** Empty; begins behind the checkpoint. */
  readonly log: Log;
  /** Empty. */
  readonly records: RecordStore;
  /** Of this log; with what the attempt before has finished. */
  readonly runs: Runs;
  /** Durable, by one rename; everything of it is closed. */
  makeCurrent(): Promise<void>;
}

export interface ReplicaMaker {
  /**
   * Its log and its runs have the id of the current log, so that runs can be taken over.
   * `keepsRuns`: those of the last attempt stay.
   */
  make(checkpoint: CheckpointName, keepsRuns: boolean): Promise<MadeReplica>;
  /** What the last attempt has left goes. */
  clear(): Promise<void>;
}

const RECORDS_BATCH_BYTES = 4 << 20;
const RUN_BYTES_MAX = 256 << 20;
const DRAIN_BYTES = 1 << 20;
const INTENTS_AT_ONCE = 256;
/** Of the machine that looks through the queues. */
const RESIDENT_RECORDS_MAX = 10_000;

/** What stays when an attempt breaks off. */
interface Brought {
  readonly runs: RunRecord[];
  /** Of each queue: everything below was asked for. */
  readonly through: Map<QueueId, Offset>;
  goneAt: number;
  nextRunId: number;
}

export class ShardCatchUpSink implements CatchUpSink {
  readonly #maker: ReplicaMaker;
  readonly #current: () => KeptRuns | undefined;
  #brought = nothingBrought();
  /** The last attempt; undefined when it came to nothing. */
  #last: Promise<Building | undefined> = Promise.resolve(undefined);

  /** `current`: what the current replica has; undefined where it has no state. */
  constructor(maker: ReplicaMaker, current: () => KeptRuns | undefined) {
    this.#maker = maker;
    this.#current = current;
  }

  /** An attempt before it ends first, also one that is still being made: there is one place. */
  begin(checkpoint: CheckpointName): Promise<CatchUpBuilding> {
    const begun = this.#behind(this.#last, checkpoint);
    // Whoever began it hears why it came to nothing.
    this.#last = begun.catch(() => undefined);
    return begun;
  }

  /** Where it cannot be cleared away, it is by the next attempt, or at the next start. */
  forget(): void {
    this.#last = this.#cleared(this.#last).catch(() => undefined);
  }

  async #cleared(last: Promise<Building | undefined>): Promise<undefined> {
    await endOf(last);
    this.#brought = nothingBrought();
    await this.#maker.clear();
  }

  async #behind(
    last: Promise<Building | undefined>,
    checkpoint: CheckpointName,
  ): Promise<Building> {
    await endOf(last);
    const brought = this.#brought;
    const keepsRuns = brought.runs.length > 0;
    const made = await this.#maker.make(checkpoint, keepsRuns);
    const over = (): void => {
      this.#brought = nothingBrought();
    };
    const building = new Building(made, checkpoint, { brought, over });
    const current = keepsRuns ? undefined : this.#current();
    if (current !== undefined) building.takeOver(current);
    return building;
  }
}

async function endOf(last: Promise<Building | undefined>): Promise<void> {
  const before = await last;
  before?.close();
  await before?.ended;
}

function nothingBrought(): Brought {
  return { runs: [], through: new Map(), goneAt: 0, nextRunId: 1 };
}

interface BuildingOf {
  readonly brought: Brought;
  /** What was brought lies in the current replica now, or is lost: the next one begins empty. */
  readonly over: () => void;
}

class Building implements CatchUpBuilding {
  readonly #made: MadeReplica;
  readonly #checkpoint: CheckpointName;
  readonly #brought: Brought;
  readonly #of: BuildingOf;
  readonly #kept: Entry[] = [];
  #state: 'records' | 'payloads' | 'complete' | 'closed' = 'records';
  /** The last answer. */
  #taking: Promise<void> = Promise.resolve();
  /** What the current replica has. */
  #takingOver: Promise<void> = Promise.resolve();
  #ended: Promise<void> | undefined;
  #pageAsked = false;
  #page = 0;
  #batch: RecordBatch | undefined;
  #wanted = new CatchUpPieces([]);
  #writer: RunWriter | undefined;
  #pieces: { -readonly [Key in keyof PieceRecord]: PieceRecord[Key] }[] = [];

  constructor(made: MadeReplica, checkpoint: CheckpointName, of: BuildingOf) {
    this.#made = made;
    this.#checkpoint = checkpoint;
    this.#brought = of.brought;
    this.#of = of;
  }

  get serveFrom(): number {
    return Math.max(this.#checkpoint.index, this.#brought.goneAt);
  }

  /**
   * Before anything else. Goes on while the records come, so that the peer is asked meanwhile, and
   * has patience; what is lacking is known behind both.
   */
  takeOver(current: KeptRuns): void {
    this.#takingOver = this.#takeOver(current);
    // Where it fails, nothing was taken over; whoever takes the last records is told.
    this.#takingOver.catch(() => undefined);
  }

  async #takeOver(current: KeptRuns): Promise<void> {
    const { runs, through, nextRunId } = await takeOverRuns(this.#made.runs, current);
    const brought = this.#brought;
    brought.runs.push(...runs);
    for (const [queueId, offset] of through) brought.through.set(queueId, offset);
    brought.goneAt = current.serveFrom;
    brought.nextRunId = nextRunId;
  }

  next(): Uint8Array | 'wait' | 'complete' {
    if (this.#state === 'complete') return 'complete';
    const question = this.#question();
    return question === undefined ? 'wait' : encodeQuestion(question);
  }

  take(question: Uint8Array, answer: Uint8Array): Promise<void> {
    const taking = this.#take(decodeQuestion(question), answer);
    // Whoever has it taken hears of it.
    this.#taking = taking.catch(() => undefined);
    return taking;
  }

  async #take(question: CatchUpQuestion, answer: Uint8Array): Promise<void> {
    try {
      if (question.kind === 'records') {
        if (this.#state === 'records') await this.#takeRecords(answer);
      } else if (this.#state === 'payloads') {
        this.#wanted.answered(question, decodePayloads(answer));
        await this.#takePayloads();
      }
    } catch (error) {
      await this.#lose();
      throw error;
    }
  }

  /**
   * A run that was not written whole is worth nothing, and what it should hold was asked for: the
   * next attempt asks for everything again, or it would be missing for good.
   */
  async #lose(): Promise<void> {
    const writer = this.#writer;
    this.#writer = undefined;
    this.#state = 'closed';
    this.#of.over();
    await writer?.abandon();
  }

  keep(entries: readonly Entry[]): Promise<void> {
    this.#kept.push(...entries);
    return Promise.resolve();
  }

  makeCurrent(hardState: HardState): Promise<void> {
    const made = this.#makeCurrent(hardState);
    // A replica that cannot become current ends, and its maker says so.
    this.#ended = made.catch(() => undefined);
    return made;
  }

  async #makeCurrent(hardState: HardState): Promise<void> {
    this.#state = 'closed';
    const { log, records, runs } = this.#made;
    const disk = new LogDisk({
      log,
      note: ({ payload }) => commandsNote(payload),
      openRepairs: () => Promise.resolve(undefined),
    });
    await new Promise<void>((resolve, reject) => {
      disk.listen({ persisted: () => resolve(), failed: reject });
      const entries = this.#kept;
      disk.write({ token: 1, hardState, truncateAfter: undefined, entries, repaired: [] });
    });
    await disk.close();
    await records.close();
    runs.close();
    await this.#made.makeCurrent();
    this.#of.over();
  }

  /** Also while an answer is being taken, or when all is there. */
  close(): void {
    if (this.#ended !== undefined) return;
    this.#ended = this.#end();
    // Told to the next attempt, which comes to nothing for it; without one, to nobody.
    this.#ended.catch(() => undefined);
  }

  /**
   * Behind `close` or `makeCurrent`: none of its files is written any more. Rejects where one could
   * not be closed.
   */
  get ended(): Promise<void> | undefined {
    return this.#ended;
  }

  async #end(): Promise<void> {
    await this.#taking;
    await this.#takingOver.catch(() => undefined);
    this.#state = 'closed';
    await this.#putAway();
  }

  /** Pages of records follow each other; of payloads a few pieces are asked for at once. */
  #question(): CatchUpQuestion | undefined {
    if (this.#state === 'payloads') return this.#wanted.question();
    if (this.#state !== 'records' || this.#pageAsked) return undefined;
    this.#pageAsked = true;
    return { kind: 'records', page: this.#page };
  }

  // --- Records.

  async #takeRecords(answer: Uint8Array): Promise<void> {
    const { isLast, keys, values } = decodeRecords(answer);
    for (const [nth, key] of keys.entries()) {
      if (isLayoutKey(key)) continue;
      this.#batch ??= this.#made.records.begin();
      this.#batch.put(key, values[nth] as Uint8Array);
      if (this.#batch.bytes >= RECORDS_BATCH_BYTES) await this.#writeRecords();
    }
    if (!isLast) {
      this.#page++;
      this.#pageAsked = false;
      return;
    }
    await this.#takingOver;
    await this.#writeRecords();
    this.#wanted = new CatchUpPieces(await this.#lookThrough());
    this.#state = 'payloads';
    if (this.#wanted.isDone) await this.#finish();
  }

  /** Each is a whole checkpoint of the new store, so that the last one may be small. */
  async #writeRecords(): Promise<void> {
    const { index, term, configuration } = this.#checkpoint;
    const { serveFrom } = this;
    const batch = this.#batch ?? this.#made.records.begin();
    this.#batch = undefined;
    const members = encodeMembers({ configuration, serveFrom });
    const data = encodeNote({ logId: this.#made.log.logId, members, marks: undefined });
    await batch.write({ index, term, data });
  }

  /** What the queues want at the checkpoint, but for what an attempt before has brought. */
  async #lookThrough(): Promise<readonly WantedRange[]> {
    const ranges: WantedRange[] = [];
    const machine = new Machine({ maxResidentRecords: RESIDENT_RECORDS_MAX });
    const loader = new RecordLoader(this.#made.records, machine);
    await loader.until(() => machine.startKeys());
    const leaving = endsOfIntents(machine);
    for (const queueId of machine.heldQueues().toSorted((a, b) => a - b)) {
      await loader.until(() => machine.queueKeys(queueId));
      const floor = machine.lowestWanted(queueId);
      const to = machine.nextOffset(queueId) ?? leaving.get(queueId);
      if (floor === undefined || to === undefined) continue;
      const from = Math.max(floor, this.#brought.through.get(queueId) ?? 0) as Offset;
      if (from < to) ranges.push({ queueId, from, to });
      machine.evict(RESIDENT_RECORDS_MAX);
    }
    return ranges;
  }

  // --- Payloads.

  /** What has come and is in turn. */
  async #takePayloads(): Promise<void> {
    const brought = this.#brought;
    for (let taken = this.#wanted.take(); taken !== undefined; taken = this.#wanted.take()) {
      const { queueId, answer } = taken;
      brought.goneAt = Math.max(brought.goneAt, answer.goneAt);
      for (const [nth, offset] of answer.offsets.entries()) {
        this.#writer ??= await this.#made.runs.create(brought.nextRunId++);
        const message = answer.messages[nth] as Uint8Array;
        const index = (answer.indexes[nth] ?? 0) as LogIndex;
        this.#put(this.#writer, { queueId, offset: offset as Offset, index }, message);
        if (this.#writer.pendingBytes >= DRAIN_BYTES) await this.#writer.drain();
        if (this.#writer.bytesWritten >= RUN_BYTES_MAX) await this.#finishRun();
      }
      // In order, so nothing below is still to be written.
      brought.through.set(queueId, answer.next as Offset);
    }
    if (this.#wanted.isDone) await this.#finish();
  }

  #put(
    writer: RunWriter,
    place: { readonly queueId: QueueId; readonly offset: Offset; readonly index: LogIndex },
    message: Uint8Array,
  ): void {
    const { queueId, offset, index } = place;
    const at = writer.reserve(queueId, offset, RUN_VALUE_HEADER_BYTES + message.length);
    writeRunValueHeader(writer.room, at, index);
    writer.room.set(message, at + RUN_VALUE_HEADER_BYTES);
    const piece = this.#pieces.at(-1);
    if (piece?.queueId === queueId) {
      piece.last = offset;
      piece.values++;
    } else this.#pieces.push({ queueId, first: offset, last: offset, values: 1 });
  }

  async #finishRun(): Promise<void> {
    const writer = this.#writer;
    if (writer === undefined) return;
    const { runId, fileBytes, values } = await writer.finish();
    this.#writer = undefined;
    const pieces = this.#pieces;
    this.#pieces = [];
    this.#brought.runs.push({ runId, bytes: fileBytes, values, lost: undefined, pieces });
  }

  /** Names the runs; the store has everything then. */
  async #finish(): Promise<void> {
    await this.#finishRun();
    this.#batch = this.#made.records.begin();
    for (const run of this.#brought.runs) {
      this.#batch.put(runKey(run.runId), encodeRecord(encodeRun(run)));
    }
    await this.#writeRecords();
    this.#state = 'complete';
  }

  /** Finishes the run that is being written, so that the next attempt has it. */
  async #putAway(): Promise<void> {
    const { log, records, runs } = this.#made;
    try {
      await this.#finishRun();
    } catch {
      // Nobody waits for it: what it should hold is asked for again.
      await this.#lose();
    }
    this.#batch?.discard();
    runs.close();
    const closed = await Promise.allSettled([records.close(), log.close()]);
    const failed = closed.find((each) => each.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
  }
}

/** Of queues that are gone, messages on their way elsewhere are all that is wanted. */
function endsOfIntents(machine: Machine): ReadonlyMap<QueueId, Offset> {
  const ends = new Map<QueueId, Offset>();
  for (let after = 0; ;) {
    const intents = machine.openIntents(after, INTENTS_AT_ONCE);
    for (const { queueId, offset, number } of intents) {
      ends.set(queueId, Math.max(ends.get(queueId) ?? 0, offset + 1) as Offset);
      after = number;
    }
    if (intents.length < INTENTS_AT_ONCE) return ends;
  }
}
