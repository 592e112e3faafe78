/**
 * The outbox: intents, each a message that leaves its queue for another one (dead letter, move,
 * delayed message that is due).
 *
 * An intent is committed first; then the leader reads the payload and proposes the transfer, which
 * appends at the target and closes the intent in one. Until then the payload stays wanted, also
 * past purge, retention and deletion of its queue. Numbers go from 1 and are never used again, so a
 * transfer that comes twice finds nothing.
 *
 * A message that goes to a queue of another shard is *routed* first: its target is fixed, and it
 * gets a number towards that shard (`routes.ts`), under which it is stored there once. It stays so
 * until the other shard has said what became of it.
 *
 * All open intents are in memory, in records of `INTENT_CHUNK` consecutive numbers; so there are at
 * most `MAX_OPEN_INTENTS`. At the bound a move is refused, a delayed message waits, and a dead
 * letter stays in its queue and is tried again: nothing is lost.
 */

import { assert } from './assert.ts';
import { INTENT_REASONS, type Intent } from './effect.ts';
import { type GroupId, type Offset, type QueueId, type StampMs, shardOf } from './ids.ts';
import { type RecordData, type RecordKey, countOf, listOf, stringOf } from './record-data.ts';
import {
  type RecordContent,
  type RecordHolder,
  type RecordTable,
  Resident,
} from './record-table.ts';
import { Routes } from './routes.ts';
import { WantedOffsets } from './wanted-offsets.ts';

export const MAX_OPEN_INTENTS = 65_536;
const INTENT_CHUNK = 256;
const TARGET_KINDS = ['name', 'queues', 'source'] as const;

/** The intents of consecutive numbers that are open, in order. */
class IntentChunk implements RecordContent {
  readonly weight = 64;
  readonly intents = new Map<number, Intent>();

  static fromData(data: RecordData): IntentChunk {
    const [format, ...rows] = listOf(data);
    assert(format === 1, 'outbox: unknown format');
    const chunk = new IntentChunk();
    for (const row of rows) {
      const intent = intentOf(row);
      chunk.intents.set(intent.number, intent);
    }
    return chunk;
  }

  toData(): RecordData {
    return [1, ...[...this.intents.values()].map(intentData)];
  }
}

class Head implements RecordContent {
  nextNumber = 1;
  /** Chunks with open intents, ascending. */
  chunks: number[] = [];
  readonly routes = new Routes();

  static fromData(data: RecordData): Head {
    const [format, nextNumber, chunks, routes] = listOf(data);
    assert(format === 1, 'outbox: unknown format');
    const head = new Head();
    head.nextNumber = countOf(nextNumber);
    head.chunks = listOf(chunks).map(countOf);
    if (routes !== undefined) head.routes.restore(listOf(routes));
    return head;
  }

  toData(): RecordData {
    const routes = this.routes.toRows();
    const rows = [1, this.nextNumber, [...this.chunks]];
    return routes.length === 0 ? rows : [...rows, routes];
  }
}

export const OUTBOX_KEY = 'outbox' as RecordKey;

function intentKey(chunk: number): RecordKey {
  return `intent/${chunk}` as RecordKey;
}

export class Outbox implements RecordHolder {
  readonly #table: RecordTable;
  #head: Resident<Head> | undefined;
  readonly #chunks = new Map<number, Resident<IntentChunk>>();
  readonly #wanted = new WantedOffsets();
  #count = 0;

  constructor(table: RecordTable) {
    this.#table = table;
  }

