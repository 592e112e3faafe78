/**
 * Serves the groups that can deliver now: claims from their policies, reads payloads, encodes
 * deliveries, and proposes what deadlines and unwanted messages ask for.
 *
 * Only what can deliver now is in the ready list, and it is served in turns of a bounded size: ten
 * thousand groups at rest cost nothing, and a busy one does not hold up the others. A message that
 * has expired, or that is older than its group and not for its filter, or from before the time at
 * which its group is to begin, is passed over: settled, and never delivered; so is one that is
 * stored nowhere in a queue of which settlements were lost. One that cannot be read is withheld
 * with an alarm, and the rest goes on.
 */

import type { RangeCause, SettleOutcome } from '../machine/command.ts';
import { Claims, type DispatchPolicy } from '../machine/dispatch-policy.ts';
import { filterTakes } from '../machine/filters.ts';
import type { Offset, QueueId } from '../machine/ids.ts';
import type { DeliveryGroup } from './delivery-group.ts';
import type { DeliveryHeader, DispatcherOptions, SettleReason } from './dispatch-options.ts';
import type { StoredMessage } from './payloads.ts';
import { expiresAtMs, publishedAtMs, topicOf } from './stored-peek.ts';
import { WakeHeap } from './wake-heap.ts';

/** Deliveries of one group in one turn. */
const TURN_DELIVERIES = 64;
const EXPIRE_MAX = 256;
/** Places of the ready list that were served are given back after so many. */
const READY_DROP_AFTER = 1024;

/** One object for each, so that a settlement makes none. */
export const BY_CLIENT: Record<SettleOutcome, SettleReason> = {
  complete: { outcome: 'complete', cause: 'client' },
  requeue: { outcome: 'requeue', cause: 'client' },
  discard: { outcome: 'discard', cause: 'client' },
};
const TIMED_OUT: SettleReason = { outcome: 'requeue', cause: 'timeout' };
/** Why a message is passed over. */
const PASSED = {
  expired: { outcome: 'complete', cause: 'expired' },
  filtered: { outcome: 'complete', cause: 'filtered' },
  gone: { outcome: 'complete', cause: 'gone' },
} as const satisfies Partial<Record<RangeCause, SettleReason>>;
type PassCause = keyof typeof PASSED;

export class GroupDeliveries {
  readonly #options: DispatcherOptions;
  readonly #wakes = new WakeHeap<DeliveryGroup>();
  readonly #claims = new Claims();
  readonly #offsets: Offset[] = [];
  #ready: DeliveryGroup[] = [];
  #readyAt = 0;
  #deliveries = 0;
  /** Messages next to each other that are passed over for one reason. */
  #passedFrom = 0;
  #passedTo = 0;
  #passedCause: PassCause = 'expired';
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

  get deliveries(): number {
    return this.#deliveries;
  }

  get nextWake(): number {
    return this.#wakes.next;
  }

  get hasReady(): boolean {
    return this.#readyAt < this.#ready.length;
  }

  makeReady(group: DeliveryGroup): void {
    if (group.isReady || group.isReading || group.policy === undefined) return;
    group.isReady = true;
    this.#ready.push(group);
    this.#options.wake();
  }

  /** The group has no policy any more. */
  forget(group: DeliveryGroup): void {
    this.#wakes.set(group, Number.POSITIVE_INFINITY);
  }

