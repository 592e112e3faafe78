/**
 * How a consumer becomes a member of its group, and ceases to be one: finds the group by its name,
 * has it made when it is missing, moves it when the consumer says where to begin, starts its
 * deliveries, and tells the machine when an automatic group has members and when it has none.
 *
 * Nothing is decided before the machine has said it: each step waits for the effect of its command,
 * which comes in the order of the log. A group may be deleted at any point between.
 */

import type { CancelReason } from '../broker/ports.ts';
import { DispatchPolicy } from '../machine/dispatch-policy.ts';
import type { DeliveryName } from '../machine/dispatch-policy.ts';
import type { GroupView } from '../machine/effect.ts';
import { takesAll } from '../machine/filters.ts';
import type { GroupId, Offset, QueueId } from '../machine/ids.ts';
import type { GroupDispatchStart } from '../machine/machine.ts';
import { DeliveryGroup, type DeliveryGroups, type Member } from './delivery-group.ts';
import type {
  AttachRequest,
  DispatcherOptions,
  GroupCommand,
  SessionOwner,
  SettleReason,
} from './dispatch-options.ts';
import type { GroupDeliveries } from './group-deliveries.ts';
import { type GroupChoice, chooseGroup } from './group-names.ts';
import { TAKEN_OVER, isFormerOwner, ownerProblem, policyStart } from './session-owners.ts';
import type { SettleAsks } from './settle-asks.ts';

const LOST: SettleReason = { outcome: 'requeue', cause: 'lost' };

export interface MembershipParts {
  readonly groups: DeliveryGroups;
  readonly deliveries: GroupDeliveries;
  readonly asks: SettleAsks;
}

export class Memberships {
  readonly #options: DispatcherOptions;
  readonly #parts: MembershipParts;
  readonly #members = new Map<number, Member>();
  readonly #offsets: Offset[] = [];
  /** What groups without a policy may have delivered before. */
  readonly #seen: Map<string, number>;
  /** Above the delivery numbers of all policies that are gone. */
  #nextNumber = 1;

  constructor(options: DispatcherOptions, parts: MembershipParts) {
    this.#options = options;
    this.#parts = parts;
    this.#seen = new Map(options.marks.seenBelow);
  }

  get size(): number {
    return this.#members.size;
  }

  member(id: number): Member | undefined {
    return this.#members.get(id);
  }

