/**
 * The state machine of one shard: `apply` turns a command of the log into new state and effects.
 *
 * `apply` is pure. It reads no payload, no clock, no randomness and no node's configuration; the
 * same commands at the same indexes with the same stamps give the same state on every replica,
 * whatever was in memory or evicted meanwhile. It is all or nothing: what it refuses leaves no
 * trace but what a refusal says. It never waits: the caller asks `keys` first and loads what is
 * missing, in log order.
 *
 * From asking for keys until they are loaded nothing is evicted, or a record could come back older
 * than it is. Commands whose keys are there may be applied meanwhile: `load` leaves alone what is
 * resident, and ignores what does not exist any more. An assertion that fails in here is a bug or a
 * store that lied; the process must end.
 *
 * The parts: `definitions` `queue` `group` (`settled-ranges`, `attempts`) `streams` `version` are
 * the records, `record-table` is their memory and their checkpoint, `backoff` says when a requeued
 * message is due. Deliveries are no state of the machine: `dispatch-policy`.
 */

import { assert, isCount } from './assert.ts';
import { notBefore } from './backoff.ts';
import {
  type Command,
  type EnqueueCommand,
  MAX_TARGETS,
  type SettleCommand,
  type SetVersionCommand,
  type VoidCommand,
} from './command.ts';
import { Definitions, type DefinedQueue } from './definition-commands.ts';
import type { QueueDefinition } from './definitions.ts';
import type { DispatchStart } from './dispatch-policy.ts';
import type { Effects } from './effect.ts';
import {
  DEFAULT_GROUP,
  type GroupId,
  type LogIndex,
  type Offset,
  type QueueId,
  type StampMs,
} from './ids.ts';
import type { QueueState } from './queue.ts';
import {
  type CapturedRecord,
  META_KEY,
  type RecordData,
  type RecordKey,
  definitionsKey,
  queueKey,
  streamKey,
} from './record-data.ts';
import { type RecordContent, type RecordHolder, RecordTable, Resident } from './record-table.ts';
import { IN_TURN, Stream, outcomeCode } from './streams.ts';
import { Meta, isVersionAllowed } from './version.ts';

export interface MachineOptions {
  /** Clean records kept beyond this many are evicted by `evict`; definitions do not count. */
  readonly maxResidentRecords: number;
}

const NONE: readonly RecordKey[] = Object.freeze([]);
const ACCEPTED = outcomeCode('accepted');
const NO_QUEUE = outcomeCode('no-queue');

export class Machine implements RecordHolder {
  readonly #options: MachineOptions;
  readonly #table = new RecordTable();
  readonly #definitions = new Definitions(this.#table);
  #meta: Resident<Meta> | undefined;
  readonly #streams = new Map<string, Resident<Stream>>();
  /** The stream that was used last: a section of a log entry holds many commands of one sender. */
  #lastStream: Resident<Stream> | undefined;
  #lastNode = '';

  constructor(options: MachineOptions) {
    assert(isCount(options.maxResidentRecords), 'machine: maxResidentRecords must be a count');
    this.#options = options;
  }

  /** At the start: load what this names and ask again, until it is empty. */
  startKeys(): readonly RecordKey[] {
    const meta = this.#meta;
    if (meta === undefined) return [META_KEY];
    const missing = meta.content.definitionChunks.filter(
      (chunk) => !this.#definitions.hasChunk(chunk),
    );
    return missing.length === 0 ? NONE : missing.map(definitionsKey);
  }

  /**
   * What `apply(command)` needs and what is not resident. Load and ask again, until it is empty.
   */
  keys(command: Command): readonly RecordKey[] {
    switch (command.kind) {
      case 'enqueue':
        return this.#enqueueKeys(command);
      case 'settle':
        return this.#settleKeys(command);
      case 'void':
      case 'open-stream':
        return this.#stream(command.node) === undefined ? [streamKey(command.node)] : NONE;
      case 'delete-queue':
        return this.queueKeys(command.queueId);
      case 'declare-queue':
      case 'update-queue':
      case 'set-version':
        return NONE;
    }
  }

