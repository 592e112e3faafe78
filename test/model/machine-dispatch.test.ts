import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  SETTLE_OUTCOMES,
  type SettleCause,
  type SettleOutcome,
} from '../../src/machine/command.ts';
import type { Offset } from '../../src/machine/ids.ts';
import { type Delivered, PolicyDriver, TERM } from '../machine/policy-driver.ts';
import { DispatchModel } from './machine-dispatch-model.ts';

const SPAN = 12;
const VISIBILITY = 500;

const step = fc.oneof(
  { weight: 3, arbitrary: fc.record({ do: fc.constant('publish'), n: fc.nat({ max: 4 }) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('attach'), n: fc.nat({ max: 5 }) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('grant'), n: fc.nat({ max: 3 }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('lost', 'returned'), n: fc.nat() }) },
  { weight: 8, arbitrary: fc.record({ do: fc.constant('claim'), n: fc.nat({ max: 5 }) }) },
  { weight: 10, arbitrary: fc.record({ do: fc.constantFrom(...SETTLE_OUTCOMES), n: fc.nat() }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('requeue'), n: fc.nat() }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('old'), n: fc.nat() }) },
  { weight: 12, arbitrary: fc.record({ do: fc.constant('apply'), n: fc.nat({ max: 3 }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('fail'), n: fc.nat() }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('wait'), n: fc.nat({ max: 400 }) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('expire'), n: fc.constant(0) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('unclaim', 'withhold'), n: fc.nat() }) },
);
const restart = fc.record({ do: fc.constant('restart'), n: fc.nat() });
const steps = fc.array(
  fc.oneof({ weight: 200, arbitrary: step }, { weight: 1, arbitrary: restart }),
  { minLength: 250, maxLength: 250, size: 'max' },
);

interface Proposal {
  readonly offset: number;
  readonly outcome: SettleOutcome;
  readonly cause: SettleCause;
}

/** The policy and its model; proposals are applied some time after they were made. */
class Pair {
  readonly real = new PolicyDriver({
    maxUnsettledSpan: SPAN,
    visibilityTimeoutMs: VISIBILITY,
    deliveryLimit: 6,
  });
  readonly model = new DispatchModel(TERM, SPAN, VISIBILITY);
  readonly proposals: Proposal[] = [];
  readonly deliveries: (Delivered & { term: number })[] = [];
  #nextConsumer = 1;

  step(what: string, n: number): void {
    const { real, model } = this;
    switch (what) {
      case 'publish':
        for (let i = 0; i < n; i += 1) {
          const effects = real.sender.send([real.queueId]);
          real.sender.answeredUpTo = real.sender.number;
          real.tell(effects);
          model.tell(effects);
        }
        return;
      case 'attach':
        if (model.consumers.length >= 4) return;
        real.policy.attach(this.#nextConsumer, n);
        model.attach(this.#nextConsumer, n);
        this.#nextConsumer += 1;
        return;
      case 'grant':
        for (const consumer of model.consumers.slice(0, 1 + (n % 4))) {
          real.policy.grant(consumer, n);
          model.grant(consumer, n);
        }
        return;
      case 'lost':
      case 'returned':
        this.#close(what, n);
        return;
      case 'claim':
        this.claim(n);
        return;
      case 'old':
        this.#settle(this.deliveries[n % Math.max(1, this.deliveries.length)], 'complete');
        return;
      case 'apply':
        for (let i = 0; i < n; i += 1) this.applyNext();
        return;
      case 'fail':
        this.#fail(n);
        return;
      case 'wait':
        real.wait(n);
        return;
      case 'expire':
        this.expire();
        return;
      case 'unclaim':
      case 'withhold':
        this.#takeBack(what, n);
        return;
      case 'restart':
        this.restart(n % 2 === 0);
        return;
      default:
        this.#settle(this.deliveries.at(-1 - (n % 8)), what as SettleOutcome);
    }
  }

  claim(max: number): Delivered[] {
    const got = this.real.claim(max);
    expect(got).toEqual(this.model.claim(this.real.now, max));
    const { term } = this.model;
    for (const delivery of got) this.deliveries.push({ ...delivery, term });
    return got;
  }

  applyNext(): void {
    const proposal = this.proposals.shift();
    if (proposal === undefined) return;
    const { offset, outcome, cause } = proposal;
    this.model.tell(this.real.propose(offset, outcome, cause));
  }

  expire(): void {
    const offsets: Offset[] = [];
    this.real.policy.expire(this.real.now, 1_000, offsets);
    const expected = this.model.expire(this.real.now);
    expect([...offsets].sort((a, b) => a - b)).toEqual([...expected].sort((a, b) => a - b));
    for (const offset of offsets) {
      this.proposals.push({ offset, outcome: 'requeue', cause: 'timeout' });
    }
  }

  /** A new leader has applied what was proposed, or it never reached the log. */
  restart(isApplied: boolean): void {
    if (isApplied) while (this.proposals.length > 0) this.applyNext();
    this.proposals.length = 0;
    this.model.restart();
    this.real.driver.checkpoint();
    this.real.driver.restart();
    this.real.newPolicy(0, this.model.term);
  }

  compare(): void {
    const { policy } = this.real;
    const { model } = this;
    const sizes = [policy.delivered, policy.waiting, policy.withheld.length];
    const expected = [model.count('held'), model.count('waiting'), model.count('withheld')];
    if (sizes.some((size, at) => size !== expected[at])) expect(sizes).toEqual(expected);
    const floor = model.messages.findIndex(({ state }) => state !== 'settled');
    const fresh = model.messages.findIndex(({ state }) => state === 'new');
    const stuck = fresh !== -1 && fresh - floor >= SPAN ? floor : undefined;
    if (policy.stuck() !== stuck) expect(policy.stuck()).toBe(stuck);
  }

  #settle(delivery: (Delivered & { term: number }) | undefined, outcome: SettleOutcome): void {
    if (delivery === undefined) return;
    const { offset, number, term } = delivery;
    const verdict = this.real.policy.settle(offset, term, number, outcome);
    expect(verdict).toBe(this.model.settle(offset, term, number, outcome));
    if (verdict === 'propose') this.proposals.push({ offset, outcome, cause: 'client' });
  }

  #close(how: 'lost' | 'returned', n: number): void {
    const { consumers } = this.model;
    const consumer = consumers[n % Math.max(1, consumers.length)];
    if (consumer === undefined) return;
    const offsets: Offset[] = [];
    this.real.policy.close(consumer, how, offsets);
    const expected = this.model.close(consumer, how);
    expect([...offsets].sort((a, b) => a - b)).toEqual([...expected].sort((a, b) => a - b));
    for (const offset of offsets)
      this.proposals.push({ offset, outcome: 'requeue', cause: 'lost' });
  }