  /** At the start: load what this names and ask again, until it is empty. */
  missing(): RecordKey[] {
    if (this.#head === undefined) return [OUTBOX_KEY];
    return this.#head.content.chunks.filter((each) => !this.#chunks.has(each)).map(intentKey);
  }

  loadHead(data: RecordData | undefined): void {
    const head = data === undefined ? new Head() : Head.fromData(data);
    this.#head ??= new Resident(OUTBOX_KEY, head, this);
  }

  loadChunk(chunk: number, data: RecordData | undefined): void {
    if (this.#chunks.has(chunk)) return;
    assert(data !== undefined, 'outbox: a record is missing in the store');
    const content = IntentChunk.fromData(data);
    this.#chunks.set(chunk, new Resident(intentKey(chunk), content, this));
    this.#count += content.intents.size;
    const { routes } = this.#started();
    for (const { queueId, offset, route } of content.intents.values()) {
      this.#wanted.add(queueId, offset);
      if (route !== undefined) routes.add(shardOf(route.queueId), route.number);
    }
  }

  get openCount(): number {
    return this.#count;
  }

  /** How many more may be opened. */
  get room(): number {
    return MAX_OPEN_INTENTS - this.#count;
  }

  /** There is room. */
  open(asked: Omit<Intent, 'number' | 'refusals' | 'route'>): Intent {
    assert(this.room > 0, 'outbox: full');
    const head = this.#touchedHead();
    const intent: Intent = { ...asked, number: head.nextNumber, refusals: 0, route: undefined };
    head.nextNumber += 1;
    this.#chunkFor(intent.number, head).intents.set(intent.number, intent);
    this.#count += 1;
    this.#wanted.add(intent.queueId, intent.offset);
    return intent;
  }

  get(number: number): Intent | undefined {
    return this.#chunks.get(chunkOf(number))?.content.intents.get(number);
  }

  /** The transfer was refused: it is tried again. */
  refuse(number: number): void {
    const intent = this.get(number);
    assert(intent !== undefined, 'outbox: no such intent');
    const { intents } = this.#chunkFor(number, this.#touchedHead());
    intents.set(number, { ...intent, refusals: intent.refusals + 1 });
  }

  /** It is on its way to this queue of another shard; undefined: not now, there are too many. */
  route(number: number, queueId: QueueId): Intent | undefined {
    const intent = this.get(number);
    assert(intent !== undefined && intent.route === undefined, 'outbox: not to be routed');
    const head = this.#touchedHead();
    const given = head.routes.give(shardOf(queueId));
    if (given === undefined) return undefined;
    const routed = { ...intent, route: { queueId, number: given } };
    this.#chunkFor(number, head).intents.set(number, routed);
    return routed;
  }

  /** It is not on its way any more; `next` as the other shard has told it. */
  endRoute(number: number, next: number): void {
    const intent = this.get(number);
    assert(intent?.route !== undefined, 'outbox: not routed');
    const head = this.#touchedHead();
    const shard = shardOf(intent.route.queueId);
    head.routes.remove(shard, intent.route.number);
    head.routes.skipTo(shard, next);
    const ended = { ...intent, route: undefined, refusals: intent.refusals + 1 };
    this.#chunkFor(number, head).intents.set(number, ended);
  }

  /** The lowest number towards this shard that is open, or comes next. */
  lowestRoute(shard: number): number {
    return this.#started().routes.lowest(shard);
  }

  /** It is done, one way or another. */
  close(number: number): Intent {
    const intent = this.get(number);
    assert(intent !== undefined, 'outbox: no such intent');
    const head = this.#touchedHead();
    const { route } = intent;
    if (route !== undefined) head.routes.remove(shardOf(route.queueId), route.number);
    const chunk = chunkOf(number);
    const { intents } = this.#chunkFor(number, head);
    intents.delete(number);
    if (intents.size === 0) {
      this.#table.remove(this.#chunks.get(chunk) as Resident<IntentChunk>);
      this.#chunks.delete(chunk);
      head.chunks.splice(head.chunks.indexOf(chunk), 1);
    }
    this.#count -= 1;
    this.#wanted.remove(intent.queueId, intent.offset);
    return intent;
  }

  /** Open ones above `number`, ascending, at most `max`. */
  after(number: number, max: number): Intent[] {
    const found: Intent[] = [];
    for (const chunk of this.#started().chunks) {
      if (chunk < chunkOf(number)) continue;
      for (const intent of this.#chunks.get(chunk)?.content.intents.values() ?? []) {
        if (found.length === max) return found;
        if (intent.number > number) found.push(intent);
      }
    }
    return found;
  }

  /** Does an open intent need this message? */
  wants(queueId: QueueId, offset: number): boolean {
    return this.#wanted.has(queueId, offset);
  }

  /** The lowest offset of the queue that an open intent needs; Infinity when none does. */
  lowestWanted(queueId: QueueId): number {
    return this.#wanted.lowest(queueId);
  }

  /** Queues, deleted ones too, of which open intents need a message. */
  queues(): QueueId[] {
    return this.#wanted.queues() as QueueId[];
  }

  /** Messages of the queue that are on their way. */
  leaving(queueId: QueueId): number {
    return this.#wanted.count(queueId);
  }

  evicted(): void {
    assert(false, 'outbox: open intents are never evicted');
  }

  #started(): Head {
    assert(this.#head !== undefined, 'outbox: not loaded');
    return this.#head.content;
  }

  #touchedHead(): Head {
    assert(this.#head !== undefined, 'outbox: not loaded');
    this.#table.touch(this.#head);
    return this.#head.content;
  }

  /** About to change; made when there is none. */
  #chunkFor(number: number, head: Head): IntentChunk {
    const chunk = chunkOf(number);
    let resident = this.#chunks.get(chunk);
    if (resident === undefined) {
      resident = new Resident(intentKey(chunk), new IntentChunk(), this);
      this.#chunks.set(chunk, resident);
      head.chunks.push(chunk);
    }
    this.#table.touch(resident);
    return resident.content;
  }
}

function chunkOf(number: number): number {
  return Math.floor(number / INTENT_CHUNK);
}

function intentData(intent: Intent): RecordData {
  const { number, queueId, groupId, offset, attempts, stamp, target, refusals, route } = intent;
  const reason = INTENT_REASONS.indexOf(intent.reason);
  const kind = TARGET_KINDS.indexOf(target.kind);
  const name = target.kind === 'name' ? target.name : '';
  const queues = target.kind === 'queues' ? [...target.queueIds] : [];
  const row = [number, reason, queueId, groupId, offset, attempts, stamp, refusals, kind, name];
  return route === undefined ? [...row, queues] : [...row, queues, route.queueId, route.number];
}

function intentOf(data: RecordData): Intent {
  const row = listOf(data);
  const [number, reason, queueId, groupId, offset, attempts, stamp, refusals] = row
    .slice(0, 8)
    .map(countOf) as [number, number, number, number, number, number, number, number];
  const word = INTENT_REASONS[reason];
  assert(word !== undefined, 'outbox: an unknown reason');
  return {
    number,
    reason: word,
    queueId: queueId as QueueId,
    groupId: groupId as GroupId,
    offset: offset as Offset,
    attempts,
    stamp: stamp as StampMs,
    target: targetOf(row.slice(8)),
    refusals,
    route: routeOf(row.slice(11)),
  };
}

function routeOf([queueId, number]: readonly RecordData[]): Intent['route'] {
  if (queueId === undefined) return undefined;
  return { queueId: countOf(queueId) as QueueId, number: countOf(number) };
}

function targetOf([kind, name, queues]: readonly RecordData[]): Intent['target'] {
  const word = TARGET_KINDS[countOf(kind)];
  assert(word !== undefined, 'outbox: an unknown target');
  switch (word) {
    case 'name':
      return { kind: 'name', name: stringOf(name) };
    case 'queues':
      return { kind: 'queues', queueIds: listOf(queues).map(countOf) as QueueId[] };
    case 'source':
      return { kind: 'source' };
  }
}
