/**
 * What a shard keeps beside its queues: timers, outbox, what came from other shards, marks,
 * priorities, producers, keys of publishes, the targets of delayed messages, groups whose
 * settlements were lost, durable sessions, and what shards know of each other. And what every
 * command may use.
 *
 * Timers and open intents are found at the start and stay; of the rest only what is in use is in
 * memory.
 */

import { Arrivals } from './arrivals.ts';
import { Delayed } from './delayed.ts';
import type { QueueDefinition } from './definitions.ts';
import type { Effects } from './effect.ts';
import type { QueueId } from './ids.ts';
import { Levels } from './levels.ts';
import { LOST_GROUPS_KEY, LostGroups } from './lost-groups.ts';
import { Marks } from './marks.ts';
import { NAMES_KEY, Names } from './names.ts';
import { OUTBOX_KEY, Outbox } from './outbox.ts';
import { Producers } from './producers.ts';
import { PublishKeys } from './publish-keys.ts';
import type { QueueState } from './queue.ts';
import type { RecordData, RecordKey } from './record-data.ts';
import type { RecordTable } from './record-table.ts';
import { SESSION_KIND, type SessionRecords, sessionRecords } from './session-record.ts';
import { WILL_KIND, type WillRecords, willRecords } from './session-will-record.ts';
import { SHARD_MAP_KEY, Shards } from './shard-map.ts';
import { Timers } from './timers.ts';

export class Parts {
  readonly timers: Timers;
  /** Those of delayed messages: they wait while the outbox is full, and others must not. */
  readonly delays: Timers;
  readonly outbox: Outbox;
  readonly arrivals: Arrivals;
  readonly marks: Marks;
  readonly levels: Levels;
  readonly producers: Producers;
  readonly publishKeys: PublishKeys;
  readonly delayed: Delayed;
  readonly lostGroups: LostGroups;
  readonly names: Names;
  readonly shards: Shards;
  /** Of durable sessions, by their queue. */
  readonly sessions: SessionRecords;
  /** Their wills. */
  readonly wills: WillRecords;

  /** The number of this shard; `SHARDS_MAX` or more: it is one in memory. */
  readonly shard: number;

  /** `nameSeed`: see `QueueNames`. */
  constructor(table: RecordTable, { shard, nameSeed }: { shard: number; nameSeed: number }) {
    this.shard = shard;
    this.timers = new Timers('timers', table);
    this.delays = new Timers('delays', table);
    this.outbox = new Outbox(table);
    this.arrivals = new Arrivals(table);
    this.marks = new Marks(table);
    this.levels = new Levels(table);
    this.producers = new Producers(table);
    this.publishKeys = new PublishKeys(table);
    this.delayed = new Delayed(table);
    this.lostGroups = new LostGroups(table);
    this.names = new Names(table, nameSeed);
    this.shards = new Shards(table);
    this.sessions = sessionRecords(table);
    this.wills = willRecords(table);
  }

  /** At the start: load what this names and ask again, until it is empty. */
  startKeys(): RecordKey[] {
    const keys = [...this.outbox.missing(), ...this.names.missing()];
    if (!this.lostGroups.isLoaded) keys.push(LOST_GROUPS_KEY);
    if (!this.shards.isLoaded) keys.push(SHARD_MAP_KEY);
    for (const wheel of [this.timers, this.delays]) if (!wheel.isLoaded) keys.push(wheel.headKey);
    return keys;
  }

  /** False: it is none of these. `rest` is the key itself where that has no slash. */
  load(kind: string, rest: string, data: RecordData | undefined): boolean {
    switch (kind) {
      case 'timers':
      case 'delays': {
        const wheel = this[kind];
        if (rest === kind) wheel.loadHead(data);
        else wheel.loadChunk(rest, data);
        return true;
      }
      case OUTBOX_KEY:
        this.outbox.loadHead(data);
        return true;
      case LOST_GROUPS_KEY:
        this.lostGroups.load(data);
        return true;
      case NAMES_KEY:
        if (rest === kind) this.names.loadHead(data);
        else this.names.loadChunk(Number(rest), data);
        return true;
      case SHARD_MAP_KEY:
        this.shards.load(data);
        return true;
      case 'intent':
        this.outbox.loadChunk(Number(rest), data);
        return true;
      case 'arrivals':
        this.arrivals.load(rest, data);
        return true;
      case 'marks':
      case 'mark':
      case 'marktop':
        this.marks.load(kind, rest, data);
        return true;
      case 'levels':
      case 'level':
        this.levels.load(kind, rest, data);
        return true;
      case 'producers':
      case 'producer':
      case 'serials':
        this.producers.load(kind, rest, data);
        return true;
      case 'sessions':
      case 'session':
        this.publishKeys.load(kind, rest, data);
        return true;
      case 'delayed':
        this.delayed.load(rest, data);
        return true;
      case SESSION_KIND:
        this.sessions.load(rest, data);
        return true;
      case WILL_KIND:
        this.wills.load(rest, data);
        return true;
      default:
        return false;
    }
  }

  /** When `fire-timers` has something to do; Infinity: not before something else happens. */
  nextTimer(): number {
    const delayed = this.outbox.room > 0 ? this.delays.next() : Infinity;
    return Math.min(this.timers.next(), delayed);
  }
}

/** Where queues are found. */
export interface QueueSource {
  get(queueId: QueueId): QueueState | undefined;
  /** Of a session's queue that is there: other topics, or limits. */
  redefineSession(queueId: QueueId, definition: QueueDefinition): void;
  /** `DELAYED_QUEUE`, which `get` does not give: no command may name it. */
  readonly waiting: QueueState;
}

/** What a command may read to say which records it needs. */
export interface NeedsContext {
  readonly queues: QueueSource;
  readonly parts: Parts;
  /** That with which the command will be applied. */
  readonly stamp: number;
  /** What is not in memory is added here; ask again until nothing is. */
  readonly keys: RecordKey[];
}

/** What a command may use to do its work. */
export interface ApplyContext {
  readonly queues: QueueSource;
  readonly parts: Parts;
  readonly stamp: number;
  readonly effects: Effects;
}
