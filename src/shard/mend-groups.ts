/**
 * What a start does with damaged records of groups: it names them, and puts groups in their place
 * that say what is not known any more (`machine/lost-groups.ts`), so that all other queues and
 * groups go on.
 *
 * The store has proved that nothing is wrong but the unreadable records. Their keys may be damaged
 * too, so what is lost is found from the other side: every record that a queue or a group says it
 * has, and that is not there. Unless that explains every unreadable record, nothing is mended; nor
 * where anything but groups is concerned (definitions, queues, timers, outbox and the like: of
 * those too much would have to be guessed). Then the start is refused and nothing was changed.
 */

import { StorageError } from '#storage';
import type { Mend, RecordDamage, StoredRecord } from '#storage';
import { definitionRows } from '../machine/definitions-chunk.ts';
import { Group } from '../machine/group.ts';
import type { GroupId, Offset, QueueId } from '../machine/ids.ts';
import {
  LOST_GROUPS_KEY,
  LOST_GROUPS_MAX,
  type LostGroup,
  lostGroupsData,
  lostGroupsOf,
} from '../machine/lost-groups.ts';
import type { GroupEntry } from '../machine/group-entry.ts';
import { Queue } from '../machine/queue.ts';
import {
  type RecordData,
  attemptsKey,
  groupKey,
  queueKey,
  settledKey,
} from '../machine/record-data.ts';
import { SettledRanges } from '../machine/settled-ranges.ts';
import { SALVAGE } from './recovery.ts';
import { decodeRecord, encodeRecord } from './record-codec.ts';
import type { PlainData } from './record-codec.ts';

const NAMED_MAX = 8;

/** For `openLevelRecords`. */
export async function mendGroups(damage: RecordDamage): Promise<Mend> {
  const names = await namesOf(damage);
  const found = await new Search(damage, names).all();
  if (found.explained !== damage.unreadable.length) throw refused(damage, names);
  const before = await recordAt(damage, LOST_GROUPS_KEY);
  const rows = [...(before === undefined ? [] : lostGroupsOf(before)), ...found.lost];
  if (rows.length > LOST_GROUPS_MAX) throw refused(damage, names);
  const put = [...found.put, stored(LOST_GROUPS_KEY, lostGroupsData(rows))];
  return { put: rows.length === 0 ? found.put : put, remove: found.remove };
}

/**
 * For a node of a cluster, where a group that is held there alone would set it apart: rejects, and
 * names what cannot be read.
 */
export async function nameDamaged(damage: RecordDamage): Promise<Mend> {
  throw new StorageError('damaged', wordsOfDamage(damage, await namesOf(damage)));
}

type Names = ReadonlyMap<QueueId, string>;

/** Goes through all groups; reads every record of them once. */
class Search {
  readonly lost: LostGroup[] = [];
  readonly put: StoredRecord[] = [];
  readonly remove: string[] = [];
  /** How many of the unreadable records are known to be of the groups found. */
  explained = 0;
  readonly #damage: RecordDamage;
  readonly #names: Names;

  constructor(damage: RecordDamage, names: Names) {
    this.#damage = damage;
    this.#names = names;
  }

  async all(): Promise<this> {
    for (const queueId of this.#names.keys()) {
      const data = await recordAt(this.#damage, queueKey(queueId));
      // Not to be explained: the start is refused.
      if (data === undefined) continue;
      const queue = Queue.fromData(data);
      for (const entry of queue.groups) await this.#look(queueId, queue, entry);
    }
    return this;
  }

  async #look(queueId: QueueId, queue: Queue, { groupId, name }: GroupEntry): Promise<void> {
    const damage = this.#damage;
    const head = await recordAt(damage, groupKey(queueId, groupId));
    const group = head === undefined ? undefined : Group.fromData(head);
    const missing = group === undefined ? 1 : await this.#missing(queueId, groupId, group);
    if (missing === 0) return;
    const ofGroup = [`settled/${queueId}/${groupId}/`, `attempts/${queueId}/${groupId}/`];
    this.explained += missing;
    if (group === undefined) {
      this.explained += damage.unreadable.filter((key) => isIn(ofGroup, key)).length;
    }
    const floor = Math.max(queue.start, group?.ranges.floor ?? 0);
    const ranges = SettledRanges.fromData([floor, 0], []);
    this.put.push(stored(groupKey(queueId, groupId), new Group(ranges).toData()));
    for (const prefix of ofGroup) {
      for await (const page of damage.iterate(prefix)) {
        this.remove.push(...page.map(({ key }) => key));
      }
    }
    const [from, through] = [floor as Offset, queue.nextOffset as Offset];
    if (from < through) this.lost.push({ queueId, groupId, name, from, through, held: true });
  }

  /** How many of the records that the group says it has are not there. */
  async #missing(queueId: QueueId, groupId: GroupId, group: Group): Promise<number> {
    const keys = [
      ...[...group.ranges.bitmaps()].map((chunk) => settledKey(queueId, groupId, chunk)),
      ...[...group.attempts.keys()].map((chunk) => attemptsKey(queueId, groupId, chunk)),
    ];
    let missing = 0;
    for (const key of keys) if ((await this.#damage.get(key)) === undefined) missing += 1;
    return missing;
  }
}

async function namesOf(damage: RecordDamage): Promise<Names> {
  const names = new Map<QueueId, string>();
  for await (const page of damage.iterate('definitions/')) {
    for (const { value } of page) {
      for (const [queueId, { name }] of definitionRows(decodeRecord(value) as RecordData)) {
        names.set(queueId, name);
      }
    }
  }
  return names;
}

async function recordAt(damage: RecordDamage, key: string): Promise<RecordData | undefined> {
  const value = await damage.get(key);
  return value === undefined ? undefined : (decodeRecord(value) as RecordData);
}

function stored(key: string, data: RecordData): StoredRecord {
  return { key, value: encodeRecord(data as PlainData) };
}

function isIn(prefixes: readonly string[], key: string): boolean {
  return prefixes.some((prefix) => key.startsWith(prefix));
}

function refused(damage: RecordDamage, names: Names): StorageError {
  const words = `${wordsOfDamage(damage, names)}. The broker does not start; ${SALVAGE}.`;
  return new StorageError('damaged', words);
}

function wordsOfDamage({ unreadable, checkpoint }: RecordDamage, names: Names): string {
  const named = unreadable.slice(0, NAMED_MAX).map((key) => wordsOf(key, names));
  const more = unreadable.length - named.length;
  const rest = more === 0 ? '' : `, and ${more} more`;
  const where = `records of the checkpoint at entry ${checkpoint.index}`;
  return `${where} cannot be read: ${named.join(', ')}${rest}`;
}

/** What a record is about, for people. */
function wordsOf(key: string, names: Names): string {
  const [kind, queueId = '', groupId = ''] = key.split('/');
  const queue = names.get(Number(queueId) as QueueId) ?? `number ${queueId}`;
  const record = `record ${JSON.stringify(key)}`;
  switch (kind) {
    case 'group':
    case 'settled':
    case 'attempts':
      return `the state of group number ${groupId} of queue ${queue} (${record})`;
    case 'queue':
      return `the state of queue ${queue} (${record})`;
    case 'definitions':
      return `definitions of queues (${record})`;
    default:
      return record;
  }
}
