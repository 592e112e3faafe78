/**
 * The leader's deliveries: the I/O shell around the machine's `DispatchPolicy`, one policy for each
 * queue that has, or had, consumers. It reads payloads, encodes deliveries through
 * `DeliveryOutput`, proposes the settlements that consumers, deadlines and lost connections ask
 * for, and keeps one timer's worth of wakes.
 *
 * Only what can deliver now is in the ready list, and it is served in turns of a bounded size: ten
 * thousand queues at rest cost nothing, and a busy one does not hold up the others. A consumer
 * without credit costs nothing. Deliveries are soft state: a crash loses them all, and what was
 * delivered and not settled is delivered again, marked. Marked is what may have been delivered:
 * after a crash everything that the log held when the term began, after a clean stop what had gone
 * out. The dispatcher must never deliver what is not applied, and never reads a payload on the way
 * of `apply`.
 */

import type { SettleCause, SettleOutcome } from '../machine/command.ts';
import type { QueueLimits } from '../machine/definitions.ts';
import { Claims, DispatchPolicy } from '../machine/dispatch-policy.ts';
import type { DispatchStart } from '../machine/dispatch-policy.ts';
import { DEFAULT_GROUP } from '../machine/ids.ts';
import type { GroupId, Offset, QueueId } from '../machine/ids.ts';
import type { Alarms } from './alarms.ts';
import type { Requeued } from './applier.ts';
import type { DeliveryMarks } from './checkpoint.ts';
import type { Payloads, StoredMessage } from './payloads.ts';
import { PayloadCursor } from './payloads.ts';
import { WakeHeap } from './wake-heap.ts';

export interface DeliveryHeader {
  consumer: number;
  queueId: QueueId;
  offset: Offset;
  deliveryNumber: number;
  attempt: number;
  redelivered: boolean;
}

/** Where deliveries go; the header and the message are valid during the call only. */
export interface DeliveryOutput {
  deliver(header: DeliveryHeader, message: StoredMessage): void;
  cancelled(consumer: number, reason: 'queue-deleted' | 'unavailable'): void;
  /** False while so much waits to be taken by the other side that nothing more is to be encoded. */
  readonly open: boolean;
}

/** What a client says of one delivery; valid during the call only. */
export interface Settlement {
  readonly queueId: QueueId;
  readonly offset: Offset;
  readonly term: number;
  readonly deliveryNumber: number;
  readonly outcome: SettleOutcome;
}

export interface SettledGroup {
  readonly queueId: QueueId;
  readonly groupId: GroupId;
}

export interface SettleReason {
  readonly outcome: SettleOutcome;
  readonly cause: SettleCause;
}

/** One object for each, so that a settlement makes none. */
const BY_CLIENT: Record<SettleOutcome, SettleReason> = {
  complete: { outcome: 'complete', cause: 'client' },
  requeue: { outcome: 'requeue', cause: 'client' },
  discard: { outcome: 'discard', cause: 'client' },
};
const LOST: SettleReason = { outcome: 'requeue', cause: 'lost' };
const TIMED_OUT: SettleReason = { outcome: 'requeue', cause: 'timeout' };

export interface SettleProposals {
  /** False: it cannot be proposed (the store failed or stops). */
  settle(of: SettledGroup, offset: Offset, reason: SettleReason): boolean;
}

export interface DispatcherOptions {
  readonly term: number;
  /** What may have been delivered before this term began. */
  readonly marks: DeliveryMarks;
  readonly payloads: Payloads;
  readonly proposals: SettleProposals;
  readonly output: DeliveryOutput;
  readonly alarms: Alarms;
  now(): number;
  /**
   * Loads the records of the group and calls `began` once, in the same turn in which it reads the
   * state, so that no effect falls between; undefined: the queue is gone.
   */
  start(queueId: QueueId, began: (start: DispatchStart | undefined) => void): Promise<void>;
  /** There is something to do: call `serve` soon. */
  readonly wake: () => void;
  /** A promise of the dispatcher failed: the store cannot be used any more. */
  readonly failed: (error: unknown) => void;
}

/** Deliveries of one group in one turn. */
const TURN_DELIVERIES = 64;
const EXPIRE_MAX = 256;

