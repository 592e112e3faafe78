/**
 * Order within a group: a message that nobody of the group has seen does not come behind a later
 * one. Judged on each connection of a consumer by itself, because only there is "before" known.
 *
 * A redelivery may come late, and the first delivery of it may have been lost on the way. In a
 * group that never had two consumers at once, only a former connection that the broker may not
 * have given up yet can have lost it, or a fault between the consumer's node and the leader, which
 * then counts the attempt; in others, so can any fault, and a connection that the broker has given
 * up and whose client has not heard of it yet. A lead that goes to another node counts as a fault:
 * what was on its way through the former leader is lost with it. Such inversions are counted as
 * excused; those that nothing excuses are violations.
 */

import type { Attachment, Dequeue, Operation } from '../history/operation.ts';
import { faultsOf } from './faults.ts';
import { ServedTime } from './served-time.ts';
import { UnheardEnds } from './unheard-ends.ts';
import { type Asked, Findings, type Verdict } from './verdict.ts';

/**
 * How long a broker may take a dead connection for a member and hold what it gave to it: one and a
 * half keep-alives of 5 s, a visibility timeout of 10 s, and an election or two. Of the time in
 * which the queue is served: before somebody leads, nothing ends.
 */
const GHOST_NS = 45_000_000_000;

interface Connection {
  newest: number;
  newestValue: string;
}

interface Group {
  readonly seen: Set<number>;
  readonly connections: Map<string, Connection>;
  /** Attached now, as the harness knows it. */
  readonly attached: Set<string>;
  /** Whether two consumers were attached at once, ever. */
  shared: boolean;
  /** When a connection ended last. */
  endedAt: number | undefined;
}

type Faulty = (from: number, to: number) => boolean;

class DeliveryOrder {
  readonly #groups = new Map<string, Group>();
  readonly #findings = new Findings();
  readonly #faulty: Faulty;
  readonly #served: ServedTime;
  readonly #ends: UnheardEnds;
  #judged = 0;
  #excused = 0;

  constructor(faulty: Faulty, history: readonly Operation[]) {
    this.#faulty = faulty;
    this.#served = new ServedTime(history);
    this.#ends = new UnheardEnds(history);
  }

  /** First, so that a group is known as shared before its deliveries are judged. */
  membership(history: readonly Operation[]): void {
    for (const operation of history) {
      if (operation.f === 'attach' || operation.f === 'detach') this.attachment(operation);
    }
    for (const group of this.#groups.values()) {
      group.attached.clear();
      group.endedAt = undefined;
    }
  }

  attachment({ f, type, group: name, consumer, time }: Attachment): void {
    if (type !== 'ok') return;
    const group = this.#group(name);
    if (f === 'attach') group.attached.add(consumer);
    else {
      group.attached.delete(consumer);
      group.connections.delete(consumer);
      group.endedAt = time;
    }
    if (group.attached.size > 1) group.shared = true;
  }

  delivery({ group: name, consumer, offset, value, time, attempt }: Dequeue): void {
    const group = this.#group(name);
    const fresh = !group.seen.has(offset);
    group.seen.add(offset);
    if (!fresh) return;
    const connection = group.connections.get(consumer) ?? { newest: -1, newestValue: '' };
    group.connections.set(consumer, connection);
    this.#judged += 1;
    if (offset > connection.newest) {
      connection.newest = offset;
      connection.newestValue = value;
      return;
    }
    const { endedAt } = group;
    const ghost = endedAt !== undefined && this.#served.between(endedAt, time) < GHOST_NS;
    const isFaulty = (group.shared || attempt > 1) && this.#faulty(time - GHOST_NS, time);
    const unheard = attempt > 1 && this.#ends.silentAt(name, { consumer, time }, GHOST_NS);
    if (ghost || isFaulty || unheard) {
      this.#excused += 1;
      return;
    }
    const first = `${connection.newestValue} (offset ${connection.newest})`;
    const words = `${value} (offset ${offset}) came first to ${consumer} after ${first}`;
    this.#findings.add(time, `out of order in group ${name}: ${words}`);
  }

  verdict(): Verdict {
    const shared = [...this.#groups.values()].filter((group) => group.shared).length;
    const figures = {
      groups: this.#groups.size,
      shared,
      judged: this.#judged,
      excused: this.#excused,
    };
    return this.#findings.verdict('delivery-order', figures);
  }

  #group(name: string): Group {
    const known = this.#groups.get(name);
    if (known !== undefined) return known;
    const group: Group = {
      seen: new Set(),
      connections: new Map(),
      attached: new Set(),
      shared: false,
      endedAt: undefined,
    };
    this.#groups.set(name, group);
    return group;
  }
}

export function checkDeliveryOrder(
  history: readonly Operation[],
  { leadMoves = [] }: Pick<Asked, 'leadMoves'> = {},
): Verdict {
  const moves = leadMoves.map((time) => ({ from: time, to: time }));
  const faults = [...faultsOf(history), ...moves];
  const faulty: Faulty = (from, to) => faults.some((each) => each.from <= to && each.to >= from);
  const order = new DeliveryOrder(faulty, history);
  order.membership(history);
  for (const operation of history) {
    if (operation.f === 'attach' || operation.f === 'detach') order.attachment(operation);
    else if (operation.f === 'dequeue' && operation.type === 'ok') order.delivery(operation);
  }
  return order.verdict();
}
