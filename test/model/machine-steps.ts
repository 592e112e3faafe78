/**
 * Random steps for the machine beside its model: commands, checkpoints in slices, evictions,
 * crashes with replay. Every step compares the effects and what can be seen of each queue.
 */

import fc from 'fast-check';
import { isDeepStrictEqual } from 'node:util';
import { expect } from 'vitest';
import {
  type Command,
  SETTLE_CAUSES,
  SETTLE_OUTCOMES,
  type SettleOutcome,
  VOID_REASONS,
} from '../../src/machine/command.ts';
import { DEFAULT_LIMITS, type QueueLimits } from '../../src/machine/definitions.ts';
import type { GroupId, Offset, QueueId } from '../../src/machine/ids.ts';
import { SETTLED_CHUNK, type SettledChunk } from '../../src/machine/settled-ranges.ts';
import { MachineDriver } from '../machine/machine-driver.ts';
import { MachineModel } from './machine-model.ts';

class Real {
  readonly driver: MachineDriver;

  constructor(maxResidentRecords: number) {
    this.driver = new MachineDriver(maxResidentRecords);
  }
}

/** Steps that were run, over all runs. */
export const counted = { steps: 0, commands: 0 };

type Step = fc.Command<MachineModel, Real>;

/** Runs commands on both sides; `make` sees the model, so that what is random can also be apt. */
class CommandStep implements Step {
  readonly #what: string;
  readonly #make: (model: MachineModel) => Command | Command[];

  constructor(what: string, make: (model: MachineModel) => Command | Command[]) {
    this.#what = what;
    this.#make = make;
  }

  check(): boolean {
    return true;
  }

  run(model: MachineModel, { driver }: Real): void {
    counted.steps += 1;
    for (const command of [this.#make(model)].flat()) {
      counted.commands += 1;
      const expected = model.run(command, driver.now);
      const got = driver.run(command);
      if (!isDeepStrictEqual(got, expected)) {
        expect({ command, effects: got }).toEqual({ command, effects: expected });
      }
    }
    compareFloors(model, driver);
  }

  toString(): string {
    return this.#what;
  }
}

class DriverStep implements Step {
  readonly #what: string;
  readonly #act: (driver: MachineDriver, model: MachineModel) => void;

  constructor(what: string, act: (driver: MachineDriver, model: MachineModel) => void) {
    this.#what = what;
    this.#act = act;
  }

  check(): boolean {
    return true;
  }

  run(model: MachineModel, { driver }: Real): void {
    counted.steps += 1;
    this.#act(driver, model);
    compareFloors(model, driver);
  }