interface Consumer {
  readonly id: number;
  readonly group: Group;
  credit: number;
  /** Attached to the policy; before that the group's records are still on their way. */
  attached: boolean;
}

interface Group {
  readonly queueId: QueueId;
  readonly groupId: GroupId;
  policy: DispatchPolicy | undefined;
  readonly consumers: Map<number, Consumer>;
  readonly cursor: PayloadCursor;
  /** No offset from here on was ever delivered. */
  seenBelow: number;
  wakeAt: number;
  ready: boolean;
  /** A read of payloads is under way; it makes the group ready when it ends. */
  reading: boolean;
  deleted: boolean;
  /** The offset whose payload the last read could not find. */
  lost: Offset | undefined;
  lostDetail: string;
  stuck: boolean;
}

export class Dispatcher {
  readonly #options: DispatcherOptions;
  readonly #groups = new Map<QueueId, Group>();
  readonly #consumers = new Map<number, Consumer>();
  readonly #wakes = new WakeHeap<Group>();
  readonly #claims = new Claims();
  readonly #offsets: Offset[] = [];
  #ready: Group[] = [];
  #readyAt = 0;
  #last: Group | undefined;
  #deliveries = 0;
  readonly #header: DeliveryHeader = {
    consumer: 0,
    queueId: 0 as QueueId,
    offset: 0 as Offset,
    deliveryNumber: 0,
    attempt: 0,
    redelivered: false,
  };

  constructor(options: DispatcherOptions) {
    this.#options = options;
  }

  get consumers(): number {
    return this.#consumers.size;
  }

  get deliveries(): number {
    return this.#deliveries;
  }

  /** When `serve` wants to be called although nothing happens; Infinity: not at all. */
  get nextWake(): number {
    return this.#wakes.next;
  }

  /** For the next start, when nothing is delivered any more. */
  get marks(): DeliveryMarks {
    const { inheritedThrough, seenBelow } = this.#options.marks;
    const now = new Map(seenBelow);
    for (const { queueId, seenBelow: below } of this.#groups.values()) {
      if (below > 0) now.set(queueId, below);
    }
    return { inheritedThrough, seenBelow: now };
  }

  /** Messages that consumers of this queue hold now. */
  delivered(queueId: QueueId): number {
    return this.#groups.get(queueId)?.policy?.delivered ?? 0;
  }

  attach(id: number, queueId: QueueId, credit: number): void {
    let group = this.#groups.get(queueId);
    if (group === undefined) {
      group = newGroup(queueId, this.#options.marks.seenBelow.get(queueId) ?? 0);
      this.#groups.set(queueId, group);
      const begun = group;
      this.#options
        .start(queueId, (start) => this.#begin(begun, start))
        .catch(this.#options.failed);
    }
    const consumer: Consumer = { id, group, credit, attached: false };
    this.#consumers.set(id, consumer);
    group.consumers.set(id, consumer);
    if (group.policy !== undefined) this.#attachTo(group.policy, consumer);
  }

  grant(id: number, deliveries: number): void {
    const consumer = this.#consumers.get(id);
    if (consumer === undefined) return;
    if (consumer.attached) {
      consumer.group.policy?.grant(id, deliveries);
      this.#makeReady(consumer.group);
    } else {
      consumer.credit += deliveries;
    }
  }

  /** A client settles a delivery that it was given. */
  settle(settlement: Settlement): void {
    const { queueId, offset, term, deliveryNumber, outcome } = settlement;
    const group = this.#groups.get(queueId);
    const policy = group?.policy;
    if (group === undefined || policy === undefined) {
      // A complete counts always; the machine knows whether there is still anything to settle.
      if (outcome === 'complete') {
        const of = { queueId, groupId: DEFAULT_GROUP };
        this.#options.proposals.settle(of, offset, BY_CLIENT.complete);
      }
      return;
    }
    if (policy.settle(offset, term, deliveryNumber, outcome) !== 'propose') return;
    this.#propose(group, offset, BY_CLIENT[outcome]);
  }

  close(id: number, how: 'lost' | 'returned'): void {
    const consumer = this.#consumers.get(id);
    if (consumer === undefined) return;
    this.#consumers.delete(id);
    const { group } = consumer;
    group.consumers.delete(id);
    const { policy } = group;
    if (policy !== undefined && consumer.attached) {
      const requeue = this.#offsets;
      requeue.length = 0;
      policy.close(id, how, requeue);
      for (const offset of requeue) this.#propose(group, offset, LOST);
      this.#makeReady(group);
    }
  }

  // What apply did, in its order. Called for every message: the first line must be cheap.

  enqueued(queueId: QueueId, offset: Offset): void {
    const group = this.#groupOf(queueId);
    if (group?.policy === undefined) return;
    group.policy.enqueued(offset);
    if (!group.ready && group.consumers.size > 0) this.#makeReady(group);
  }

  settled(queueId: QueueId, offset: Offset, floor: Offset): void {
    const group = this.#groupOf(queueId);
    if (group?.policy === undefined) return;
    group.policy.settled(offset, floor);
    if (group.stuck && !group.ready) this.#makeReady(group);
  }

  requeued(queueId: QueueId, offset: Offset, { attempts, notBefore }: Requeued): void {
    const group = this.#groupOf(queueId);
    if (group?.policy === undefined) return;
    group.policy.requeued(offset, attempts, notBefore);
    if (!group.ready) this.#makeReady(group);
  }

  limitsChanged(queueId: QueueId, limits: QueueLimits): void {
    const group = this.#groups.get(queueId);
    if (group?.policy === undefined) return;
    group.policy.limitsChanged(limits);
    this.#makeReady(group);
  }

  queueDeleted(queueId: QueueId): void {
    const group = this.#groups.get(queueId);
    if (group === undefined) return;
    this.#cancelAll(group, 'queue-deleted');
    this.#groups.delete(queueId);
    if (this.#last === group) this.#last = undefined;
    group.deleted = true;
    this.#wakes.set(group, Number.POSITIVE_INFINITY);
    this.#options.alarms.clear(queueId);
  }

  /** The store is gone: nothing follows for anybody. */
  cancelEverything(): void {
    for (const group of this.#groups.values()) this.#cancelAll(group, 'unavailable');
  }

  /** The output is open again. */
  resume(): void {
    if (this.#readyAt < this.#ready.length) this.#options.wake();
  }

  /**
   * Works through wakes that are due and through the ready list until `deadline` (monotonic
   * milliseconds, by `clock`) or until nothing is left; true when something is left.
   */
  serve(deadline: number, clock: () => number): boolean {
    const { output } = this.#options;
    const now = this.#options.now();
    for (let group = this.#wakes.due(now); group !== undefined; group = this.#wakes.due(now)) {
      this.#expire(group, now);
      this.#makeReady(group);
    }
    while (this.#readyAt < this.#ready.length) {
      if (!output.open) return false;
      const group = this.#ready[this.#readyAt++];
      if (this.#readyAt > 1024 && this.#readyAt * 2 > this.#ready.length) {
        this.#ready = this.#ready.slice(this.#readyAt);
        this.#readyAt = 0;
      }
      if (group === undefined) continue;
      group.ready = false;
      this.#serveGroup(group, now);
      if (clock() >= deadline) break;
    }
    if (this.#readyAt < this.#ready.length) return true;
    this.#ready.length = 0;
    this.#readyAt = 0;
    return false;
  }

  #begin(group: Group, start: DispatchStart | undefined): void {
    if (group.deleted) return;
    if (start === undefined) {
      this.queueDeleted(group.queueId);
      this.#options.wake();
      return;
    }
    const policy = new DispatchPolicy({
      term: this.#options.term,
      start,
      seenBelow: group.seenBelow,
    });
    group.policy = policy;
    for (const consumer of group.consumers.values()) this.#attachTo(policy, consumer);
    this.#makeReady(group);
  }

  #attachTo(policy: DispatchPolicy, consumer: Consumer): void {
    consumer.attached = true;
    policy.attach(consumer.id, consumer.credit);
    this.#makeReady(consumer.group);
  }

  #groupOf(queueId: QueueId): Group | undefined {
    if (this.#last?.queueId === queueId) return this.#last;
    const group = this.#groups.get(queueId);
    if (group !== undefined) this.#last = group;
    return group;
  }

  #makeReady(group: Group): void {
    if (group.ready || group.reading || group.deleted || group.policy === undefined) return;
    group.ready = true;
    this.#ready.push(group);
    this.#options.wake();
  }

  #serveGroup(group: Group, now: number): void {
    const { policy } = group;
    if (policy === undefined || group.deleted || group.reading) return;
    const claims = this.#claims;
    claims.clear();
    const count = policy.claim(now, TURN_DELIVERIES, claims);
    for (let at = 0; at < count; at++) {
      const offset = claims.offset(at);
      if (!this.#options.output.open) {
        this.#putBack(policy, at);
        this.#makeReady(group);
        break;
      }
      if (offset === group.lost) {
        this.#withhold(group, offset, group.lostDetail);
        continue;
      }
      const found = this.#options.payloads.get(group.queueId, offset, group.cursor);
      if (found === 'away') {
        this.#putBack(policy, at);
        group.reading = true;
        this.#read(group, offset).catch(this.#options.failed);
        break;
      }
      if (found === 'lost') this.#withhold(group, offset, this.#options.payloads.lostDetail);
      else this.#deliver(group, at, found);
    }
    this.#watchSpan(group, policy);
    if (count === TURN_DELIVERIES) this.#makeReady(group);
    this.#wakes.set(group, policy.nextWake());
  }

  /** The claim at `at`. */
  #deliver(group: Group, at: number, message: StoredMessage): void {
    const claims = this.#claims;
    const header = this.#header;
    header.consumer = claims.consumer(at);
    header.queueId = group.queueId;
    header.offset = claims.offset(at);
    if (header.offset >= group.seenBelow) group.seenBelow = header.offset + 1;
    header.deliveryNumber = claims.deliveryNumber(at);
    header.attempt = claims.attempt(at);
    header.redelivered =
      claims.redelivered(at) || message.index <= this.#options.marks.inheritedThrough;
    this.#deliveries++;
    this.#options.output.deliver(header, message);
  }

  /** The claims from `from` on; newest first, so that the policy finds them in their old order. */
  #putBack(policy: DispatchPolicy, from: number): void {
    const claims = this.#claims;
    for (let at = claims.length - 1; at >= from; at--) policy.unclaim(claims.offset(at));
  }

  async #read(group: Group, offset: Offset): Promise<void> {
    const outcome = await this.#options.payloads.fetch(group.queueId, offset);
    group.reading = false;
    if (outcome.kind === 'lost') {
      group.lost = offset;
      group.lostDetail = outcome.detail;
    }
    this.#makeReady(group);
  }

  #withhold(group: Group, offset: Offset, detail: string): void {
    group.policy?.withhold(offset);
    this.#options.alarms.damaged(group.queueId, offset, detail);
    this.#makeReady(group);
  }

  #watchSpan(group: Group, policy: DispatchPolicy): void {
    const stuck = policy.stuck();
    if (stuck !== undefined) this.#options.alarms.stuck(group.queueId, stuck);
    else if (group.stuck) this.#options.alarms.unstuck(group.queueId);
    group.stuck = stuck !== undefined;
  }

  #expire(group: Group, now: number): void {
    const { policy } = group;
    if (policy === undefined) return;
    const requeue = this.#offsets;
    requeue.length = 0;
    policy.expire(now, EXPIRE_MAX, requeue);
    for (const offset of requeue) this.#propose(group, offset, TIMED_OUT);
  }

  #propose(group: Group, offset: Offset, reason: SettleReason): void {
    if (this.#options.proposals.settle(group, offset, reason)) return;
    group.policy?.proposalFailed(offset, this.#options.now());
  }

  #cancelAll(group: Group, reason: 'queue-deleted' | 'unavailable'): void {
    for (const consumer of group.consumers.values()) {
      this.#consumers.delete(consumer.id);
      this.#options.output.cancelled(consumer.id, reason);
    }
    group.consumers.clear();
  }
}

function newGroup(queueId: QueueId, seenBelow: number): Group {
  return {
    queueId,
    groupId: DEFAULT_GROUP,
    policy: undefined,
    consumers: new Map(),
    cursor: new PayloadCursor(),
    seenBelow,
    wakeAt: Number.POSITIVE_INFINITY,
    ready: false,
    reading: false,
    deleted: false,
    lost: undefined,
    lostDetail: '',
    stuck: false,
  };
}
