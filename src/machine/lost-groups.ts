/**
 * Groups whose settlements were lost to a damaged disk, and are not invented.
 *
 * Of such a group it is known where it began: nothing below its floor is wanted. Which messages
 * from there up to `through` it had settled is not known, so it is *held*: nothing is delivered to
 * it and nothing moved out of it, until somebody says where it stands (a seek), it is deleted, or
 * nothing of what is unknown is left (its floor passes `through`). What its consumers still settle
 * counts.
 *
 * A message that every group had settled was given back, and may be wanted again now. So below
 * `through` a message that is stored nowhere is no damage in this queue, whichever group asks for
 * it; that stays true when the group itself is gone.
 *
 * One record, always in memory, absent on a sound shard. At most `LOST_GROUPS_MAX` rows: whoever
 * mends the records of a shard refuses to start with more.
 */

import { assert } from './assert.ts';
import type { Effects } from './effect.ts';
import type { GroupId, Offset, QueueId } from './ids.ts';
import { type RecordData, type RecordKey, countOf, listOf, stringOf } from './record-data.ts';
import {
  type RecordContent,
  type RecordHolder,
  type RecordTable,
  Resident,
} from './record-table.ts';

export const LOST_GROUPS_KEY = 'lost' as RecordKey;
export const LOST_GROUPS_MAX = 64;

export interface LostGroup {
  readonly queueId: QueueId;
  readonly groupId: GroupId;
  readonly name: string;
  /** What it settled of the offsets [from, through) is not known. */
  readonly from: Offset;
  readonly through: Offset;
  /** False: somebody has said since where it stands, or it is gone. */
  readonly held: boolean;
}

/** Where a group stands; undefined: it is not in memory, and so was not changed. */
export interface GroupFloors {
  floorOf(queueId: QueueId, groupId: GroupId): number | undefined;
}

class LostRecord implements RecordContent {
  rows: readonly LostGroup[];

  constructor(rows: readonly LostGroup[]) {
    this.rows = rows;
  }

  toData(): RecordData | undefined {
    return this.rows.length === 0 ? undefined : lostGroupsData(this.rows);
  }
}

export function lostGroupsData(rows: readonly LostGroup[]): RecordData {
  return [
    1,
    ...rows.map(({ queueId, groupId, name, from, through, held }) => [
      queueId,
      groupId,
      name,
      from,
      through,
      held ? 1 : 0,
    ]),
  ];
}

export function lostGroupsOf(data: RecordData): LostGroup[] {
  const [format, ...rows] = listOf(data);
  assert(format === 1, 'lost groups: unknown format');
  return rows.map((row) => {
    const [queueId, groupId, name, from, through, held] = listOf(row);
    return {
      queueId: countOf(queueId) as QueueId,
      groupId: countOf(groupId) as GroupId,
      name: stringOf(name),
      from: countOf(from) as Offset,
      through: countOf(through) as Offset,
      held: countOf(held) > 0,
    };
  });
}

export class LostGroups implements RecordHolder {
  readonly #table: RecordTable;
  #record: Resident<LostRecord> | undefined;

  constructor(table: RecordTable) {
    this.#table = table;
  }

  get isLoaded(): boolean {
    return this.#record !== undefined;
  }

  load(data: RecordData | undefined): void {
    const content = new LostRecord(data === undefined ? [] : lostGroupsOf(data));
    this.#record ??= new Resident(LOST_GROUPS_KEY, content, this);
  }

  get isEmpty(): boolean {
    return this.#rows.length === 0;
  }

  /** Those that are held. */
  list(): LostGroup[] {
    return this.#rows.filter(({ held }) => held);
  }

  held(queueId: QueueId, groupId: GroupId): LostGroup | undefined {
    return this.#rows.find((row) => row.held && row.queueId === queueId && row.groupId === groupId);
  }

  /** A message below that is stored nowhere was settled by all groups; 0 in a sound queue. */
  goneBelow(queueId: QueueId): Offset {
    let below = 0;
    for (const row of this.#rows) {
      if (row.queueId === queueId) below = Math.max(below, row.through);
    }
    return below as Offset;
  }

  /** Somebody has said where the group stands, or it is gone. */
  release(queueId: QueueId, groupId: GroupId): void {
    if (this.held(queueId, groupId) === undefined) return;
    this.#change((row) =>
      row.queueId === queueId && row.groupId === groupId ? { ...row, held: false } : row,
    );
  }

  forgetQueue(queueId: QueueId): void {
    if (this.goneBelow(queueId) === 0) return;
    this.#change((row) => (row.queueId === queueId ? undefined : row));
  }

  /** After each command: groups of which nothing unknown is left are held no longer. */
  review(floors: GroupFloors, effects: Effects): void {
    for (const { queueId, groupId, through } of this.list()) {
      const floor = floors.floorOf(queueId, groupId);
      if (floor === undefined || floor < through) continue;
      this.release(queueId, groupId);
      effects.addRare({ kind: 'group-released', queueId, groupId });
    }
  }

  evicted(): void {
    assert(false, 'lost groups: never evicted');
  }

  get #rows(): readonly LostGroup[] {
    return this.#record?.content.rows ?? [];
  }

  #change(changed: (row: LostGroup) => LostGroup | undefined): void {
    const record = this.#record;
    assert(record !== undefined, 'lost groups: not loaded');
    this.#table.touch(record);
    record.content.rows = record.content.rows.flatMap((row) => changed(row) ?? []);
  }
}