  /**
   * A record as the store has it; undefined when the store has none. A resident one is left as it
   * is.
   */
  load(key: RecordKey, data: RecordData | undefined): void {
    const slash = key.indexOf('/');
    const kind = slash === -1 ? key : key.slice(0, slash);
    const rest = key.slice(slash + 1);
    if (kind === 'meta') {
      // A new shard has no record at all, so what is missing is not evidence of damage here.
      this.#meta ??= new Resident(
        META_KEY,
        data === undefined ? new Meta() : Meta.fromData(data),
        this,
      );
      return;
    }
    if (kind === 'stream') {
      if (this.#streams.has(rest)) return;
      const stream = new Resident(
        key,
        data === undefined ? new Stream() : Stream.fromData(data),
        this,
      );
      this.#streams.set(rest, stream);
      this.#table.adopt(stream);
      return;
    }
    if (kind !== 'definitions') {
      this.#loadOfQueue(kind, rest, data);
      return;
    }
    const chunk = Number(rest);
    if (!this.#started().definitionChunks.includes(chunk)) return;
    this.#definitions.load(chunk, stored(data));
  }

  /** `keys(command)` was empty just before. `index` may repeat: an entry has many commands. */
  apply(index: LogIndex, stamp: StampMs, command: Command, effects: Effects): void {
    const meta = this.#meta;
    assert(meta !== undefined, 'apply: not started');
    const state = meta.content;
    assert(isCount(index) && index >= state.lastIndex, 'apply: the index went back');
    assert(isCount(stamp) && stamp >= state.lastStamp, 'apply: the stamp went back');
    this.#table.touch(meta);
    state.lastIndex = index;
    state.lastStamp = stamp;
    switch (command.kind) {
      case 'enqueue':
        this.#enqueue(command, effects);
        return;
      case 'settle':
        this.#settle(command, effects);
        return;
      case 'void':
        this.#void(command, effects);
        return;
      case 'open-stream':
        this.#openStream(command.node, effects);
        return;
      case 'declare-queue':
        this.#definitions.declare(command, state, effects);
        return;
      case 'update-queue':
        this.#definitions.update(command, effects);
        return;
      case 'delete-queue':
        this.#definitions.remove(command, state, effects);
        return;
      case 'set-version':
        setVersion(command, state, effects);
        return;
    }
  }

  /** Version of the rules in force. */
  get version(): number {
    return this.#started().version;
  }

  /** The last index with a command that was applied, 0 at first. */
  get lastIndex(): LogIndex {
    return this.#started().lastIndex as LogIndex;
  }

  get lastStamp(): StampMs {
    return this.#started().lastStamp as StampMs;
  }

  /** Goes up whenever a definition changes. */
  get definitionsVersion(): number {
    return this.#definitions.version;
  }

  /** In order of queueId. */
  queues(): DefinedQueue[] {
    return this.#definitions.list();
  }

  queueNamed(name: string): DefinedQueue | undefined {
    return this.#definitions.named(name);
  }

  definition(queueId: QueueId): QueueDefinition | undefined {
    return this.#definitions.get(queueId)?.definition;
  }

  /**
   * Lowest unsettled offset (`nextOffset` when there is none); undefined until `queueKeys` were
   * loaded.
   */
  floor(queueId: QueueId): Offset | undefined {
    return this.#definitions.get(queueId)?.floor;
  }

  /** Undefined until `queueKeys` were loaded. */
  nextOffset(queueId: QueueId): Offset | undefined {
    return this.#definitions.get(queueId)?.nextOffset;
  }

  /** Messages that are not settled; undefined when `queueKeys` is not empty. */
  depth(queueId: QueueId): number | undefined {
    const state = this.#definitions.get(queueId);
    if (state === undefined || !state.isResident) return undefined;
    const { floor, above } = state.group.group.ranges;
    return state.queue.nextOffset - floor - above;
  }

  /**
   * Records to load so that `floor`, `nextOffset` and `depth` are known; empty when all is
   * resident.
   */
  queueKeys(queueId: QueueId): readonly RecordKey[] {
    const state = this.#definitions.get(queueId);
    if (state === undefined || state.isResident) return NONE;
    const keys: RecordKey[] = [];
    state.missing(keys);
    return keys;
  }

  /** What `dispatchStart` needs and is not resident; load and ask again until it is empty. */
  dispatchKeys(queueId: QueueId, groupId: GroupId): readonly RecordKey[] {
    const state = this.#definitions.get(queueId);
    if (state === undefined || groupId !== DEFAULT_GROUP) return NONE;
    return state.isResident ? state.group.missingChunks() : this.queueKeys(queueId);
  }

  /**
   * From what a dispatch policy starts; afterwards it lives by the effects. Undefined: no such
   * group.
   */
  dispatchStart(queueId: QueueId, groupId: GroupId): DispatchStart | undefined {
    const state = this.#definitions.get(queueId);
    if (state === undefined || groupId !== DEFAULT_GROUP) return undefined;
    return {
      floor: state.group.group.ranges.floor as Offset,
      nextOffset: state.queue.nextOffset as Offset,
      limits: state.definition.limits,
      settled: state.group.copySettled(),
      requeued: state.group.requeued(),
    };
  }

  /** Records changed since the last freeze. */
  get dirtyRecords(): number {
    return this.#table.changed;
  }

  get residentRecords(): number {
    return this.#table.size;
  }

  /** Fixes the cut of a checkpoint at the state as it is; at once, however much has changed. */
  freeze(): void {
    this.#table.freeze();
  }

  /**
   * Adds up to `max` records of the cut to `into`, each key once; true when the cut is complete.
   */
  capture(max: number, into: CapturedRecord[]): boolean {
    return this.#table.capture(max, into);
  }

  /** The cut is complete and durable: its records may be evicted, and the next freeze may come. */
  thaw(): void {
    this.#table.thaw();
  }

  /**
   * Drops clean records beyond the bound, those not used lately first; looks at most at `maxSteps`.
   */
  evict(maxSteps: number): number {
    return this.#table.evict(this.#options.maxResidentRecords, maxSteps);
  }

  /** Called by the record table: a stream was evicted. */
  evicted(resident: Resident<RecordContent>): void {
    if (resident === this.#lastStream) this.#lastStream = undefined;
    this.#streams.delete(resident.key.slice(resident.key.indexOf('/') + 1));
  }

  #started(): Meta {
    assert(this.#meta !== undefined, 'machine: not started');
    return this.#meta.content;
  }

  #stream(node: string): Resident<Stream> | undefined {
    let stream = this.#lastStream;
    if (stream === undefined || node !== this.#lastNode) {
      stream = this.#streams.get(node);
      if (stream === undefined) return undefined;
      this.#lastStream = stream;
      this.#lastNode = node;
    }
    stream.used = true;
    return stream;
  }

  #enqueueKeys(command: EnqueueCommand): readonly RecordKey[] {
    let missing: RecordKey[] | undefined;
    if (this.#stream(command.node) === undefined) missing = [streamKey(command.node)];
    const { targets } = command;
    for (let i = 0; i < targets.length; i += 1) {
      const state = this.#definitions.get(targets[i] as QueueId);
      if (state === undefined || state.use()) continue;
      missing ??= [];
      missing.push(queueKey(state.queueId));
    }
    return missing ?? NONE;
  }

  #settleKeys(command: SettleCommand): readonly RecordKey[] {
    const state = this.#definitions.get(command.queueId);
    if (state === undefined || command.groupId !== DEFAULT_GROUP) return NONE;
    if (state.use() && state.group.isReadyFor(command.offset)) return NONE;
    if (!state.isResident) return this.queueKeys(command.queueId);
    const keys: RecordKey[] = [];
    state.group.needs(command.offset, keys);
    return keys;
  }

