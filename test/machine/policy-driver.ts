/**
 * A machine with one queue and the dispatch policy of its group, joined as a leader joins them:
 * what the policy asks for is proposed as a command, and what apply did is told to the policy.
 */

import type { SettleCause, SettleOutcome } from '../../src/machine/command.ts';
import { DEFAULT_LIMITS, type QueueLimits } from '../../src/machine/definitions.ts';
import {
  Claims,
  DispatchPolicy,
  type DispatchPolicyOptions,
  type SettleVerdict,
} from '../../src/machine/dispatch-policy.ts';
import type { Offset, QueueId } from '../../src/machine/ids.ts';
import { MachineDriver, type SeenEffect, Sender } from './machine-driver.ts';

export interface Delivered {
  readonly consumer: number;
  readonly offset: Offset;
  readonly number: number;
  readonly attempt: number;
  readonly redelivered: boolean;
}

export const TERM = 3;

export class PolicyDriver {
  readonly driver: MachineDriver;
  readonly queueId: QueueId;
  readonly sender: Sender;
  policy: DispatchPolicy;
  readonly #claims = new Claims();

  constructor(limits: Partial<QueueLimits> = {}) {
    this.driver = new MachineDriver();
    const retry = { minMs: 100, maxMs: 5_000, multiplier: 2, jitter: 0 };
    this.queueId = this.driver.declare('orders', { ...DEFAULT_LIMITS, retry, ...limits });
    this.sender = new Sender(this.driver);
    this.policy = this.newPolicy();
  }

  get now(): number {
    return this.driver.now;
  }

  wait(ms: number): void {
    this.driver.now += ms;
  }

  /** As after a restart or a change of leader: the soft state is gone. */
  newPolicy(seenBelow = 0, term = TERM, options: Partial<DispatchPolicyOptions> = {}) {
    const start = this.driver.dispatchStart(this.queueId);
    this.policy = new DispatchPolicy({
      term,
      start,
      seenBelow,
      isStream: false,
      firstDeliveryNumber: 1,
      ...options,
    });
    return this.policy;
  }

  publish(count: number): void {
    for (let i = 0; i < count; i += 1) {
      this.tell(this.sender.send([this.queueId]));
      this.sender.answeredUpTo = this.sender.number;
    }
  }

  claim(max = 1_000): Delivered[] {
    const claims = this.#claims;
    claims.clear();
    this.policy.claim(this.now, max, claims);
    return Array.from({ length: claims.length }, (_, at) => ({
      consumer: claims.consumer(at),
      offset: claims.offset(at),
      number: claims.deliveryNumber(at),
      attempt: claims.attempt(at),
      redelivered: claims.redelivered(at),
    }));
  }

  /** `consumer:offset` of each delivery. */
  who(max?: number): string[] {
    return this.claim(max).map(({ consumer, offset }) => `${consumer}:${offset}`);
  }

  settle(delivery: Delivered, outcome: SettleOutcome = 'complete', term = TERM): SettleVerdict {
    const verdict = this.policy.settle(delivery.offset, term, delivery.number, outcome);
    if (verdict === 'propose') this.propose(delivery.offset, outcome, 'client');
    return verdict;
  }

  expire(): Offset[] {
    const offsets: Offset[] = [];
    this.policy.expire(this.now, 1_000, offsets);
    for (const offset of offsets) this.propose(offset, 'requeue', 'timeout');
    return offsets;
  }

  close(consumer: number, how: 'lost' | 'returned'): Offset[] {
    const offsets: Offset[] = [];
    this.policy.close(consumer, how, offsets);
    for (const offset of offsets) this.propose(offset, 'requeue', 'lost');
    return offsets;
  }

  propose(offset: number, outcome: SettleOutcome, cause: SettleCause): SeenEffect[] {
    const effects = this.driver.settle(this.queueId, offset, outcome, cause);
    this.tell(effects);
    return effects;
  }

  tell(effects: readonly SeenEffect[]): void {
    for (const effect of effects) {
      if (effect.kind === 'enqueued') this.policy.enqueued(effect.offset as Offset, 0);
      else if (effect.kind === 'settled') {
        this.policy.settled(effect.offset as Offset, effect.floor as Offset);
      } else if (effect.kind === 'requeued') {
        const { offset, attempts, notBefore } = effect;
        this.policy.requeued(offset as Offset, attempts, notBefore);
      }
    }
  }
}
