/**
 * The leader's deliveries: the I/O shell around the machine's `DispatchPolicy`, one policy for each
 * group that has, or had, consumers. This is its front: what clients ask for, and what apply did,
 * goes to its parts.
 *
 * - `memberships.ts`: how a consumer becomes a member of a group
 * - `group-deliveries.ts`: turns of deliveries, deadlines, what is passed over or withheld
 * - `settle-asks.ts`: settlements by name and their answers
 * - `delivery-group.ts`: the groups themselves
 *
 * Deliveries are soft state: a crash loses them all, and what was delivered and not settled is
 * delivered again, marked. Marked is what may have been delivered: after a crash everything that
 * the log held when the term began, after a clean stop what had gone out. The dispatcher must never
 * deliver what is not applied, and never reads a payload on the way of `apply`.
 */

import type { DeliveryName } from '../machine/dispatch-policy.ts';
import type { Effects, RareEffect } from '../machine/effect.ts';
import type { Offset, QueueId } from '../machine/ids.ts';
import type { DeliveryMarks } from './checkpoint.ts';
import { type DeliveryGroup, DeliveryGroups } from './delivery-group.ts';
import type {
  AttachRequest,
  DispatcherOptions,
  GroupPlace,
  SettleAsk,
  Settlement,
} from './dispatch-options.ts';
import { BY_CLIENT, GroupDeliveries } from './group-deliveries.ts';
import { Memberships } from './memberships.ts';
import { deliveryLimits } from './session-owners.ts';
import { SettleAsks } from './settle-asks.ts';

export type {
  AttachRequest,
  DeliveryHeader,
  DeliveryOutput,
  DispatcherOptions,
  GroupCommand,
  GroupPlace,
  SettleAsk,
  Settlement,
  SettleProposals,
  SettleReason,
} from './dispatch-options.ts';

/** What consumers do with a group now. */
export interface GroupActivity {
  readonly consumers: number;
  /** Messages that consumers hold. */
  readonly delivered: number;
  /** Messages that wait for a redelivery. */
  readonly waiting: number;
  /** Messages that cannot be read. */
  readonly withheld: number;
  /** The offset that holds back new deliveries, if one does. */
  readonly stuck: Offset | undefined;
}

export class Dispatcher {
  readonly #options: DispatcherOptions;
  readonly #groups = new DeliveryGroups();
  readonly #deliveries: GroupDeliveries;
  readonly #asks: SettleAsks;
  readonly #memberships: Memberships;