  propose(group: DeliveryGroup, offset: Offset, reason: SettleReason): boolean {
    if (this.#options.proposals.settle(group, offset, reason)) return true;
    group.policy?.proposalFailed(offset, this.#options.now());
    return false;
  }

  /** Tells what ended of the deliveries of manual consumers. */
  tellEnded(policy: DispatchPolicy): void {
    const { ended } = policy;
    if (ended.length === 0) return;
    const { output } = this.#options;
    for (let at = 0; at < ended.length; at++) {
      output.ended(ended.consumer(at), ended.offset(at), ended.deliveryNumber(at));
    }
    ended.clear();
  }

  /** Works until `deadline` or until nothing is left; true when something is left. */
  serve(deadline: number, clock: () => number): boolean {
    const { output } = this.#options;
    const now = this.#options.now();
    for (let group = this.#wakes.due(now); group !== undefined; group = this.#wakes.due(now)) {
      this.#expire(group, now);
      this.makeReady(group);
    }
    if (this.#options.holdsBack()) return false;
    while (this.hasReady) {
      if (!output.open) return false;
      const group = this.#ready[this.#readyAt++] as DeliveryGroup;
      if (this.#readyAt > READY_DROP_AFTER && this.#readyAt * 2 > this.#ready.length) {
        this.#ready = this.#ready.slice(this.#readyAt);
        this.#readyAt = 0;
      }
      group.isReady = false;
      if (group.policy !== undefined && !group.isReading) this.#serve(group, group.policy, now);
      if (clock() >= deadline) break;
    }
    if (this.hasReady) return true;
    this.#ready.length = 0;
    this.#readyAt = 0;
    return false;
  }

  #serve(group: DeliveryGroup, policy: DispatchPolicy, now: number): void {
    const claims = this.#claims;
    claims.clear();
    const count = policy.claim(now, TURN_DELIVERIES, claims);
    let passed = false;
    for (let at = 0; at < count; at++) {
      const offset = claims.offset(at);
      const { output } = this.#options;
      if (!output.takes(claims.consumer(at))) {
        if (!output.open) {
          this.#putBack(policy, at);
          this.makeReady(group);
          break;
        }
        // The others go on.
        policy.unclaim(offset);
        policy.mayTake(claims.consumer(at), false);
        passed = true;
        continue;
      }
      const found =
        offset === group.lost
          ? 'lost'
          : this.#options.payloads.get(group.queueId, offset, group.cursor);
      if (found === 'away') {
        this.#putBack(policy, at);
        group.isReading = true;
        this.#read(group, offset).catch(this.#options.failed);
        break;
      }
      if (found === 'lost') {
        if (this.#isGone(group, offset)) passed = this.#pass(group, offset, 'gone') || passed;
        else this.#withhold(group, offset);
        continue;
      }
      const cause = this.#unwanted(group, offset, found);
      if (cause === undefined) this.#deliver(group, at, found);
      else passed = this.#pass(group, offset, cause) || passed;
    }
    this.#settlePassed(group);
    this.#watchSpan(group, policy);
    if (passed || count === TURN_DELIVERIES) this.makeReady(group);
    this.#wakes.set(group, policy.nextWake());
  }

  /** The claim at `at`. */
  #deliver(group: DeliveryGroup, at: number, message: StoredMessage): void {
    const claims = this.#claims;
    const header = this.#header;
    header.consumer = claims.consumer(at);
    header.queueId = group.queueId;
    header.offset = claims.offset(at);
    if (header.offset >= group.seenBelow) group.seenBelow = header.offset + 1;
    header.deliveryNumber = claims.deliveryNumber(at);
    header.attempt = claims.attempt(at);
    const isInherited = message.index <= this.#options.marks.inheritedThrough;
    header.redelivered = claims.redelivered(at) || (isInherited && !group.isNew);
    this.#deliveries++;
    this.#options.output.deliver(header, message);
  }

  /** Why the message is not to be delivered; undefined: it is. */
  #unwanted(group: DeliveryGroup, offset: Offset, message: StoredMessage): PassCause | undefined {
    const definition = this.#options.definition(group.queueId);
    if (definition === undefined) return undefined;
    if (group.fromMs !== undefined) {
      if (publishedAtMs(message) < group.fromMs) return 'filtered';
      group.fromMs = undefined;
    }
    const expiresAt = expiresAtMs(message, definition.limits.ttlMs);
    if (expiresAt !== Number.POSITIVE_INFINITY && expiresAt <= this.#options.now()) {
      return 'expired';
    }
    if (offset >= group.filterFrom || group.filter === '') return undefined;
    const takes = filterTakes(group.filter, definition.name, topicOf(message));
    return takes ? undefined : 'filtered';
  }

  #pass(group: DeliveryGroup, offset: Offset, cause: PassCause): boolean {
    if (group.policy?.passOver(offset) !== true) return false;
    if (offset !== this.#passedTo || cause !== this.#passedCause) {
      this.#settlePassed(group);
      this.#passedFrom = offset;
      this.#passedCause = cause;
    }
    this.#passedTo = offset + 1;
    return true;
  }

  /** Proposes the settlement of what was passed over: one message, or a stretch. */
  #settlePassed(group: DeliveryGroup): void {
    const from = this.#passedFrom as Offset;
    const to = this.#passedTo as Offset;
    const cause = this.#passedCause;
    this.#passedFrom = 0;
    this.#passedTo = 0;
    if (to - from === 1) this.propose(group, from, PASSED[cause]);
    if (to - from <= 1) return;
    const { queueId, groupId } = group;
    const { proposals } = this.#options;
    if (proposals.plain({ kind: 'settle-range', queueId, groupId, from, to, cause }, '')) return;
    for (let offset = from; offset < to; offset++)
      group.policy?.proposalFailed(offset, this.#options.now());
  }

  /** The claims from `from` on; newest first, so that the policy finds them in their old order. */
  #putBack(policy: DispatchPolicy, from: number): void {
    const claims = this.#claims;
    for (let at = claims.length - 1; at >= from; at--) policy.unclaim(claims.offset(at));
  }

  async #read(group: DeliveryGroup, offset: Offset): Promise<void> {
    const outcome = await this.#options.payloads.fetch(group.queueId, offset);
    group.isReading = false;
    if (outcome.kind === 'lost') {
      group.lost = offset;
      group.lostDetail = outcome.detail;
      group.lostIsGone = outcome.gone;
    }
    this.makeReady(group);
  }

  /** Every group had settled it, and which those were was lost: there is nothing to deliver. */
  #isGone(group: DeliveryGroup, offset: Offset): boolean {
    const { payloads } = this.#options;
    if (offset >= this.#options.goneBelow(group.queueId)) return false;
    return offset === group.lost ? group.lostIsGone : payloads.lostIsGone;
  }

  #withhold(group: DeliveryGroup, offset: Offset): void {
    const { alarms, payloads } = this.#options;
    const detail = offset === group.lost ? group.lostDetail : payloads.lostDetail;
    group.policy?.withhold(offset);
    group.withheld++;
    alarms.damaged(group, offset, detail);
    this.makeReady(group);
  }

  #watchSpan(group: DeliveryGroup, policy: DispatchPolicy): void {
    const stuck = policy.stuck();
    if (stuck !== undefined) this.#options.alarms.stuck(group, stuck);
    else if (group.isStuck) this.#options.alarms.unstuck(group);
    group.isStuck = stuck !== undefined;
  }

  #expire(group: DeliveryGroup, now: number): void {
    const { policy } = group;
    if (policy === undefined) return;
    const requeue = this.#offsets;
    requeue.length = 0;
    policy.expire(now, EXPIRE_MAX, requeue);
    for (const offset of requeue) this.propose(group, offset, TIMED_OUT);
    this.tellEnded(policy);
  }
}
