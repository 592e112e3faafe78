/** What the directory of a queue says of one group, and how it lies in the record of the queue. */

import { assert } from './assert.ts';
import { GROUP_KINDS, type GroupKind } from './command.ts';
import type { GroupId } from './ids.ts';
import { type RecordData, countOf, listOf, stringOf } from './record-data.ts';

export interface GroupEntry {
  readonly groupId: GroupId;
  readonly name: string;
  readonly kind: GroupKind;
  readonly filter: string;
  /**
   * Messages from here on that the filter does not match are settled by `apply`; older ones by the
   * leader, when it reads them. 0 without a filter.
   */
  filterFrom: number;
  /** Since when it has no member; 0: it has one, or nobody has said. */
  idleSince: number;
  /** Its floor while its own record is not in memory, -1 if unknown; not in the record. */
  knownFloor: number;
}

export function entryOf(data: RecordData): GroupEntry {
  const [groupId, name, kind, filter, filterFrom, idleSince] = listOf(data);
  const word = GROUP_KINDS[countOf(kind)];
  assert(word !== undefined, 'queue: an unknown kind of group');
  return {
    groupId: countOf(groupId) as GroupId,
    name: stringOf(name),
    kind: word,
    filter: stringOf(filter),
    filterFrom: countOf(filterFrom),
    idleSince: countOf(idleSince),
    knownFloor: -1,
  };
}

export function entryData(entry: GroupEntry): RecordData {
  const { groupId, name, kind, filter, filterFrom, idleSince } = entry;
  return [groupId, name, GROUP_KINDS.indexOf(kind), filter, filterFrom, idleSince];
}
