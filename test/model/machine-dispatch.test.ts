import { fc } from '../support/properties.ts';
import { describe, expect, it } from 'vitest';
import { SETTLE_OUTCOMES, type SettleOutcome } from '../../src/machine/command.ts';
import { DEFAULT_LIMITS } from '../../src/machine/definitions.ts';
import type { GroupId, Offset, QueueId } from '../../src/machine/ids.ts';
import { MachineDriver, type SeenEffect, Sender } from '../machine/machine-driver.ts';
import type { ModelOptions } from './machine-dispatch-model.ts';
import { PolicyPair, type PairWorld } from './machine-dispatch-pair.ts';

const TERM = 3;
const SPAN = 12;
const VISIBILITY = 500;

const weighted = (weight: number, ...names: string[]) => ({
  weight,
  arbitrary: fc.record({
    do: fc.constantFrom(...names),
    n: fc.nat(),
    few: fc.nat({ max: 5 }),
    group: fc.nat({ max: 1 }),
  }),
});
const step = fc.oneof(
  weighted(3, 'publish'),
  weighted(2, 'attach'),
  weighted(4, 'grant'),
  weighted(1, 'lost', 'returned'),
  weighted(8, 'claim'),
  weighted(10, ...SETTLE_OUTCOMES),
  weighted(2, 'requeue'),
  weighted(2, 'old'),
  weighted(12, 'apply'),
  weighted(1, 'fail'),
  weighted(3, 'wait'),
  weighted(3, 'expire'),
  weighted(1, 'extend'),
  weighted(2, 'unclaim', 'withhold', 'passOver'),
  weighted(1, 'range', 'seek'),
);
const restart = weighted(1, 'restart').arbitrary;
const steps = fc.array(
  fc.oneof({ weight: 200, arbitrary: step }, { weight: 1, arbitrary: restart }),
  { minLength: 250, maxLength: 250, size: 'max' },
);
const kinds = fc.record({
  isStream: fc.boolean(),
  isSingle: fc.boolean(),
  maxPriority: fc.constantFrom(0, 3),
});
type Kinds = Pick<ModelOptions, 'isStream' | 'isSingle' | 'maxPriority'>;

/** One queue of a machine, and the policies of two of its groups, one of them with a filter. */
class World implements PairWorld {
  readonly driver = new MachineDriver();
  readonly options: ModelOptions;
  readonly queueId: QueueId;
  readonly sender: Sender;
  readonly pairs: PolicyPair[];

  constructor({ isStream, isSingle, maxPriority }: Kinds) {
    const bounds = { term: TERM, span: SPAN, visibilityMs: VISIBILITY };
    this.options = { ...bounds, isStream, isSingle, maxPriority };
    const limits = {
      ...DEFAULT_LIMITS,
      retry: { minMs: 100, maxMs: 5_000, multiplier: 2, jitter: 0 },
      maxUnsettledSpan: SPAN,
      visibilityTimeoutMs: VISIBILITY,
      deliveryLimit: 1_000_000,
      singleActiveConsumer: isSingle,
      maxPriority,
      groupStart: 'first',
    } as const;
    this.queueId = this.driver.declare('orders', limits, isStream ? 'stream' : 'classic');
    this.sender = new Sender(this.driver);
    const groups = [
      this.driver.group(this.queueId, 'default'),
      this.driver.group(this.queueId, 'filtered', { filter: 'x' }),
    ];
    this.pairs = groups.map((groupId) => new PolicyPair(this, groupId));
  }

  get now(): number {
    return this.driver.now;
  }

  start(groupId: GroupId) {
    return this.driver.dispatchStart(this.queueId, groupId);
  }

  step(what: string, n: number, few: number, pair: PolicyPair): void {
    switch (what) {
      case 'publish':
        for (let i = 0; i < few; i += 1) this.publish(n + i);
        return;
      case 'attach':
        pair.attach(few);
        return;
      case 'grant':
        pair.grant(few % 4);
        return;
      case 'lost':
      case 'returned':
        pair.close(what, n);
        return;
      case 'claim':
        pair.claim(few);
        return;
      case 'old':
        pair.settle('complete', n, 'old');
        return;
      case 'apply':
        for (let i = 0; i < few; i += 1) this.applyNext(pair);
        return;
      case 'fail':
        pair.fail(n);
        return;
      case 'wait':
        this.driver.now += n % 400;
        return;
      case 'expire':
        pair.expire();
        return;
      case 'extend':
        pair.extend(n);
        return;
      case 'unclaim':
      case 'withhold':
      case 'passOver':
        pair.takeBack(what, n);
        return;
      case 'range':
        this.#range(n, few, pair);
        return;
      case 'seek':
        this.#seek(n, pair);
        return;
      case 'restart':
        this.restart(n % 2 === 0);
        return;
      default:
        pair.settle(what as SettleOutcome, n, 'late');
    }
  }

