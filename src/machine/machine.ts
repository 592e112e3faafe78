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
 * The parts: `definitions` `queue` `group` (`settled-ranges`, `attempts`) `streams` `version` and
 * those of `parts` are the records, `record-table` is their memory and their checkpoint, `commands`
 * leads to the files that say what the commands do. Deliveries are no state of the machine:
 * `dispatch-policy`.
 */

import { assert, isCount } from './assert.ts';
import type { Command, Position } from './command.ts';
import { Commands } from './commands.ts';
import { Definitions, type DefinedQueue } from './definition-commands.ts';
import type { QueueDefinition } from './definitions.ts';
import type { DispatchStart } from './dispatch-policy.ts';
import type { Effects, GroupView, Intent } from './effect.ts';
import { offsetOf } from './group-commands.ts';
import {
  DELAYED_QUEUE,
  type GroupId,
  type LogIndex,
  type Offset,
  type QueueId,
  type StampMs,
  shardOf,
} from './ids.ts';
import type { LostGroup } from './lost-groups.ts';
import type { Names, QueuePlace } from './names.ts';
import { Parts } from './parts.ts';
import { placeOf } from './place-commands.ts';
import type { QueueState } from './queue.ts';
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
import type { SessionRecords } from './session-record.ts';
import type { WillRecords } from './session-will-record.ts';
import type { ShardMap } from './shard-map.ts';
import type { Stream } from './streams.ts';
import { Meta } from './version.ts';

export interface MachineOptions {
  /** Clean records kept beyond this many are evicted by `evict`; definitions do not count. */
  readonly maxResidentRecords: number;
  /**
   * The first queueId that a new shard gives; the same on all of its replicas. Default 1. It tells
   * which shard this is (`shardOf`): 0 says where names live, the others are told by it.
   */
  readonly firstQueueId?: number | undefined;
  /** An integer of 32 bits that nobody outside can know; see `QueueNames`. Default 0. */
  readonly nameSeed?: number;
}

/** From what the deliveries of a group start. */
export interface GroupDispatchStart extends DispatchStart {
  readonly filter: string;
  /** Older messages are not yet filtered: the leader looks at their topics. */
  readonly filterFrom: Offset;
  /** Its settlements were lost: nothing is to be delivered until `group-sought` or `-released`. */
  readonly lost: LostGroup | undefined;
  /**
   * By chunk of 4,096 offsets, two priorities a byte, the even offset in the low half; a chunk that
   * is missing has none above 0. Undefined: no message has one.
   */
  readonly priorities: ReadonlyMap<number, Uint8Array> | undefined;
}

const NONE: readonly RecordKey[] = Object.freeze([]);

export class Machine {
  readonly #options: MachineOptions;
  readonly #table = new RecordTable();
  readonly #definitions: Definitions;
  readonly #senders = new Senders(this.#table);
  readonly #parts: Parts;
  readonly #commands: Commands;
  #meta: Resident<Meta> | undefined;

  constructor(options: MachineOptions) {
    assert(isCount(options.maxResidentRecords), 'machine: maxResidentRecords must be a count');
    this.#options = options;
    const { nameSeed = 0, firstQueueId = 1 } = options;
    this.#definitions = new Definitions(this.#table, nameSeed);
    this.#parts = new Parts(this.#table, { shard: shardOf(firstQueueId as QueueId), nameSeed });
    this.#commands = new Commands(this.#definitions, this.#senders, this.#parts);
  }

