/**
 * A dispatch policy alone: what apply would say is said by the test, in its order.
 */

import { DEFAULT_LIMITS, type QueueLimits } from '../../src/machine/definitions.ts';
import {
  Claims,
  DispatchPolicy,
  type DispatchPolicyOptions,
  type DispatchStart,
} from '../../src/machine/dispatch-policy.ts';
import type { Offset } from '../../src/machine/ids.ts';

export const TERM = 5;

export interface BareOptions {
  readonly limits?: Partial<QueueLimits>;
  readonly start?: Partial<DispatchStart>;
  readonly policy?: Partial<DispatchPolicyOptions>;
}

export class BarePolicy {
  readonly policy: DispatchPolicy;
  readonly claims = new Claims();
  next: number;

  constructor({ limits = {}, start = {}, policy = {} }: BareOptions = {}) {
    this.next = start.nextOffset ?? 0;
    this.policy = new DispatchPolicy({
      term: TERM,
      start: {
        floor: 0 as Offset,
        nextOffset: 0 as Offset,
        limits: { ...DEFAULT_LIMITS, ...limits },
        settled: new Map(),
        priorities: undefined,
        requeued: [],
        ...start,
      },
      seenBelow: 0,
      isStream: false,
      firstDeliveryNumber: 1,
      ...policy,
    });
  }

  /** Messages with these priorities. */
  publish(...priorities: number[]): void {
    for (const priority of priorities) {
      this.policy.enqueued(this.next as Offset, priority);
      this.next += 1;
    }
  }

  /** `consumer:offset` of each delivery. */
  who(max = 1_000, now = 0): string[] {
    this.claims.clear();
    this.policy.claim(now, max, this.claims);
    return Array.from(
      { length: this.claims.length },
      (_, at) => `${this.claims.consumer(at)}:${this.claims.offset(at)}`,
    );
  }

  /** Offsets of the deliveries that a claim gives. */
  offsets(max = 1_000, now = 0): number[] {
    return this.who(max, now).map((each) => Number(each.slice(each.indexOf(':') + 1)));
  }

  settled(offset: number, floor: number): void {
    this.policy.settled(offset as Offset, floor as Offset);
  }

  ranged(from: number, to: number, floor: number): void {
    this.policy.ranged(from as Offset, to as Offset, floor as Offset);
  }

  /** `consumer:offset` of deliveries that ended, told once. */
  ended(): string[] {
    const { ended } = this.policy;
    const list = Array.from(
      { length: ended.length },
      (_, at) => `${ended.consumer(at)}:${ended.offset(at)}`,
    );
    ended.clear();
    return list;
  }
}
