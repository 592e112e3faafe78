/**
 * The dispatch policy of one group of a machine, and beside it its model: each step is done to both
 * and must come out the same. What they propose is applied some time later, in order, by the world
 * that the pair is part of.
 */

import { expect } from 'vitest';
import type { SettleCause, SettleOutcome } from '../../src/machine/command.ts';
import { Claims, DispatchPolicy, type DispatchStart } from '../../src/machine/dispatch-policy.ts';
import type { GroupId, Offset } from '../../src/machine/ids.ts';
import { SETTLED_CHUNK } from '../../src/machine/settled-ranges.ts';
import type { SeenEffect } from '../machine/machine-driver.ts';
import { DispatchModel, type ModelDelivery, type ModelOptions } from './machine-dispatch-model.ts';

export interface PairProposal {
  readonly offset: number;
  readonly outcome: SettleOutcome;
  readonly cause: SettleCause;
}

export interface PairWorld {
  readonly options: ModelOptions;
  readonly now: number;
  start(groupId: GroupId): DispatchStart;
}

export class PolicyPair {
  readonly groupId: GroupId;
  readonly #world: PairWorld;
  policy: DispatchPolicy;
  readonly model: DispatchModel;
  readonly proposals: PairProposal[] = [];
  readonly deliveries: (ModelDelivery & { term: number })[] = [];
  readonly #claims = new Claims();
  #nextConsumer = 1;

  constructor(world: PairWorld, groupId: GroupId) {
    this.#world = world;
    this.groupId = groupId;
    this.model = new DispatchModel(world.options);
    this.policy = this.#newPolicy(1);
  }

  tell(effects: readonly SeenEffect[]): void {
    const own = effects.filter((each) => !('groupId' in each) || each.groupId === this.groupId);
    for (const effect of own) {
      if (effect.kind === 'enqueued') {
        this.policy.enqueued(effect.offset as Offset, effect.priority);
      } else if (effect.kind === 'settled') {
        this.policy.settled(effect.offset as Offset, effect.floor as Offset);
      } else if (effect.kind === 'ranged') {
        const { from, to, floor } = effect;
        this.policy.ranged(from as Offset, to as Offset, floor as Offset);
      } else if (effect.kind === 'requeued') {
        this.policy.requeued(effect.offset as Offset, effect.attempts, effect.notBefore);
      } else if (effect.kind === 'group-sought') this.#sought();
      this.model.tell([effect]);
    }
  }