  /** What may have been delivered, of every group. */
  seenBelow(): Map<string, number> {
    const seen = new Map(this.#seen);
    for (const { known } of this.#parts.groups.queues()) {
      for (const group of known.values()) {
        if (group.seenBelow > 0) seen.set(keyOf(group.queueId, group.groupId), group.seenBelow);
      }
    }
    return seen;
  }

  attach(id: number, request: AttachRequest): void {
    const { queueId } = request;
    const definition = this.#options.definition(queueId);
    if (definition === undefined) {
      this.#cancel(id, 'queue-deleted', 'the queue does not exist');
      return;
    }
    const own = `~${this.#options.term}.${id}`;
    const chosen = chooseGroup(request, definition.limits.defaultGroup, own);
    const { again = '' } = request;
    const choice = again === '' ? chosen : { ...chosen, name: again };
    const there = this.#parts.groups.named(queueId, choice.name);
    const refusal =
      ownerProblem(definition.type, request) ??
      (there === undefined ? undefined : refusalOf(there, request, choice));
    if (refusal !== undefined) {
      this.#cancel(id, 'refused', refusal);
      return;
    }
    if (there !== undefined && isFormerOwner(there, request)) {
      this.#cancel(id, 'taken-over', TAKEN_OVER);
      return;
    }
    const group = there ?? this.look(queueId, choice);
    const { credit } = request;
    const member: Member = {
      id,
      group,
      request,
      credit,
      isWithPolicy: false,
      isPaused: false,
      isAnnounced: false,
      holds: [],
    };
    this.#members.set(id, member);
    group.members.set(id, member);
    if (there !== undefined) this.#joined(group, member);
  }

  /** Begins to look for a group of this name. */
  look(queueId: QueueId, choice: GroupChoice): DeliveryGroup {
    const group = new DeliveryGroup(queueId, choice);
    this.#parts.groups.add(group);
    this.#options
      .groupNamed(queueId, group.name, (view, owner) => this.#found(group, view, owner))
      .catch(this.#options.failed);
    return group;
  }

  grant(id: number, deliveries: number): void {
    const member = this.#members.get(id);
    if (member === undefined) return;
    if (member.isWithPolicy) {
      member.group.policy?.grant(id, deliveries);
      this.#parts.deliveries.makeReady(member.group);
    } else {
      member.credit += deliveries;
    }
  }

  /** False: nothing is given to it for now. */
  mayTake(id: number, may: boolean): void {
    const member = this.#members.get(id);
    if (member === undefined) return;
    member.isPaused = !may;
    if (!member.isWithPolicy) return;
    member.group.policy?.mayTake(id, may);
    if (may) this.#parts.deliveries.makeReady(member.group);
  }

  /** It holds a delivery from before it was attached. */
  hold(id: number, name: DeliveryName): void {
    const member = this.#members.get(id);
    if (member === undefined) return;
    const { offset, term, deliveryNumber } = name;
    if (member.isWithPolicy) this.#adopt(member, name);
    else member.holds.push({ offset, term, deliveryNumber });
  }

  close(id: number, how: 'lost' | 'returned'): void {
    const member = this.#members.get(id);
    if (member === undefined) return;
    this.#members.delete(id);
    const { group } = member;
    group.members.delete(id);
    const { policy } = group;
    if (policy !== undefined && member.isWithPolicy) {
      const requeue = this.#offsets;
      requeue.length = 0;
      policy.close(id, how, requeue);
      for (const offset of requeue) this.#parts.deliveries.propose(group, offset, LOST);
      this.#parts.deliveries.makeReady(group);
    }
    if (group.members.size === 0 && group.isKnown) this.#empty(group);
  }

  // What apply did.

  created(queueId: QueueId, view: GroupView, isNew: boolean): void {
    const group = this.#parts.groups.named(queueId, view.name);
    if (group?.phase !== 'creating') return;
    group.isNew = isNew;
    this.#known(group, view);
  }

  /** A group could not be made, or could not be moved. */
  refused(queueId: QueueId, name: string, detail: string): void {
    const group = this.#parts.groups.named(queueId, name);
    if (group === undefined) return;
    if (group.phase === 'creating') {
      this.end(group, 'refused', detail);
    } else if (group.phase === 'seeking') {
      const seeker = group.seekers.shift();
      if (seeker !== undefined && group.members.has(seeker)) {
        this.close(seeker, 'returned');
        this.#cancel(seeker, 'refused', detail);
      }
      group.fromMs = undefined;
      if (group.seekers.length === 0) this.#resume(group);
    }
  }

  /** Its deliveries start anew: the members keep their credit, what they hold is not current. */
  sought(group: DeliveryGroup, floor: Offset): void {
    const { policy } = group;
    // An operator who moves it says where it begins too.
    if (group.seekers.shift() === undefined) group.fromMs = undefined;
    if (policy !== undefined) {
      for (const member of group.members.values()) {
        if (!member.isWithPolicy) continue;
        member.credit = policy.credit(member.id);
        member.isWithPolicy = false;
      }
      policy.retire();
      this.#parts.deliveries.tellEnded(policy);
      this.#dropPolicy(group);
    }
    this.#parts.asks.sought(group, floor);
    this.#start(group);
  }

  /** What was not known of it is settled. */
  released(queueId: QueueId, groupId: GroupId): void {
    const group = this.#parts.groups.known(queueId, groupId);
    if (group?.phase === 'held') this.#start(group);
  }

  /** Of a session's queue: consumers of former owners end, and what they hold is due again. */
  owned(group: DeliveryGroup, ownerEpoch: number): void {
    group.ownerEpoch = Math.max(group.ownerEpoch, ownerEpoch);
    for (const { id, request } of group.members.values()) {
      if (!isFormerOwner(group, request)) continue;
      this.close(id, 'returned');
      this.#cancel(id, 'taken-over', TAKEN_OVER);
    }
  }

  /** The machine asks whether a group that counts as busy is. */
  check(queueId: QueueId, groupId: GroupId): void {
    const group = this.#parts.groups.known(queueId, groupId);
    const idle = group === undefined || group.members.size === 0;
    this.#propose({ kind: 'idle-group', queueId, groupId, idle });
  }

  /** Nothing of the group is left: its members and those who ask hear it. */
  end(group: DeliveryGroup, reason: CancelReason, detail: string): void {
    for (const { id } of group.members.values()) {
      this.#members.delete(id);
      this.#cancel(id, reason, detail);
    }
    group.members.clear();
    this.#parts.asks.end(group, ENDS[reason]);
    this.#dropPolicy(group);
    this.#parts.groups.remove(group);
    if (reason === 'unavailable') return;
    this.#seen.delete(keyOf(group.queueId, group.groupId));
    this.#options.alarms.clearGroup(group);
  }

  /**
   * Forgets a group without members of which nothing is under way: what it has delivered is all
   * that must be kept of it.
   */
  rest(group: DeliveryGroup): void {
    if (group.asks.length > 0 || group.asked.size > 0 || group.commits.length > 0) return;
    if (group.policy !== undefined && group.policy.remembered > 0) return;
    if (group.seenBelow > 0) this.#seen.set(keyOf(group.queueId, group.groupId), group.seenBelow);
    this.#dropPolicy(group);
    this.#parts.groups.remove(group);
  }

  // The steps.

  /** A member came to a group that was there. */
  #joined(group: DeliveryGroup, member: Member): void {
    if (!group.isKnown) return;
    if (group.members.size === 1) {
      this.#tellIdle(group, false);
      if (this.#seek(group, member)) return;
    }
    if (group.phase === 'serving') this.#enter(group, member);
    else if (group.phase === 'held') this.#announce(member);
  }

  #found(group: DeliveryGroup, view: GroupView | undefined, owner?: SessionOwner): void {
    if (group.phase !== 'looking') return;
    if (owner !== undefined) {
      this.owned(group, owner.ownerEpoch);
      const isBack = owner.hasLeft && group.members.size > 0;
      if (isBack) this.#options.ownerIsBack?.(group.queueId, owner.ownerEpoch);
    }
    if (view !== undefined) {
      this.#known(group, view);
      return;
    }
    const first = group.members.values().next().value;
    if (first === undefined) {
      this.end(group, 'group-deleted', 'there is no such group');
      return;
    }
    // Who only asks about it finds it missing: it is made for its members.
    const { queueId, name, kind: groupKind, filter } = group;
    const { start } = first.request;
    group.phase = 'creating';
    group.fromMs = start?.kind === 'time' ? start.ms : undefined;
    this.#propose({ kind: 'create-group', queueId, name, groupKind, filter, start });
  }

  #known(group: DeliveryGroup, view: GroupView): void {
    const wasCreated = group.phase === 'creating' && group.isNew;
    const filter = takesAll(view.filter) ? '' : view.filter;
    group.kind = view.kind;
    this.#parts.groups.identify(group, view.groupId);
    group.seenBelow = this.#seen.get(keyOf(group.queueId, view.groupId)) ?? 0;
    for (const { id } of group.members.values()) {
      if (group.filter === filter) break;
      group.members.delete(id);
      this.#members.delete(id);
      this.#cancel(id, 'refused', filterDiffers(view.name, filter));
    }
    group.filter = filter;
    const first = group.members.values().next().value;
    if (first === undefined) {
      if (wasCreated) this.#empty(group);
      else this.rest(group);
    } else if (!wasCreated) {
      this.#tellIdle(group, false);
      if (this.#seek(group, first)) return;
    }
    if (this.#parts.groups.named(group.queueId, group.name) === group) this.#start(group);
  }

  /** True: the group is moved first. */
  #seek(group: DeliveryGroup, { id, request }: Member): boolean {
    const { start: position } = request;
    if (position === undefined) return false;
    const { queueId, groupId } = group;
    group.phase = 'seeking';
    group.seekers.push(id);
    group.fromMs = position.kind === 'time' ? position.ms : undefined;
    this.#propose({ kind: 'seek-group', queueId, groupId, position });
    return true;
  }

  /** It was not moved, and goes on where it stands. */
  #resume(group: DeliveryGroup): void {
    const { policy } = group;
    if (group.phase !== 'seeking') return;
    if (policy === undefined) this.#start(group);
    else this.#serving(group, policy);
  }

  #start(group: DeliveryGroup): void {
    group.phase = 'starting';
    this.#options
      .start(group, (start) => {
        // Whichever of several is first: it reads the state as it is then.
        if (group.phase === 'starting') this.#began(group, start);
      })
      .catch(this.#options.failed);
  }

  #began(group: DeliveryGroup, start: GroupDispatchStart | undefined): void {
    const definition = this.#options.definition(group.queueId);
    if (start === undefined || definition === undefined) {
      this.end(group, 'queue-deleted', 'the queue does not exist any more');
      this.#options.wake();
      return;
    }
    if (start.lost !== undefined) {
      this.#hold(group);
      return;
    }
    group.filterFrom = start.filterFrom;
    const policy = new DispatchPolicy({
      term: this.#options.term,
      ...policyStart(definition, start),
      seenBelow: group.seenBelow,
      firstDeliveryNumber: this.#nextNumber,
    });
    this.#parts.groups.setPolicy(group, policy);
    this.#serving(group, policy);
  }

