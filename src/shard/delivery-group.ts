/**
 * The groups that the dispatcher knows: those that have, or had, consumers in this term, and those
 * whose settlements are asked for. Found by queue and name from the first consumer on, by their
 * number when the machine has told it; soft state, all of it.
 *
 * ```
 *   looking --(there)--> starting ------> serving ---(deleted)---> gone
 *      |                  ^   ^              |
 *      v                  |   +--(sought)----+
 *   creating --(created)--+--> seeking (back to starting, or to serving when it is refused)
 * ```
 * A group whose settlements were lost is `held` instead of serving, until it is sought or released.
 */

import type { GroupKind, SettleOutcome } from '../machine/command.ts';
import type { DeliveryName, DispatchPolicy } from '../machine/dispatch-policy.ts';
import type { GroupId, Offset, QueueId } from '../machine/ids.ts';
import type { AttachRequest, GroupPlace, SettleAsk } from './dispatch-options.ts';
import { PayloadCursor } from './payloads.ts';

export type GroupPhase =
  | 'looking'
  | 'creating'
  | 'seeking'
  | 'starting'
  | 'held'
  | 'serving'
  | 'gone';

export interface Member {
  readonly id: number;
  readonly group: DeliveryGroup;
  readonly request: AttachRequest;
  /** While it is not with the policy. */
  credit: number;
  isWithPolicy: boolean;
  /** It is given nothing for now. */
  isPaused: boolean;
  /** What it held before, until it is with the policy. */
  holds: DeliveryName[];
  /** It was told that it is attached. */
  isAnnounced: boolean;
}

/** An asked settlement that is proposed: what is answered when it is applied. */
export interface AskedSettle {
  readonly tag: number;
  readonly outcome: SettleOutcome;
  readonly answer: 'done' | 'already';
}

/** A commit: done when the floor is above its offset; proposed in slices, one at a time. */
export interface AskedCommit {
  readonly tag: number;
  readonly offset: Offset;
  /** Where the slice that is proposed ends. */
  through: Offset;
}

export class DeliveryGroup implements GroupPlace {
  readonly queueId: QueueId;
  readonly name: string;
  groupId = -1 as GroupId;
  kind: GroupKind;
  filter: string;
  /** It is deleted with its last member. */
  readonly isPrivate: boolean;
  filterFrom = 0 as Offset;
  /**
   * It begins with the first message that was published at this time or later: the machine knows
   * only a place at or before it. Undefined: that is past.
   */
  fromMs: number | undefined;
  phase: GroupPhase = 'looking';
  /** Consumers for which it is being moved, in the order of the proposals. */
  readonly seekers: number[] = [];
  policy: DispatchPolicy | undefined;
  readonly members = new Map<number, Member>();
  /** What was asked and is not judged yet. */
  asks: SettleAsk[] = [];
  /** What was asked and is proposed, by offset. */
  readonly asked = new Map<Offset, AskedSettle[]>();
  commits: AskedCommit[] = [];
  readonly cursor = new PayloadCursor();
  /** No offset from here on was ever delivered. */
  seenBelow = 0;
  /** It was made in this term: what the log held before was never delivered to it. */
  isNew = false;
  /** Of a session's queue: owners of before are no members. */
  ownerEpoch = 0;
  wakeAt = Number.POSITIVE_INFINITY;
  isReady = false;
  /** A read of payloads is under way; it makes the group ready when it ends. */
  isReading = false;
  /** The offset whose payload the last read could not find. */
  lost: Offset | undefined;
  lostDetail = '';
  lostIsGone = false;
  isStuck = false;
  /** Messages that the policy withholds, as the alarms know them. */
  withheld = 0;

  constructor(
    queueId: QueueId,
    of: { name: string; kind: GroupKind; filter: string; isPrivate: boolean },
  ) {
    this.queueId = queueId;
    this.name = of.name;
    this.kind = of.kind;
    this.filter = of.filter;
    this.isPrivate = of.isPrivate;
  }

  get isKnown(): boolean {
    return this.groupId !== -1;
  }
}

export class QueueGroups {
  readonly queueId: QueueId;
  readonly named = new Map<string, DeliveryGroup>();
  readonly known = new Map<GroupId, DeliveryGroup>();
  /** Those that have a policy. */
  readonly serving: DeliveryGroup[] = [];

  constructor(queueId: QueueId) {
    this.queueId = queueId;
  }
}

export class DeliveryGroups {
  readonly #queues = new Map<QueueId, QueueGroups>();
  #last: QueueGroups | undefined;

  queues(): IterableIterator<QueueGroups> {
    return this.#queues.values();
  }

  of(queueId: QueueId): QueueGroups | undefined {
    if (this.#last?.queueId === queueId) return this.#last;
    const queue = this.#queues.get(queueId);
    if (queue !== undefined) this.#last = queue;
    return queue;
  }

  named(queueId: QueueId, name: string): DeliveryGroup | undefined {
    return this.of(queueId)?.named.get(name);
  }

  known(queueId: QueueId, groupId: GroupId): DeliveryGroup | undefined {
    return this.of(queueId)?.known.get(groupId);
  }

  add(group: DeliveryGroup): void {
    const { queueId, name } = group;
    let queue = this.of(queueId);
    if (queue === undefined) {
      queue = new QueueGroups(queueId);
      this.#queues.set(queueId, queue);
    }
    queue.named.set(name, group);
  }

  /** The machine has told its number. */
  identify(group: DeliveryGroup, groupId: GroupId): void {
    group.groupId = groupId;
    this.of(group.queueId)?.known.set(groupId, group);
  }

  setPolicy(group: DeliveryGroup, policy: DispatchPolicy | undefined): void {
    const serving = this.of(group.queueId)?.serving ?? [];
    const at = serving.indexOf(group);
    if (policy === undefined && at !== -1) serving.splice(at, 1);
    if (policy !== undefined && at === -1) serving.push(group);
    group.policy = policy;
  }

  remove(group: DeliveryGroup): void {
    this.setPolicy(group, undefined);
    group.phase = 'gone';
    const queue = this.of(group.queueId);
    if (queue === undefined) return;
    if (queue.named.get(group.name) === group) queue.named.delete(group.name);
    if (queue.known.get(group.groupId) === group) queue.known.delete(group.groupId);
    if (queue.named.size > 0) return;
    this.#queues.delete(group.queueId);
    if (this.#last === queue) this.#last = undefined;
  }
}