  publish(n: number): void {
    const topic = `$queue/orders/${n % 3 === 0 ? 'y' : 'x'}`;
    const effects = this.sender.send([this.queueId], 100, { topic });
    this.sender.answeredUpTo = this.sender.number;
    const priority = n % 7 === 0 ? 9 : n % 3;
    this.tell(effects.map((each) => (each.kind === 'enqueued' ? { ...each, priority } : each)));
  }

  tell(effects: readonly SeenEffect[]): void {
    for (const pair of this.pairs) pair.tell(effects);
  }

  applyNext(pair: PolicyPair): boolean {
    const proposal = pair.proposals.shift();
    if (proposal === undefined) return false;
    const { offset, outcome, cause } = proposal;
    const of = { queueId: this.queueId, groupId: pair.groupId, cause };
    this.tell(this.driver.settleOf(of, offset, outcome));
    return true;
  }

  /** A new leader has applied what was proposed, or it never reached the log. */
  restart(isApplied: boolean): void {
    for (const pair of this.pairs) while (isApplied && this.applyNext(pair));
    this.driver.checkpoint();
    this.driver.restart();
    for (const pair of this.pairs) pair.restart();
  }

  #range(n: number, few: number, { groupId }: PolicyPair): void {
    const from = n % (this.pairs[0] as PolicyPair).model.messages.length || 0;
    const range = [from, from + few] as const;
    this.tell(this.driver.settleRange(this.queueId, range, { groupId, cause: 'purged' }));
  }

  #seek(n: number, { groupId, model }: PolicyPair): void {
    const { length } = model.messages;
    // Mostly not far: what is below is gone in a classic queue.
    const offset = this.options.isStream
      ? n % (length + 1)
      : Math.min(length, model.floor + (n % 4));
    const position = { kind: 'offset', offset: offset as Offset } as const;
    this.tell(this.driver.run({ kind: 'seek-group', queueId: this.queueId, groupId, position }));
  }
}

/** A consumer that settles all it gets must empty the group, whatever happened before. */
function drain(world: World, pair: PolicyPair): void {
  world.restart(true);
  pair.attach(1_000_000);
  for (let round = 0; round < 1_000 && depth(world, pair) !== 0; round += 1) {
    for (const { offset, number } of pair.claim(100)) {
      const { model, policy } = pair;
      expect(policy.settle(offset as Offset, model.term, number, 'complete')).toBe('propose');
      model.settle(offset, model.term, number, 'complete');
      pair.proposals.push({ offset, outcome: 'complete', cause: 'client' });
    }
    while (world.applyNext(pair));
    const wake = pair.policy.nextWake();
    if (wake !== Infinity) world.driver.now = Math.max(world.now, wake);
  }
  expect(depth(world, pair)).toBe(0);
  expect(pair.policy.remembered).toBe(0);
}

function depth(world: World, { groupId }: PolicyPair): number | undefined {
  const groups = world.driver.groups(world.queueId);
  return groups.find((group) => group.groupId === groupId)?.depth;
}

describe('the dispatch policy beside its model', () => {
  it(
    'decides the same over 50,000 steps in groups of every kind, and a good consumer always empties its group',
    { timeout: 300_000 },
    () => {
      let run = 0;
      fc.assert(
        fc.property(kinds, steps, (kind, list) => {
          const world = new World(kind);
          for (const { do: what, n, few, group } of list) {
            run += 1;
            world.step(what, n, few, world.pairs[group] as PolicyPair);
            for (const pair of world.pairs) pair.compare();
          }
          for (const pair of world.pairs) drain(world, pair);
        }),
        { numRuns: 200, interruptAfterTimeLimit: 240_000 },
      );
      expect(run).toBeGreaterThanOrEqual(50_000);
    },
  );
});