  toString(): string {
    return this.#what;
  }
}

/** The summary of each queue is right, or unknown because its records are not in memory. */
function compareFloors(model: MachineModel, driver: MachineDriver): void {
  const { machine } = driver;
  if (machine.queues().length !== model.queues.size) {
    expect(machine.queues().map(({ queueId }) => queueId)).toEqual([...model.queues.keys()]);
  }
  for (const { id, floor, next, settled } of model.queues.values()) {
    const depth = next - settled.size;
    if ((machine.floor(id) ?? floor) !== floor) expect(machine.floor(id)).toBe(floor);
    if ((machine.nextOffset(id) ?? next) !== next) expect(machine.nextOffset(id)).toBe(next);
    if ((machine.depth(id) ?? depth) !== depth) expect(machine.depth(id)).toBe(depth);
  }
}

/** Everything that can be seen, with all records in memory. */
function compareWhole(model: MachineModel, driver: MachineDriver): void {
  const { machine } = driver;
  expect(machine.queues()).toEqual(
    [...model.queues.values()].map(({ id, definition }) => ({ queueId: id, definition })),
  );
  for (const queue of model.queues.values()) {
    const start = driver.dispatchStart(queue.id);
    expect(machine.depth(queue.id)).toBe(queue.next - queue.settled.size);
    expect(start.floor).toBe(queue.floor);
    expect(start.nextOffset).toBe(queue.next);
    expect(start.limits).toEqual(queue.definition.limits);
    expect(start.requeued).toEqual(
      [...queue.requeued]
        .sort(([a], [b]) => a - b)
        .map(([offset, { attempts, notBefore }]) => ({ offset, attempts, notBefore })),
    );
    for (let offset = queue.floor; offset < queue.next; offset += 1) {
      const isSettled = queue.settled.has(offset);
      if (bit(start.settled, offset) !== isSettled) expect({ offset, isSettled }).toBe('wrong');
    }
  }
}

function bit(settled: Map<number, SettledChunk>, offset: number): boolean {
  const chunk = Math.floor(offset / SETTLED_CHUNK);
  return settled.get(chunk)?.has(offset % SETTLED_CHUNK) === true;
}

const NODES = ['a', 'b'];

const limits: fc.Arbitrary<QueueLimits> = fc.record({
  retry: fc.record({
    minMs: fc.constantFrom(0, 1, 1_000),
    maxMs: fc.constantFrom(1_000, 60_000),
    multiplier: fc.constantFrom(1, 1.5, 2),
    jitter: fc.constantFrom(0, 0.5, 1),
  }),
  deliveryLimit: fc.constantFrom(1, 3, 20),
  visibilityTimeoutMs: fc.constant(30_000),
  maxUnsettledSpan: fc.constant(DEFAULT_LIMITS.maxUnsettledSpan),
});

/** An id that exists, mostly; `pick` in [0, 1). */
function queueOf(model: MachineModel, pick: number): QueueId {
  const ids = [...model.queues.keys()];
  const at = Math.floor(pick * (ids.length + 0.2));
  return (ids[at] ?? Math.max(1, model.nextId - 1 - (at % 2))) as QueueId;
}

/** An offset of the queue, most often near its floor. */
function offsetOf(model: MachineModel, queueId: QueueId, pick: number): Offset {
  const queue = model.queues.get(queueId);
  if (queue === undefined) return 0 as Offset;
  const span = queue.next - queue.floor;
  const near = pick < 0.5 ? Math.min(span, 6) : span + 2;
  return (queue.floor + Math.floor(((pick * 2) % 1) * near)) as Offset;
}

function enqueue(model: MachineModel, node: string, targets: QueueId[]): Command {
  const stream = model.streams.get(node);
  const number = (stream?.outcomes.length ?? 0) + 1;
  const boot = stream?.boot ?? 0;
  return { kind: 'enqueue', node, boot, number, answeredUpTo: number - 1, targets, bytes: 10 };
}

const unit = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
const node = fc.constantFrom(...NODES);

const declare = fc
  .record({ name: fc.constantFrom('orders', 'mqtt', 'jobs', 'mail'), limits, other: fc.boolean() })
  .map(
    (d) =>
      new CommandStep(`declare ${JSON.stringify(d)}`, () => ({
        kind: 'declare-queue',
        name: d.name,
        type: 'classic',
        topics: d.other ? [`$queue/${d.name}`] : [`$queue/${d.name}/#`],
        limits: d.limits,
      })),
  );

const enqueues = fc.record({ node, picks: fc.array(unit, { maxLength: 3 }) }).map(
  ({ node: from, picks }) =>
    new CommandStep(`enqueue ${from} ${picks.join(' ')}`, (model) =>
      enqueue(
        model,
        from,
        picks.map((pick) => queueOf(model, pick)),
      ),
    ),
);

/** Retries, gaps, old boots, and numbers that run ahead of what is answered. */
const oddNumbers = fc
  .record({
    node,
    back: fc.integer({ min: -2, max: 6 }),
    bootBack: fc.constantFrom(0, 0, 0, 1, -1),
    unanswered: fc.nat({ max: 8 }),
    reason: fc.option(fc.constantFrom(...VOID_REASONS), { nil: undefined }),
    pick: unit,
  })
  .map(
    (odd) =>
      new CommandStep(`odd ${JSON.stringify(odd)}`, (model) => {
        const next = enqueue(model, odd.node, [queueOf(model, odd.pick)]);
        if (next.kind !== 'enqueue') return [];
        const numbered = {
          ...next,
          number: Math.max(1, next.number - odd.back),
          boot: next.boot - odd.bootBack,
          answeredUpTo: Math.max(0, next.number - 1 - odd.unanswered),
        };
        const { targets: _, bytes: __, ...rest } = numbered;
        return odd.reason === undefined ? numbered : { ...rest, kind: 'void', reason: odd.reason };
      }),
  );

const burst = fc.record({ node, pick: unit, count: fc.integer({ min: 1, max: 5_000 }) }).map(
  ({ node: from, pick, count }) =>
    new CommandStep(`burst ${from} ${pick} ${count}`, (model) => {
      const first = enqueue(model, from, [queueOf(model, pick)]);
      return first.kind !== 'enqueue' || first.boot === 0
        ? []
        : Array.from({ length: count }, (_, i) => ({
            ...first,
            number: first.number + i,
            answeredUpTo: first.number + i - 1,
          }));
    }),
);

function settleAt(queueId: QueueId, offset: number, outcome: SettleOutcome): Command {
  const groupId = 0 as GroupId;
  return { kind: 'settle', queueId, groupId, offset: offset as Offset, outcome, cause: 'client' };
}

const settle = fc
  .record({
    pick: unit,
    at: unit,
    outcome: fc.constantFrom(...SETTLE_OUTCOMES, 'complete' as const),
    cause: fc.constantFrom(...SETTLE_CAUSES),
    group: fc.constantFrom(...Array.from({ length: 15 }, () => 0), 1),
  })
  .map(
    ({ pick, at, outcome, cause, group }) =>
      new CommandStep(`settle ${pick} ${at} ${outcome} ${cause} ${group}`, (model) => {
        const queueId = queueOf(model, pick);
        const groupId = group as GroupId;
        const offset = offsetOf(model, queueId, at);
        return { kind: 'settle', queueId, groupId, offset, outcome, cause };
      }),
  );

const settleRange = fc
  .record({
    pick: unit,
    skip: fc.nat({ max: 3 }),
    count: fc.nat({ max: 6_000 }),
    step: fc.constantFrom(1, 1, 1, 2),
    backwards: fc.boolean(),
    outcome: fc.constantFrom(...SETTLE_OUTCOMES, 'complete' as const),
  })
  .map(
    (range) =>
      new CommandStep(`range ${JSON.stringify(range)}`, (model) => {
        const queueId = queueOf(model, range.pick);
        const queue = model.queues.get(queueId);
        if (queue === undefined) return [];
        const from = queue.floor + range.skip;
        const to = Math.min(queue.next, from + (range.outcome === 'requeue' ? 50 : range.count));
        const commands: Command[] = [];
        for (let offset = from; offset < to; offset += range.step) {
          commands.push(settleAt(queueId, offset, range.outcome));
        }
        return range.backwards ? commands.reverse() : commands;
      }),
  );

const open = node.map(
  (name) => new CommandStep(`open ${name}`, () => ({ kind: 'open-stream', node: name })),
);

const update = fc.record({ pick: unit, limits }).map(
  ({ pick, limits: to }) =>
    new CommandStep(`update ${pick} ${JSON.stringify(to)}`, (model) => ({
      kind: 'update-queue',
      queueId: queueOf(model, pick),
      limits: to,
    })),
);

const remove = unit.map(
  (pick) =>
    new CommandStep(`delete ${pick}`, (model) => ({
      kind: 'delete-queue',
      queueId: queueOf(model, pick),
    })),
);

const version = fc
  .constantFrom(0, 1, 2)
  .map((to) => new CommandStep(`version ${to}`, () => ({ kind: 'set-version', version: to })));

const time = fc.nat({ max: 5_000 }).map(
  (ms) =>
    new DriverStep(`wait ${ms}`, (driver) => {
      driver.now += ms;
    }),
);
const freeze = fc.constant(
  new DriverStep('freeze', (driver) => {
    if (!driver.isFrozen) driver.freeze();
  }),
);
const capture = fc
  .integer({ min: 1, max: 4 })
  .map((max) => new DriverStep(`capture ${max}`, (driver) => void driver.capture(max)));
const checkpoint = fc.constant(new DriverStep('checkpoint', (driver) => driver.checkpoint()));
const evict = fc.constant(new DriverStep('evict', (driver) => void driver.evict()));
const restart = fc.constant(new DriverStep('restart', (driver) => driver.restart()));
const whole = fc.constant(
  new DriverStep('compare', (driver, model) => compareWhole(model, driver)),
);

/** Each as often as it should come. */
const WEIGHTED: readonly (readonly [number, fc.Arbitrary<Step>])[] = [
  [4, declare],
  [60, enqueues],
  [16, oddNumbers],
  [1, burst],
  [100, settle],
  [2, settleRange],
  [2, open],
  [3, update],
  [1, remove],
  [1, version],
  [12, time],
  [4, freeze],
  [20, capture],
  [2, checkpoint],
  [10, evict],
  [2, restart],
  [1, whole],
];

const steps = fc.oneof(...WEIGHTED.map(([weight, arbitrary]) => ({ weight, arbitrary })));

/**
 * A new pair, with a queue and both streams, so that a run does something from its first step on.
 */
function pair(maxResidentRecords: number): { model: MachineModel; real: Real } {
  const model = new MachineModel();
  const real = new Real(maxResidentRecords);
  for (const command of [
    { kind: 'open-stream', node: 'a' },
    { kind: 'open-stream', node: 'b' },
    {
      kind: 'declare-queue',
      name: 'orders',
      type: 'classic',
      topics: ['$queue/orders/#'],
      limits: DEFAULT_LIMITS,
    },
  ] as const) {
    expect(real.driver.run(command)).toEqual(model.run(command, real.driver.now));
  }
  return { model, real };
}

/** Many runs of many steps; fails with seed and path. */
export function runModel(runs: number, stepsPerRun: number, maxMs: number): void {
  const commands = fc.array(steps, {
    minLength: stepsPerRun,
    maxLength: stepsPerRun,
    size: 'max',
  });
  fc.assert(
    fc.property(commands, fc.constantFrom(0, 1, 4, 1_000), (list, maxResidentRecords) => {
      const { model, real } = pair(maxResidentRecords);
      for (const step of list) if (step.check(model)) step.run(model, real);
      compareWhole(model, real.driver);
      const before = real.driver.dump();
      real.driver.restart();
      compareWhole(model, real.driver);
      expect(real.driver.dump()).toEqual(before);
    }),
    // The limit ends a shrinking that takes too long; the caller checks that all steps were run.
    { numRuns: runs, interruptAfterTimeLimit: maxMs },
  );
}