  /** Refused proposals are those of which no other one of the same message is under way. */
  #fail(n: number): void {
    const at = n % Math.max(1, this.proposals.length);
    const proposal = this.proposals[at];
    if (proposal === undefined) return;
    const { offset } = proposal;
    if (this.proposals.filter((each) => each.offset === offset).length > 1) return;
    this.proposals.splice(at, 1);
    this.real.policy.proposalFailed(offset as Offset, this.real.now);
    this.model.proposalFailed(offset, this.real.now);
  }

  #takeBack(what: 'unclaim' | 'withhold', n: number): void {
    const delivery = this.deliveries.at(-1 - (n % 4));
    if (delivery === undefined || this.model.stateOf(delivery.offset) !== 'held') return;
    this.real.policy[what](delivery.offset);
    this.model[what](delivery.offset);
  }
}

/** A consumer that settles all it gets must empty the queue, whatever happened before. */
function drain(pair: Pair): void {
  pair.restart(true);
  pair.real.policy.attach(1_000, 1_000_000);
  pair.model.attach(1_000, 1_000_000);
  for (let round = 0; round < 1_000 && pair.real.driver.machine.depth(pair.real.queueId) !== 0;) {
    for (const { offset, number } of pair.claim(100)) {
      expect(pair.real.policy.settle(offset, pair.model.term, number, 'complete')).toBe('propose');
      pair.model.settle(offset, pair.model.term, number, 'complete');
      pair.model.tell(pair.real.propose(offset, 'complete', 'client'));
    }
    const wake = pair.real.policy.nextWake();
    if (wake !== Infinity) pair.real.driver.now = Math.max(pair.real.now, wake);
    round += 1;
  }
  expect(pair.real.driver.machine.depth(pair.real.queueId)).toBe(0);
  expect(pair.real.policy.remembered).toBe(0);
}

describe('the dispatch policy beside its model', () => {
  it(
    'decides the same over 50,000 steps, and a good consumer always empties the queue',
    { timeout: 300_000 },
    () => {
      let run = 0;
      fc.assert(
        fc.property(steps, (list) => {
          const pair = new Pair();
          for (const { do: what, n } of list) {
            run += 1;
            pair.step(what, n);
            pair.compare();
          }
          drain(pair);
        }),
        { numRuns: 200, interruptAfterTimeLimit: 240_000 },
      );
      expect(run).toBeGreaterThanOrEqual(50_000);
    },
  );
});
