/**
 * What is wrong and needs a person: messages that cannot be read, a message that nobody settles and
 * that holds the span of its group, and groups whose settlements were lost (these are state of the
 * machine; all else is not). Each is logged once when it appears, and stays readable in
 * the statistics until it is over.
 *
 * Bounded: of each group at most `RANGES_MAX` ranges of offsets are kept, and then the count alone.
 */

import type { GroupId, Offset, QueueId } from '../machine/ids.ts';
import type { LostGroup } from '../machine/lost-groups.ts';

export interface AlarmLog {
  warn(fields: Record<string, unknown>, message: string): void;
  error(fields: Record<string, unknown>, message: string): void;
}

/** What is wrong with the shard as a whole. */
export type ShardAlarm = 'log-damaged' | 'run-damaged' | 'disk-reserve' | 'spill-late';

export interface Alarm {
  readonly kind: 'damaged' | 'stuck' | 'group-lost' | ShardAlarm;
  readonly queueId?: QueueId;
  readonly queue?: string;
  readonly group?: string;
  /** Ranges of offsets, both ends included. */
  readonly offsets?: readonly (readonly [from: Offset, through: Offset])[];
  /** How many messages; may be more than `offsets` names. */
  readonly count?: number;
  readonly detail: string;
}

/** The group that it is about. */
export interface AlarmPlace {
  readonly queueId: QueueId;
  readonly groupId: GroupId;
  readonly name: string;
}

interface Damage {
  readonly queueId: QueueId;
  readonly group: string;
  ranges: [Offset, Offset][];
  count: number;
  detail: string;
}

interface Stuck {
  readonly queueId: QueueId;
  readonly group: string;
  readonly offset: Offset;
}

/** What alarms are about. */
export interface AlarmSubjects {
  readonly nameOf: (queueId: QueueId) => string | undefined;
  readonly lostGroups: () => readonly LostGroup[];
}

const RANGES_MAX = 64;
const LOST =
  'a damaged record told what a group has settled of these offsets, and it is not known any ' +
  'more: the group gets nothing until it is sought or deleted (fluxmq queue seek, group delete)';

export class Alarms {
  readonly #log: AlarmLog;
  readonly #nameOf: AlarmSubjects['nameOf'];
  readonly #lostGroups: AlarmSubjects['lostGroups'];
  readonly #damaged = new Map<string, Damage>();
  readonly #stuck = new Map<string, Stuck>();
  readonly #whole = new Map<ShardAlarm, string>();

  constructor(log: AlarmLog, about: AlarmSubjects) {
    this.#log = log;
    this.#nameOf = about.nameOf;
    this.#lostGroups = about.lostGroups;
  }

  /** Logs the groups that are held when a term begins. */
  tellLostGroups(): void {
    for (const { queueId, name: group, from, through } of this.#lostGroups()) {
      const queue = this.#nameOf(queueId);
      this.#log.error({ queue, queueId, group, from, through: through - 1 }, LOST);
    }
  }

  /** One message cannot be read; the group gets the rest. */
  damaged(of: AlarmPlace, offset: Offset, detail: string): void {
    const { queueId, name: group } = of;
    let damage = this.#damaged.get(keyOf(of));
    if (damage === undefined) {
      damage = { queueId, group, ranges: [], count: 0, detail };
      this.#damaged.set(keyOf(of), damage);
    }
    if (damage.ranges.some(([from, through]) => from <= offset && offset <= through)) return;
    damage.count++;
    damage.detail = detail;
    addTo(damage.ranges, offset);
    const queue = this.#nameOf(queueId);
    this.#log.error(
      { queue, queueId, group, offset, detail },
      'a message cannot be read; its group goes on without it',
    );
  }

  /** Of what could not be read this much is not settled yet, ascending; the rest is over. */
  damageLeft(of: AlarmPlace, offsets: readonly Offset[]): void {
    const damage = this.#damaged.get(keyOf(of));
    if (damage === undefined) return;
    if (offsets.length === 0) {
      this.#damaged.delete(keyOf(of));
      return;
    }
    damage.ranges = [];
    damage.count = offsets.length;
    for (const offset of offsets) addTo(damage.ranges, offset);
  }

  /** Ranges that a group of the queue cannot read, with both ends. */
  damagedOf(queueId: QueueId): readonly (readonly [from: Offset, through: Offset])[] {
    const seen = new Set<string>();
    return [...this.#damaged.values()]
      .filter((damage) => damage.queueId === queueId)
      .flatMap(({ ranges }) => ranges)
      .filter(
        ([from, through]) => !seen.has(`${from}-${through}`) && seen.add(`${from}-${through}`),
      )
      .sort(([a], [b]) => a - b);
  }

  stuck(of: AlarmPlace, offset: Offset): void {
    const key = keyOf(of);
    if (this.#stuck.get(key)?.offset === offset) return;
    const { queueId, name: group } = of;
    this.#stuck.set(key, { queueId, group, offset });
    const queue = this.#nameOf(queueId);
    this.#log.warn(
      { queue, queueId, group, offset },
      'an unsettled message holds back new deliveries of its group',
    );
  }

  unstuck(of: AlarmPlace): void {
    this.#stuck.delete(keyOf(of));
  }

  /** Something that is wrong with the shard as a whole. */
  raise(kind: ShardAlarm, detail: string): void {
    if (this.#whole.get(kind) === detail) return;
    this.#whole.set(kind, detail);
    this.#log.error({ kind, detail }, 'alarm');
  }

  lower(kind: ShardAlarm): void {
    if (this.#whole.delete(kind)) this.#log.warn({ kind }, 'alarm is over');
  }

  /** The group is gone, or its deliveries end. */
  clearGroup(of: AlarmPlace): void {
    this.#damaged.delete(keyOf(of));
    this.#stuck.delete(keyOf(of));
  }

  list(): Alarm[] {
    const list: Alarm[] = [...this.#whole].map(([kind, detail]) => ({ kind, detail }));
    for (const { queueId, group, ranges, count, detail } of this.#damaged.values()) {
      const offsets = ranges.map(([from, through]) => [from, through] as const);
      const queue = named(this.#nameOf(queueId));
      list.push({ kind: 'damaged', queueId, ...queue, group, offsets, count, detail });
    }
    for (const { queueId, name: group, from, through } of this.#lostGroups()) {
      const offsets = [[from, (through - 1) as Offset]] as const;
      const queue = named(this.#nameOf(queueId));
      list.push({ kind: 'group-lost', queueId, ...queue, group, offsets, detail: LOST });
    }
    for (const { queueId, group, offset } of this.#stuck.values()) {
      const detail = 'an unsettled message holds back new deliveries';
      const queue = named(this.#nameOf(queueId));
      list.push({ kind: 'stuck', queueId, ...queue, group, offsets: [[offset, offset]], detail });
    }
    return list;
  }
}

function named(queue: string | undefined): { queue?: string } {
  return queue === undefined ? {} : { queue };
}

function keyOf({ queueId, groupId }: AlarmPlace): string {
  return `${queueId}/${groupId}`;
}

function addTo(ranges: [Offset, Offset][], offset: Offset): void {
  const last = ranges.at(-1);
  if (last !== undefined && last[1] + 1 === offset) last[1] = offset;
  else if (ranges.length < RANGES_MAX) ranges.push([offset, offset]);
}