  #loadOfQueue(kind: string, rest: string, data: RecordData | undefined): void {
    const [queueId, , chunk = Number.NaN] = rest.split('/').map(Number);
    const state = this.#definitions.get(queueId as QueueId);
    // The queue was deleted since its record was asked for.
    if (state === undefined) return;
    const { group } = state;
    switch (kind) {
      case 'queue':
        if (!state.hasQueue()) state.loadQueue(stored(data));
        return;
      case 'group':
        if (!group.isResident) state.loadGroup(stored(data));
        return;
      case 'settled':
        if (group.lacksSettled(chunk)) group.loadSettled(chunk, stored(data));
        return;
      case 'attempts':
        if (group.lacksAttempts(chunk)) group.loadAttempts(chunk, stored(data));
        return;
      default:
        assert(false, 'load: an unknown kind of record');
    }
  }

  #enqueue(command: EnqueueCommand, effects: Effects): void {
    const { targets } = command;
    const stream = this.#inTurn(command, effects);
    if (stream === undefined) return;
    assert(targets.length <= MAX_TARGETS, 'enqueue: too many targets');
    let stored = 0;
    for (let i = 0; i < targets.length; i += 1) {
      const state = this.#definitions.get(targets[i] as QueueId);
      if (state === undefined || (i > 0 && targets.indexOf(targets[i] as QueueId) !== i)) continue;
      effects.addEnqueued(state.queueId, state.append(command.bytes), command.bytes);
      stored += 1;
    }
    if (stored === 0) stream.refuse(NO_QUEUE);
    else stream.accept();
    effects.addConfirmed(command, stored === 0 ? NO_QUEUE : ACCEPTED);
  }

  #void(command: VoidCommand, effects: Effects): void {
    const stream = this.#inTurn(command, effects);
    if (stream === undefined) return;
    const code = outcomeCode(command.reason);
    stream.refuse(code);
    effects.addConfirmed(command, code);
  }

  /**
   * The stream, about to change, if this number's turn is now; otherwise its outcome is told again.
   */
  #inTurn(command: EnqueueCommand | VoidCommand, effects: Effects): Stream | undefined {
    const resident = this.#stream(command.node);
    assert(resident !== undefined, 'apply: the stream is not loaded');
    this.#table.touch(resident);
    const stream = resident.content;
    stream.answered(command.boot, command.answeredUpTo);
    const outcome = stream.check(command.boot, command.number);
    if (outcome === IN_TURN) return stream;
    effects.addConfirmed(command, outcome);
    return undefined;
  }

  #openStream(node: string, effects: Effects): void {
    const resident = this.#stream(node);
    assert(resident !== undefined, 'apply: the stream is not loaded');
    this.#table.touch(resident);
    effects.addRare({ kind: 'stream-opened', node, boot: resident.content.open() });
  }

  /**
   * A queue, group or offset that does not exist, or an offset that is settled: nothing, and no
   * effect.
   */
  #settle(command: SettleCommand, effects: Effects): void {
    const { queueId, groupId, offset } = command;
    const state = this.#definitions.get(queueId);
    if (state === undefined || groupId !== DEFAULT_GROUP || !state.isUnsettled(offset)) return;
    if (command.outcome === 'requeue') {
      this.#requeue(state, command, effects);
      return;
    }
    const floor = state.settle(offset);
    effects.finishSettled(
      effects.addSettled(queueId, groupId, offset),
      floor,
      command.outcome === 'discard',
    );
  }

  #requeue(state: QueueState, command: SettleCommand, effects: Effects): void {
    const { queueId, groupId, offset, cause } = command;
    let attempts = state.group.attempts(offset);
    let due = 0;
    if (cause !== 'returned') {
      attempts += 1;
      const ended = { queueId, offset, attempts, cause };
      due = notBefore(ended, state.definition.limits, this.#started().lastStamp);
      state.group.setAttempts(offset, attempts, due);
    }
    effects.finishRequeued(effects.addRequeued(queueId, groupId, offset), attempts, due);
  }
}

/** Data of a record that another record says exists. */
function stored(data: RecordData | undefined): RecordData {
  assert(data !== undefined, 'load: a record is missing in the store');
  return data;
}

function setVersion(command: SetVersionCommand, meta: Meta, effects: Effects): void {
  const { version } = command;
  if (isVersionAllowed(version, meta.version)) {
    meta.version = version;
    effects.addRare({ kind: 'version-set', version });
  } else {
    effects.addRare({ kind: 'version-refused', version, inForce: meta.version });
  }
}
