/**
 * What is wrong and needs a person: messages that cannot be read, and a message that nobody settles
 * and that holds its queue's span. Each is logged once when it appears, and stays readable in the
 * statistics until it is over; nothing here is state of the machine.
 *
 * Bounded: of each queue at most `RANGES_MAX` ranges of offsets are kept, and then the count alone.
 */

import type { Offset, QueueId } from '../machine/ids.ts';

export interface AlarmLog {
  warn(fields: Record<string, unknown>, message: string): void;
  error(fields: Record<string, unknown>, message: string): void;
}

export interface Alarm {
  readonly kind: 'damaged' | 'stuck' | 'log-damaged' | 'disk-reserve';
  readonly queueId?: QueueId;
  readonly queue?: string;
  /** Ranges of offsets, both ends included. */
  readonly offsets?: readonly (readonly [from: Offset, through: Offset])[];
  /** How many messages; may be more than `offsets` names. */
  readonly count?: number;
  readonly detail: string;
}

interface Damage {
  readonly queueId: QueueId;
  readonly ranges: [Offset, Offset][];
  count: number;
  detail: string;
}

const RANGES_MAX = 64;

export class Alarms {
  readonly #log: AlarmLog;
  readonly #nameOf: (queueId: QueueId) => string | undefined;
  readonly #damaged = new Map<QueueId, Damage>();
  readonly #stuck = new Map<QueueId, Offset>();
  readonly #whole = new Map<'log-damaged' | 'disk-reserve', string>();

  constructor(log: AlarmLog, nameOf: (queueId: QueueId) => string | undefined) {
    this.#log = log;
    this.#nameOf = nameOf;
  }

  /** One message cannot be read; the queue delivers the rest. */
  damaged(queueId: QueueId, offset: Offset, detail: string): void {
    let damage = this.#damaged.get(queueId);
    if (damage === undefined) {
      damage = { queueId, ranges: [], count: 0, detail };
      this.#damaged.set(queueId, damage);
    }
    if (damage.ranges.some(([from, through]) => from <= offset && offset <= through)) return;
    damage.count++;
    damage.detail = detail;
    const last = damage.ranges.at(-1);
    if (last !== undefined && last[1] + 1 === offset) last[1] = offset;
    else if (damage.ranges.length < RANGES_MAX) damage.ranges.push([offset, offset]);
    const queue = this.#nameOf(queueId);
    this.#log.error(
      { queue, queueId, offset, detail },
      'a message cannot be read; the queue goes on without it',
    );
  }

  stuck(queueId: QueueId, offset: Offset): void {
    if (this.#stuck.get(queueId) === offset) return;
    this.#stuck.set(queueId, offset);
    const queue = this.#nameOf(queueId);
    this.#log.warn(
      { queue, queueId, offset },
      'an unsettled message holds back new deliveries of its queue',
    );
  }

  unstuck(queueId: QueueId): void {
    this.#stuck.delete(queueId);
  }

  /** Something that is wrong with the shard as a whole. */
  raise(kind: 'log-damaged' | 'disk-reserve', detail: string): void {
    if (this.#whole.get(kind) === detail) return;
    this.#whole.set(kind, detail);
    this.#log.error({ kind, detail }, 'alarm');
  }

  lower(kind: 'log-damaged' | 'disk-reserve'): void {
    if (this.#whole.delete(kind)) this.#log.warn({ kind }, 'alarm is over');
  }

  /** The queue is gone. */
  clear(queueId: QueueId): void {
    this.#damaged.delete(queueId);
    this.#stuck.delete(queueId);
  }

  list(): Alarm[] {
    const list: Alarm[] = [...this.#whole].map(([kind, detail]) => ({ kind, detail }));
    for (const { queueId, ranges, count, detail } of this.#damaged.values()) {
      const offsets = ranges.map(([from, through]) => [from, through] as const);
      list.push({
        kind: 'damaged',
        queueId,
        ...named(this.#nameOf(queueId)),
        offsets,
        count,
        detail,
      });
    }
    for (const [queueId, offset] of this.#stuck) {
      const detail = 'an unsettled message holds back new deliveries';
      list.push({
        kind: 'stuck',
        queueId,
        ...named(this.#nameOf(queueId)),
        offsets: [[offset, offset]],
        detail,
      });
    }
    return list;
  }
}

function named(queue: string | undefined): { queue?: string } {
  return queue === undefined ? {} : { queue };
}