  #serving(group: DeliveryGroup, policy: DispatchPolicy): void {
    group.phase = 'serving';
    for (const member of group.members.values()) this.#enter(group, member);
    this.#parts.asks.serving(group, policy);
    if (group.members.size === 0) this.rest(group);
  }

  /** The member gets deliveries from now on. */
  #enter(group: DeliveryGroup, member: Member): void {
    const { policy } = group;
    if (policy === undefined || member.isWithPolicy) return;
    this.#announce(member);
    member.isWithPolicy = true;
    policy.attach(member.id, member.isPaused ? 0 : member.credit, member.request.manual);
    if (member.isPaused) {
      policy.mayTake(member.id, false);
      policy.grant(member.id, member.credit);
    }
    for (const name of member.holds) this.#adopt(member, name);
    member.holds = [];
    this.#parts.deliveries.makeReady(group);
  }

  #adopt({ id, group, request }: Member, name: DeliveryName): void {
    if (group.policy?.adopt(id, name, this.#options.now()) === true || !request.manual) return;
    // It was over before, and nobody could tell.
    this.#options.output.ended(id, name.offset, name.deliveryNumber);
    this.#options.wake();
  }

  #announce(member: Member): void {
    if (member.isAnnounced) return;
    const { groupId, name } = member.group;
    member.isAnnounced = true;
    this.#options.output.attached(member.id, { groupId, name });
    this.#options.wake();
  }

  /** Nobody knows what it has settled: its members wait until it is sought, or released. */
  #hold(group: DeliveryGroup): void {
    group.phase = 'held';
    for (const member of group.members.values()) this.#announce(member);
    this.#parts.asks.held(group);
    if (group.members.size === 0) this.rest(group);
  }

  /** The last member is gone. */
  #empty(group: DeliveryGroup): void {
    const { queueId, groupId } = group;
    if (group.ownerEpoch > 0) this.#options.ownerIsGone?.(queueId);
    if (group.isPrivate) this.#propose({ kind: 'delete-group', queueId, groupId });
    else this.#tellIdle(group, true);
    this.rest(group);
  }

  #tellIdle({ queueId, groupId, kind }: DeliveryGroup, idle: boolean): void {
    if (kind === 'automatic') this.#propose({ kind: 'idle-group', queueId, groupId, idle });
  }

  #dropPolicy(group: DeliveryGroup): void {
    const { policy } = group;
    if (policy === undefined) return;
    this.#nextNumber = Math.max(this.#nextNumber, policy.nextDeliveryNumber);
    this.#parts.groups.setPolicy(group, undefined);
    this.#parts.deliveries.forget(group);
    group.lost = undefined;
    this.#options.alarms.clearGroup(group);
  }

  #propose(command: GroupCommand): void {
    // Where nothing can be proposed the store is gone, and everybody hears that.
    this.#options.proposals.plain(command, '');
    this.#options.wake();
  }

  #cancel(id: number, reason: CancelReason, detail: string): void {
    this.#options.output.cancelled(id, reason, detail);
    this.#options.wake();
  }
}

/** What those hear who asked for a settlement in a group that ends so. */
const ENDS = {
  'queue-deleted': 'no-queue',
  'group-deleted': 'no-group',
  refused: 'no-group',
  unavailable: 'unavailable',
  'taken-over': 'no-group',
} as const satisfies Record<CancelReason, string>;

function keyOf(queueId: QueueId, groupId: GroupId): string {
  return `${queueId}/${groupId}`;
}

/** Why this consumer cannot be a member of a group that is there; undefined: it can. */
function refusalOf(
  group: DeliveryGroup,
  request: AttachRequest,
  choice: GroupChoice,
): string | undefined {
  if (group.isKnown && group.filter !== choice.filter)
    return filterDiffers(group.name, group.filter);
  if (request.start !== undefined && group.members.size > 0) {
    return `the group ${group.name} has other members: where it stands cannot be changed`;
  }
  return undefined;
}

function filterDiffers(name: string, filter: string): string {
  const has = filter === '' ? 'no filter' : `the filter ${filter}`;
  return `the group ${name} has ${has}`;
}