  attach(credit: number): void {
    if (this.model.consumers.length >= 4) return;
    this.policy.attach(this.#nextConsumer, credit);
    this.model.attach(this.#nextConsumer, credit);
    this.#nextConsumer += 1;
  }

  grant(n: number): void {
    for (const consumer of this.model.consumers.slice(0, 1 + (n % 4))) {
      this.policy.grant(consumer, n);
      this.model.grant(consumer, n);
    }
  }

  close(how: 'lost' | 'returned', n: number): void {
    const { consumers } = this.model;
    const consumer = consumers[n % Math.max(1, consumers.length)];
    if (consumer === undefined) return;
    const offsets: Offset[] = [];
    this.policy.close(consumer, how, offsets);
    expect(ascending(offsets)).toEqual(ascending(this.model.close(consumer, how)));
    for (const offset of offsets) this.#propose(offset, 'requeue', 'lost');
  }

  claim(max: number): ModelDelivery[] {
    const claims = this.#claims;
    claims.clear();
    this.policy.claim(this.#world.now, max, claims);
    const got = Array.from({ length: claims.length }, (_, at) => ({
      consumer: claims.consumer(at),
      offset: claims.offset(at),
      number: claims.deliveryNumber(at),
      attempt: claims.attempt(at),
      redelivered: claims.redelivered(at),
    }));
    expect(got).toEqual(this.model.claim(this.#world.now, max));
    const { term } = this.model;
    for (const delivery of got) this.deliveries.push({ ...delivery, term });
    return got;
  }

  /** Settles a delivery of late, or (`old`) any one. */
  settle(outcome: SettleOutcome, n: number, which: 'late' | 'old'): void {
    const all = this.deliveries;
    const delivery = which === 'old' ? all[n % Math.max(1, all.length)] : all.at(-1 - (n % 8));
    if (delivery === undefined) return;
    const { offset, number, term } = delivery;
    const verdict = this.policy.settle(offset as Offset, term, number, outcome);
    expect(verdict).toBe(this.model.settle(offset, term, number, outcome));
    if (verdict === 'propose') this.#propose(offset, outcome, 'client');
  }

  extend(n: number): void {
    const delivery = this.deliveries.at(-1 - (n % 8));
    if (delivery === undefined || delivery.term !== this.model.term) return;
    const { offset, number, term } = delivery;
    const { now } = this.#world;
    const of = { offset: offset as Offset, term, deliveryNumber: number };
    expect(this.policy.extend(of, now)).toBe(this.model.extend(offset, number, now));
  }

  expire(): void {
    const offsets: Offset[] = [];
    this.policy.expire(this.#world.now, 1_000, offsets);
    expect(ascending(offsets)).toEqual(ascending(this.model.expire(this.#world.now)));
    for (const offset of offsets) this.#propose(offset, 'requeue', 'timeout');
  }

  /** Refused proposals are those of which no other one of the same message is under way. */
  fail(n: number): void {
    const at = n % Math.max(1, this.proposals.length);
    const proposal = this.proposals[at];
    if (proposal === undefined) return;
    const { offset } = proposal;
    if (this.proposals.filter((each) => each.offset === offset).length > 1) return;
    this.proposals.splice(at, 1);
    this.policy.proposalFailed(offset as Offset, this.#world.now);
    this.model.proposalFailed(offset, this.#world.now);
  }

  takeBack(what: 'unclaim' | 'withhold' | 'passOver', n: number): void {
    const delivery = this.deliveries.at(-1 - (n % 4));
    if (delivery === undefined || this.model.stateOf(delivery.offset) !== 'held') return;
    this.policy[what](delivery.offset as Offset);
    this.model[what](delivery.offset);
    if (what === 'passOver') this.#propose(delivery.offset, 'complete', 'expired');
  }

  /** A new leader. */
  restart(): void {
    this.proposals.length = 0;
    this.model.restart();
    this.policy = this.#newPolicy(1);
  }

  compare(): void {
    const { model, policy } = this;
    const sizes = [policy.delivered, policy.waiting, policy.withheld.length];
    const expected = [model.count('held'), model.count('waiting'), model.count('withheld')];
    if (sizes.some((size, at) => size !== expected[at])) expect(sizes).toEqual(expected);
    const isHeldBack = model.nextNew() === -1 && model.count('new') > 0;
    const stuck = isHeldBack ? model.floor : undefined;
    if (policy.stuck() !== stuck) expect(policy.stuck()).toBe(stuck);
  }

  #propose(offset: number, outcome: SettleOutcome, cause: SettleCause): void {
    this.proposals.push({ offset, outcome, cause });
  }

  #sought(): void {
    const former = this.policy;
    this.policy = this.#newPolicy(former.nextDeliveryNumber);
    for (const consumer of this.model.consumers) {
      expect(former.credit(consumer)).toBe(this.model.credit(consumer));
      this.policy.attach(consumer, former.credit(consumer));
    }
    this.model.sought(this.#world.start(this.groupId));
  }

  #newPolicy(firstDeliveryNumber: number): DispatchPolicy {
    const { term } = this.model;
    const { isStream } = this.#world.options;
    const priorities = packed(this.model.messages.map(({ level }) => level));
    const start = { ...this.#world.start(this.groupId), priorities };
    return new DispatchPolicy({ term, start, seenBelow: 0, isStream, firstDeliveryNumber });
  }
}

function ascending(offsets: readonly number[]): number[] {
  return [...offsets].sort((a, b) => a - b);
}

/** Levels as the records of a queue have them. */
function packed(levels: readonly number[]): Map<number, Uint8Array> {
  const chunks = new Map<number, Uint8Array>();
  for (const [offset, level] of levels.entries()) {
    const chunk = Math.floor(offset / SETTLED_CHUNK);
    const bytes = chunks.get(chunk) ?? new Uint8Array(SETTLED_CHUNK / 2);
    chunks.set(chunk, bytes);
    const at = offset % SETTLED_CHUNK;
    bytes[at >>> 1] = (bytes[at >>> 1] as number) | (level << ((at & 1) * 4));
  }
  return chunks;
}