  constructor(options: DispatcherOptions) {
    this.#options = options;
    this.#deliveries = new GroupDeliveries(options);
    this.#asks = new SettleAsks(options, this.#deliveries);
    this.#memberships = new Memberships(options, {
      groups: this.#groups,
      deliveries: this.#deliveries,
      asks: this.#asks,
    });
  }

  get consumers(): number {
    return this.#memberships.size;
  }

  get deliveries(): number {
    return this.#deliveries.deliveries;
  }

  /** When `serve` wants to be called although nothing happens; Infinity: not at all. */
  get nextWake(): number {
    return this.#deliveries.nextWake;
  }

  /** For the next start, when nothing is delivered any more. */
  get marks(): DeliveryMarks {
    const { inheritedThrough } = this.#options.marks;
    return { inheritedThrough, seenBelow: this.#memberships.seenBelow() };
  }

  /** Messages that consumers of this queue hold now. */
  delivered(queueId: QueueId): number {
    let delivered = 0;
    for (const { policy } of this.#groups.of(queueId)?.serving ?? []) {
      delivered += policy?.delivered ?? 0;
    }
    return delivered;
  }

  consumersOf(queueId: QueueId): number {
    let consumers = 0;
    for (const group of this.#groups.of(queueId)?.named.values() ?? []) {
      consumers += group.members.size;
    }
    return consumers;
  }

  /** Undefined: the group has no consumers, and nothing of it is under way. */
  activity({ queueId, groupId }: GroupPlace): GroupActivity | undefined {
    const group = this.#groups.known(queueId, groupId);
    if (group === undefined) return undefined;
    const { members, policy } = group;
    return {
      consumers: members.size,
      delivered: policy?.delivered ?? 0,
      waiting: policy?.waiting ?? 0,
      withheld: policy?.withheldCount ?? 0,
      stuck: policy?.stuck(),
    };
  }

  /** The stretches of [from, to) of which no consumer of the group holds anything. */
  undelivered({ queueId, groupId }: GroupPlace, from: Offset, to: Offset): [Offset, Offset][] {
    const held = this.#groups.known(queueId, groupId)?.policy?.heldIn(from, to) ?? [];
    const stretches: [Offset, Offset][] = [];
    let begin = from;
    for (const offset of held) {
      if (offset > begin) stretches.push([begin, offset]);
      begin = (offset + 1) as Offset;
    }
    if (to > begin) stretches.push([begin, to]);
    return stretches;
  }

  // What clients ask for.

  /** It hears `attached` before its first delivery, or `cancelled`. */
  attach(id: number, request: AttachRequest): void {
    this.#memberships.attach(id, request);
  }

  grant(id: number, deliveries: number): void {
    this.#memberships.grant(id, deliveries);
  }

  /** False: it is given nothing until it may take again. */
  mayTake(id: number, may: boolean): void {
    this.#memberships.mayTake(id, may);
  }

  /** The consumer holds a delivery that it was given before it was attached. */
  hold(id: number, name: DeliveryName): void {
    this.#memberships.hold(id, name);
  }

  close(id: number, how: 'lost' | 'returned'): void {
    this.#memberships.close(id, how);
  }

  /** A client settles a delivery that it was given. */
  settle(settlement: Settlement): void {
    const { queueId, groupId, offset, term, deliveryNumber, outcome } = settlement;
    const group = this.#groups.known(queueId, groupId);
    const policy = group?.policy;
    if (group === undefined || policy === undefined) {
      // A complete counts always; the machine knows whether there is still anything to settle.
      if (outcome !== 'complete') return;
      this.#options.proposals.settle({ queueId, groupId }, offset, BY_CLIENT.complete);
      return;
    }
    if (policy.settle(offset, term, deliveryNumber, outcome) !== 'propose') return;
    this.#deliveries.propose(group, offset, BY_CLIENT[outcome]);
    this.#deliveries.tellEnded(policy);
  }

  /** Somebody settles by name, or extends; answered by `settled` of the output. */
  ask(ask: SettleAsk): void {
    const { queueId, group: name } = ask;
    const type = this.#options.definition(queueId)?.type;
    // What its owner settles is told by its consumer alone.
    if (type === undefined || type === 'session') {
      this.#asks.refuse(ask.tag, 'no-queue');
      return;
    }
    const unknown = { name, filter: '', kind: 'explicit', isPrivate: false } as const;
    const group = this.#groups.named(queueId, name) ?? this.#memberships.look(queueId, unknown);
    this.#asks.take(group, ask);
  }

  // What apply did, in its order. Called for every message: the first line must be cheap.

  enqueued(queueId: QueueId, offset: Offset, priority: number): void {
    const serving = this.#groups.of(queueId)?.serving;
    if (serving === undefined) return;
    for (let at = 0; at < serving.length; at++) {
      const group = serving[at] as DeliveryGroup;
      group.policy?.enqueued(offset, priority);
      if (!group.isReady && group.members.size > 0) this.#deliveries.makeReady(group);
    }
  }

  settled(effects: Effects, at: number): void {
    const group = this.#groups.known(effects.queueId(at), effects.groupId(at));
    if (group?.policy === undefined) return;
    const { policy } = group;
    policy.settled(effects.offset(at), effects.floor(at));
    this.#asks.settled(group, effects.offset(at));
    this.#applied(group);
  }

  ranged(effects: Effects, at: number): void {
    const group = this.#groups.known(effects.queueId(at), effects.groupId(at));
    if (group?.policy === undefined) return;
    const from = effects.offset(at);
    const to = effects.rangeEnd(at);
    const floor = effects.floor(at);
    group.policy.ranged(from, to, floor);
    this.#asks.ranged(group, { from, to, floor });
    this.#applied(group);
  }

  requeued(effects: Effects, at: number): void {
    const group = this.#groups.known(effects.queueId(at), effects.groupId(at));
    if (group?.policy === undefined) return;
    const offset = effects.offset(at);
    group.policy.requeued(offset, effects.attempts(at), effects.notBefore(at));
    this.#asks.requeued(group, offset);
    this.#applied(group);
    this.#deliveries.makeReady(group);
  }

  rare(effect: RareEffect): void {
    switch (effect.kind) {
      case 'session-claimed':
        for (const group of this.#groups.of(effect.queueId)?.named.values() ?? []) {
          this.#memberships.owned(group, effect.ownerEpoch);
        }
        break;
      case 'queue-updated':
      case 'session-redefined':
        for (const group of this.#groups.of(effect.queueId)?.serving ?? []) {
          group.policy?.limitsChanged(deliveryLimits(effect.definition));
          this.#deliveries.makeReady(group);
        }
        break;
      case 'queue-deleted':
        this.#endQueue(effect.queueId, 'queue-deleted', `the queue ${effect.name} was deleted`);
        break;
      case 'group-created':
        this.#memberships.created(effect.queueId, effect.group, effect.created);
        break;
      case 'group-refused':
        this.#memberships.refused(effect.queueId, effect.name, effect.detail);
        break;
      case 'group-deleted':
        this.#groupDeleted(effect);
        break;
      case 'group-sought':
        this.#groupSought(effect);
        break;
      case 'group-released':
        this.#memberships.released(effect.queueId, effect.groupId);
        break;
      case 'group-check':
        this.#memberships.check(effect.queueId, effect.groupId);
        break;
      default:
    }
  }

  /** The store is gone: nothing follows for anybody. */
  cancelEverything(): void {
    for (const { queueId } of this.#groups.queues()) {
      this.#endQueue(queueId, 'unavailable', 'the store cannot be used any more');
    }
  }

  /** The output is open again. */
  resume(): void {
    if (this.#deliveries.hasReady) this.#options.wake();
  }

  /**
   * Works through wakes that are due and through the ready list until `deadline` (monotonic
   * milliseconds, by `clock`) or until nothing is left; true when something is left.
   */
  serve(deadline: number, clock: () => number): boolean {
    return this.#deliveries.serve(deadline, clock);
  }

  /** After the policy heard of a settlement or a requeue. */
  #applied(group: DeliveryGroup): void {
    const { policy } = group;
    if (policy === undefined) return;
    this.#deliveries.tellEnded(policy);
    if (group.isStuck && !group.isReady) this.#deliveries.makeReady(group);
    if (group.withheld !== policy.withheldCount) {
      group.withheld = policy.withheldCount;
      this.#options.alarms.damageLeft(group, policy.withheld);
    }
    if (group.members.size === 0) this.#memberships.rest(group);
  }

  #endQueue(queueId: QueueId, reason: 'queue-deleted' | 'unavailable', detail: string): void {
    for (const group of this.#groups.of(queueId)?.named.values() ?? []) {
      this.#memberships.end(group, reason, detail);
    }
  }

  #groupDeleted({ queueId, groupId, name, why }: GroupDeleted): void {
    const group = this.#groups.known(queueId, groupId);
    if (group === undefined) return;
    const how = why === 'asked' ? 'was deleted' : 'has expired';
    this.#memberships.end(group, 'group-deleted', `the group ${name} ${how}`);
  }

  #groupSought({ queueId, groupId, floor }: GroupSought): void {
    const group = this.#groups.known(queueId, groupId);
    if (group !== undefined) this.#memberships.sought(group, floor);
  }
}

type GroupDeleted = Extract<RareEffect, { readonly kind: 'group-deleted' }>;
type GroupSought = Extract<RareEffect, { readonly kind: 'group-sought' }>;
