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
 * the records, `record-table` is their memory and their checkpoint, `enqueue` `settlement`
 * `group-commands` `queue-start` say what the commands do, `backoff` says when a requeued message
 * is due. Deliveries are no state of the machine: `dispatch-policy`.
 */

import { assert, isCount } from './assert.ts';
import type {
  Command,
  EnqueueCommand,
  Position,
  SettleCommand,
  SetVersionCommand,
  VoidCommand,
} from './command.ts';
import { Definitions, type DefinedQueue } from './definition-commands.ts';
import type { QueueDefinition } from './definitions.ts';
import type { DispatchStart } from './dispatch-policy.ts';
import type { Effects, GroupView } from './effect.ts';
import { enqueue, enqueueNeeds } from './enqueue.ts';
import { offsetOf } from './group-commands.ts';
import type { GroupId, LogIndex, Offset, QueueId, StampMs } from './ids.ts';
import type { QueueState } from './queue.ts';
import { applyToQueue, applyWithoutQueue, queueCommandNeeds } from './queue-commands.ts';
import {
  type CapturedRecord,
  META_KEY,
  type RecordData,
  type RecordKey,
  definitionsKey,
  queueKey,
  stored,
} from './record-data.ts';
import { RecordTable, Resident } from './record-table.ts';
import { Senders } from './senders.ts';
import { isSettleReady, settle, settleNeeds } from './settlement.ts';
import { outcomeCode } from './streams.ts';
import { Meta, isVersionAllowed } from './version.ts';

export interface MachineOptions {
  /** Clean records kept beyond this many are evicted by `evict`; definitions do not count. */
  readonly maxResidentRecords: number;
}

/** From what the deliveries of a group start. */
export interface GroupDispatchStart extends DispatchStart {
  readonly filter: string;
  /** Older messages are not yet filtered: the leader looks at their topics. */
  readonly filterFrom: Offset;
}

const NONE: readonly RecordKey[] = Object.freeze([]);
const ACCEPTED = outcomeCode('accepted');