  /** At the start: load what this names and ask again, until it is empty. */
  startKeys(): readonly RecordKey[] {
    const meta = this.#meta;
    if (meta === undefined) return [META_KEY];
    const missing = meta.content.definitionChunks.filter(
      (chunk) => !this.#definitions.hasChunk(chunk),
    );
    const keys = [...missing.map(definitionsKey), ...this.#parts.startKeys()];
    return keys.length === 0 ? NONE : keys;
  }

  /** What `apply(command)` with this stamp needs; load and ask again until it is empty. */
  keys(command: Command, stamp: StampMs): readonly RecordKey[] {
    return this.#commands.keys(command, stamp);
  }

  /** A record as the store has it; undefined: it has none. A resident one is left as it is. */
  load(key: RecordKey, data: RecordData | undefined): void {
    const slash = key.indexOf('/');
    const kind = slash === -1 ? key : key.slice(0, slash);
    const rest = key.slice(slash + 1);
    if (kind === 'meta') {
      // A new shard has no record at all, so what is missing is not evidence of damage here.
      this.#meta ??= new Resident(
        META_KEY,
        data === undefined ? new Meta(this.#options.firstQueueId) : Meta.fromData(data),
        this.#definitions,
      );
    } else if (kind === 'stream') {
      this.#senders.load(rest, data);
    } else if (kind === 'definitions') {
      const chunk = Number(rest);
      if (!this.#started().definitionChunks.includes(chunk)) return;
      this.#definitions.load(chunk, stored(data));
    } else if (!this.#parts.load(kind, rest, data)) {
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
    this.#commands.apply(command, state, effects);
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

  /** What `stream` needs; load and ask again until it is empty. */
  streamKeys(node: string): readonly RecordKey[] {
    const missing = this.#senders.missing(node);
    return missing === undefined ? NONE : [missing];
  }

  /** How far a sender's stream is, by all that is applied; not to be changed. */
  stream(node: string): Pick<Stream, 'boot' | 'last' | 'refusedAbove'> | undefined {
    return this.#senders.stream(node);
  }

  /** Goes up whenever a definition changes. */
  get definitionsVersion(): number {
    return this.#definitions.version;
  }

  get queueCount(): number {
    return this.#definitions.size;
  }

  /** In ascending order. */
  queueIds(): QueueId[] {
    return this.#definitions.ids();
  }

  /** Those of which something is in memory; in ascending order. */
  awakeQueueIds(): QueueId[] {
    return this.#definitions.awakeIds();
  }

  /** In no order. */
  queueNames(): string[] {
    return this.#definitions.names();
  }

  /** In order of queueId. A definition is made for each: not where there may be many. */
  queues(): DefinedQueue[] {
    return this.queueIds().flatMap((queueId) => {
      const definition = this.definition(queueId);
      return definition === undefined ? [] : [{ queueId, definition }];
    });
  }

  queueNamed(name: string): DefinedQueue | undefined {
    return this.#definitions.named(name);
  }

  /** The number of this shard; `SHARDS_MAX` or more: it is in memory. */
  get shard(): number {
    return this.#parts.shard;
  }

  /** In which shard queues of this name are or are to be, where this is shard 0. */
  placeOf(name: string): QueuePlace | undefined {
    return placeOf(name, { defined: this.#definitions, parts: this.#parts });
  }

  /** Of shard 0; of others empty. Another object whenever it is another map. */
  get shardMap(): ShardMap {
    return this.#parts.shards.map;
  }

  /** Names that live in other shards. */
  get placedNames(): Pick<Names, 'size' | 'chunkBehind'> {
    return this.#parts.names;
  }

  /** Durable sessions by their queue: to be read alone. */
  get sessions(): Pick<SessionRecords, 'need' | 'peek'> {
    return this.#parts.sessions;
  }

  /** Their wills; the same. */
  get wills(): Pick<WillRecords, 'need' | 'peek'> {
    return this.#parts.wills;
  }

  definition(queueId: QueueId): QueueDefinition | undefined {
    return this.#definitions.definition(queueId);
  }

  /**
   * Records to load so that `start`, `groups`, `groupNamed` and `depth` are known and that
   * `lowestWanted` is exact; load and ask again until it is empty.
   */
  queueKeys(queueId: QueueId): readonly RecordKey[] {
    return this.#keysOf(queueId, (state, keys) => state.missing(keys));
  }

  /** The first offset that is kept; undefined until `queueKeys` were loaded. */
  start(queueId: QueueId): Offset | undefined {
    const state = this.#queue(queueId);
    return state?.hasQueue === true ? (state.queue.start as Offset) : undefined;
  }

  /** Undefined until `queueKeys` were loaded once. */
  nextOffset(queueId: QueueId): Offset | undefined {
    return this.#queue(queueId)?.nextOffset;
  }

  /**
   * Nothing below is wanted by a group, kept by the queue, or needed by an open intent. Never too
   * high, and exact after `queueKeys` were loaded; undefined until they were loaded once, and when
   * the queue is gone and no intent needs a message of it.
   */
  lowestWanted(queueId: QueueId): Offset | undefined {
    const leaving = this.#parts.outbox.lowestWanted(queueId);
    const state = this.#queue(queueId);
    if (state === undefined) return leaving === Infinity ? undefined : (leaving as Offset);
    const own = state.lowestWanted;
    return own === undefined || own <= leaving ? own : (leaving as Offset);
  }

  /** All queues that may hold payloads: those that are defined, and deleted ones with intents. */
  heldQueues(): QueueId[] {
    const gone = this.#parts.outbox.queues().filter((each) => !this.#isThere(each));
    return [DELAYED_QUEUE, ...this.queueIds(), ...gone];
  }

  /**
   * Unsettled messages of the group that has most of them; of a stream and of a queue without
   * groups, all that is kept. Undefined when `queueKeys` is not empty.
   */
  depth(queueId: QueueId): number | undefined {
    const state = this.#queue(queueId);
    return state?.isResident === true ? state.length() : undefined;
  }

  /** In order of groupId; undefined when `queueKeys` is not empty. */
  groups(queueId: QueueId): GroupView[] | undefined {
    const state = this.#queue(queueId);
    if (state?.isResident !== true) return undefined;
    return state.queue.groups.map((entry) => state.view(entry));
  }

  /** Undefined: there is no such group, or `queueKeys` is not empty. */
  groupNamed(queueId: QueueId, name: string): GroupView | undefined {
    const state = this.#queue(queueId);
    const entry = state?.isResident === true ? state.named(name) : undefined;
    return entry === undefined ? undefined : state?.view(entry);
  }

  /** What `dispatchStart` needs and is not resident; load and ask again until it is empty. */
  dispatchKeys(queueId: QueueId, groupId: GroupId): readonly RecordKey[] {
    return this.#keysOf(queueId, (state, keys) => {
      if (!state.isGroupReady(groupId, keys)) return;
      const group = state.loadedGroup(groupId);
      group.missingChunks(keys);
      if (hasLevels(state)) this.#parts.levels.needsToCopy(queueId, group.floor, keys);
    });
  }

  /**
   * From what a dispatch policy starts; afterwards it lives by the effects. Undefined: no such
   * group.
   */
  dispatchStart(queueId: QueueId, groupId: GroupId): GroupDispatchStart | undefined {
    const state = this.#queue(queueId);
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
      lost: this.#parts.lostGroups.held(queueId, groupId),
      priorities: hasLevels(state) ? this.#parts.levels.copy(queueId, group.floor) : undefined,
    };
  }

  /** What `isWanted` needs for offsets from `from` to below `to`. */
  wantedKeys(queueId: QueueId, from: Offset, to: Offset): readonly RecordKey[] {
    return this.#keysOf(queueId, (state, keys) => state.wantedNeeds(from, to, keys));
  }

  /** Must the message be kept? False also for one that never was. */
  isWanted(queueId: QueueId, offset: Offset): boolean {
    if (this.#parts.outbox.wants(queueId, offset)) return true;
    return this.#queue(queueId)?.isWanted(offset) === true;
  }

  /** Groups that are held because their settlements were lost. */
  lostGroups(): LostGroup[] {
    return this.#parts.lostGroups.list();
  }

  lostGroup(queueId: QueueId, groupId: GroupId): LostGroup | undefined {
    return this.#parts.lostGroups.held(queueId, groupId);
  }

  /** A message of the queue below this that is stored nowhere was settled by all; often 0. */
  goneBelow(queueId: QueueId): Offset {
    return this.#parts.lostGroups.goneBelow(queueId);
  }

  /** Open intents above `after`, in order, at most `max`. */
  openIntents(after: number, max: number): Intent[] {
    return this.#parts.outbox.after(after, max);
  }

  /** Of the numbers of messages on their way to this shard; goes with each of them. */
  lowestRoute(shard: number): number {
    return this.#parts.outbox.lowestRoute(shard);
  }

  get openIntentCount(): number {
    return this.#parts.outbox.openCount;
  }

  /** Messages of the queue that are on their way to another one. */
  leaving(queueId: QueueId): number {
    return this.#parts.outbox.leaving(queueId);
  }

  /** The stamp from which on a `fire-timers` does something; Infinity: none is needed. */
  nextTimer(): number {
    return this.#parts.nextTimer();
  }

  /** What `offsetAt` needs. */
  positionKeys(queueId: QueueId, position: Position): readonly RecordKey[] {
    return this.#keysOf(queueId, (state, keys) => {
      if (state.use()) offsetOf(state, position, { parts: this.#parts, keys });
      else keys.push(queueKey(queueId));
    });
  }

  /** From `start` to `nextOffset`. Undefined: there is no such queue. */
  offsetAt(queueId: QueueId, position: Position): Offset | undefined {
    const state = this.#queue(queueId);
    if (state === undefined) return undefined;
    return offsetOf(state, position, { parts: this.#parts, keys: [] }) as Offset;
  }

  /** Records changed since the last freeze, a large one counted as several. */
  get dirtyRecords(): number {
    return this.#table.changedWeight;
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

  #queue(queueId: QueueId): QueueState | undefined {
    const definitions = this.#definitions;
    return queueId === DELAYED_QUEUE ? definitions.waiting : definitions.get(queueId);
  }

  #isThere(queueId: QueueId): boolean {
    return queueId === DELAYED_QUEUE || this.#definitions.has(queueId);
  }

  /** Keys for something that concerns one queue; none if it does not exist. */
  #keysOf(
    queueId: QueueId,
    collect: (state: QueueState, keys: RecordKey[]) => void,
  ): readonly RecordKey[] {
    const state = this.#queue(queueId);
    if (state === undefined) return NONE;
    const keys: RecordKey[] = [];
    collect(state, keys);
    return keys.length === 0 ? NONE : keys;
  }

  #loadOfQueue(kind: string, rest: string, data: RecordData | undefined): void {
    const [queueId, groupId, chunk = Number.NaN] = rest.split('/').map(Number);
    const state = this.#queue(queueId as QueueId);
    // The queue was deleted since its record was asked for.
    if (state === undefined) return;
    switch (kind) {
      case 'queue':
        if (!state.hasQueue) state.loadQueue(queueId === DELAYED_QUEUE ? data : stored(data));
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
}

function hasLevels(state: QueueState): boolean {
  return state.definition.limits.maxPriority > 0;
}