export class Machine {
  readonly #options: MachineOptions;
  readonly #table = new RecordTable();
  readonly #definitions = new Definitions(this.#table);
  readonly #senders = new Senders(this.#table);
  #meta: Resident<Meta> | undefined;

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
      case 'open-stream': {
        const missing = this.#senders.missing(command.node);
        return missing === undefined ? NONE : [missing];
      }
      case 'delete-queue':
        return this.queueKeys(command.queueId);
      case 'settle-range':
      case 'create-group':
      case 'delete-group':
      case 'seek-group':
      case 'idle-group':
      case 'retain':
        return this.#keysOf(command.queueId, (state, keys) =>
          queueCommandNeeds(state, command, keys),
        );
      case 'fire-timers':
      case 'transfer':
      case 'skip-intent':
      case 'move-range':
      case 'release':
      case 'end-session':
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
        this.#definitions,
      );
    } else if (kind === 'stream') {
      this.#senders.load(rest, data);
    } else if (kind === 'definitions') {
      const chunk = Number(rest);
      if (!this.#started().definitionChunks.includes(chunk)) return;
      this.#definitions.load(chunk, stored(data));
    } else {
      this.#loadOfQueue(kind, rest, data);
    }
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
      case 'settle': {
        const queue = this.#definitions.get(command.queueId);
        if (queue !== undefined) settle(queue, command, { stamp, effects });
        return;
      }
      case 'settle-range':
      case 'create-group':
      case 'delete-group':
      case 'seek-group':
      case 'idle-group':
      case 'retain': {
        const queue = this.#definitions.get(command.queueId);
        if (queue === undefined) applyWithoutQueue(command, effects);
        else applyToQueue(queue, command, { stamp, effects });
        return;
      }
      case 'void':
        this.#void(command, effects);
        return;
      case 'open-stream':
        this.#senders.open(command.node, effects);
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
      case 'fire-timers':
      case 'transfer':
      case 'skip-intent':
      case 'move-range':
      case 'release':
      case 'end-session':
        assert(false, 'apply: not known yet');
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
   * Records to load so that `start`, `groups`, `groupNamed` and `depth` are known and `lowestWanted`
   * is exact; load and ask again until it is empty.
   */
  queueKeys(queueId: QueueId): readonly RecordKey[] {
    return this.#keysOf(queueId, (state, keys) => state.missing(keys));
  }

  /** The first offset that is kept; undefined until `queueKeys` were loaded. */
  start(queueId: QueueId): Offset | undefined {
    const state = this.#definitions.get(queueId);
    return state?.hasQueue === true ? (state.queue.start as Offset) : undefined;
  }

  /** Undefined until `queueKeys` were loaded once. */
  nextOffset(queueId: QueueId): Offset | undefined {
    return this.#definitions.get(queueId)?.nextOffset;
  }

  /**
   * Nothing below is wanted by a group or kept by the queue. Never too high, and exact after
   * `queueKeys` were loaded; undefined until they were loaded once.
   */
  lowestWanted(queueId: QueueId): Offset | undefined {
    return this.#definitions.get(queueId)?.lowestWanted;
  }

  /**
   * Unsettled messages of the group that has most of them; of a stream and of a queue without
   * groups, all that is kept. Undefined when `queueKeys` is not empty.
   */
  depth(queueId: QueueId): number | undefined {
    const state = this.#definitions.get(queueId);
    return state?.isResident === true ? state.length() : undefined;
  }

  /** In order of groupId; undefined when `queueKeys` is not empty. */
  groups(queueId: QueueId): GroupView[] | undefined {
    const state = this.#definitions.get(queueId);
    if (state?.isResident !== true) return undefined;
    return state.queue.groups.map((entry) => state.view(entry));
  }

  /** Undefined: there is no such group, or `queueKeys` is not empty. */
  groupNamed(queueId: QueueId, name: string): GroupView | undefined {
    const state = this.#definitions.get(queueId);
    const entry = state?.isResident === true ? state.named(name) : undefined;
    return entry === undefined ? undefined : state?.view(entry);
  }

  /** What `dispatchStart` needs and is not resident; load and ask again until it is empty. */
  dispatchKeys(queueId: QueueId, groupId: GroupId): readonly RecordKey[] {
    return this.#keysOf(queueId, (state, keys) => {
      if (state.isGroupReady(groupId, keys)) state.loadedGroup(groupId).missingChunks(keys);
    });
  }

  /**
   * From what a dispatch policy starts; afterwards it lives by the effects. Undefined: no such
   * group.
   */
  dispatchStart(queueId: QueueId, groupId: GroupId): GroupDispatchStart | undefined {
    const state = this.#definitions.get(queueId);
    const entry = state?.entry(groupId);
    if (state === undefined || entry === undefined) return undefined;
    const group = state.loadedGroup(groupId);
    return {
      floor: group.floor as Offset,
      nextOffset: state.queue.nextOffset as Offset,
      limits: state.definition.limits,
      settled: group.copySettled(),
      requeued: group.requeued(),
      filter: entry.filter,
      filterFrom: entry.filterFrom as Offset,
    };
  }

  /** What `isWanted` needs for offsets from `from` to below `to`. */
  wantedKeys(queueId: QueueId, from: Offset, to: Offset): readonly RecordKey[] {
    return this.#keysOf(queueId, (state, keys) => state.wantedNeeds(from, to, keys));
  }

  /** Must the message be kept? False also for one that never was, and where the queue is gone. */
  isWanted(queueId: QueueId, offset: Offset): boolean {
    return this.#definitions.get(queueId)?.isWanted(offset) === true;
  }

  /** What `offsetAt` needs. */
  positionKeys(queueId: QueueId, position: Position): readonly RecordKey[] {
    void position;
    return this.#keysOf(queueId, (state, keys) => {
      if (!state.use()) keys.push(queueKey(queueId));
    });
  }

  /** From `start` to `nextOffset`. Undefined: there is no such queue. */
  offsetAt(queueId: QueueId, position: Position): Offset | undefined {
    const state = this.#definitions.get(queueId);
    return state === undefined ? undefined : (offsetOf(state, position) as Offset);
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

  #started(): Meta {
    assert(this.#meta !== undefined, 'machine: not started');
    return this.#meta.content;
  }

  /** Keys for something that concerns one queue; none if it does not exist. */
  #keysOf(
    queueId: QueueId,
    collect: (state: QueueState, keys: RecordKey[]) => void,
  ): readonly RecordKey[] {
    const state = this.#definitions.get(queueId);
    if (state === undefined) return NONE;
    const keys: RecordKey[] = [];
    collect(state, keys);
    return keys.length === 0 ? NONE : keys;
  }

  #enqueueKeys(command: EnqueueCommand): readonly RecordKey[] {
    const stream = this.#senders.missing(command.node);
    let missing = stream === undefined ? undefined : [stream];
    const { targets } = command;
    for (let i = 0; i < targets.length; i += 1) {
      const state = this.#definitions.get(targets[i] as QueueId);
      if (state === undefined) continue;
      if (!state.use()) {
        missing ??= [];
        missing.push(queueKey(state.queueId));
      } else if (!state.isPlain) {
        missing ??= [];
        enqueueNeeds(state, command, missing);
      }
    }
    return missing === undefined || missing.length === 0 ? NONE : missing;
  }

  #settleKeys(command: SettleCommand): readonly RecordKey[] {
    const state = this.#definitions.get(command.queueId);
    if (state === undefined || isSettleReady(state, command)) return NONE;
    const keys: RecordKey[] = [];
    settleNeeds(state, command, keys);
    return keys.length === 0 ? NONE : keys;
  }

  #loadOfQueue(kind: string, rest: string, data: RecordData | undefined): void {
    const [queueId, groupId, chunk = Number.NaN] = rest.split('/').map(Number);
    const state = this.#definitions.get(queueId as QueueId);
    // The queue was deleted since its record was asked for.
    if (state === undefined) return;
    switch (kind) {
      case 'queue':
        if (!state.hasQueue) state.loadQueue(stored(data));
        return;
      case 'group':
        state.loadGroup(groupId as GroupId, data);
        return;
      case 'settled': {
        const group = state.group(groupId as GroupId);
        if (group?.lacksSettled(chunk) === true) group.loadSettled(chunk, stored(data));
        return;
      }
      case 'attempts': {
        const group = state.group(groupId as GroupId);
        if (group?.lacksAttempts(chunk) === true) group.loadAttempts(chunk, stored(data));
        return;
      }
      default:
        assert(false, 'load: an unknown kind of record');
    }
  }

  #enqueue(command: EnqueueCommand, effects: Effects): void {
    const stream = this.#senders.inTurn(command, effects);
    if (stream === undefined) return;
    const outcome = enqueue(this.#definitions, command, effects);
    if (outcome === ACCEPTED) stream.accept();
    else stream.refuse(outcome);
    effects.addConfirmed(command, outcome);
  }

  #void(command: VoidCommand, effects: Effects): void {
    const stream = this.#senders.inTurn(command, effects);
    if (stream === undefined) return;
    const code = outcomeCode(command.reason);
    stream.refuse(code);
    effects.addConfirmed(command, code);
  }
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
