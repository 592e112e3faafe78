/**
 * Random steps for the machine beside its model: commands, checkpoints in slices, evictions,
 * crashes with replay. Every step compares the effects and what can be seen of each queue.
 */

import fc from 'fast-check';
import { expect } from 'vitest';
import { DEFAULT_LIMITS } from '../../src/machine/definitions.ts';
import {
  burst,
  createGroup,
  declare,
  enqueues,
  groupCommand,
  oddNumbers,
  open,
  remove,
  retain,
  settle,
  settleMany,
  settleRange,
  update,
  version,
} from './machine-commands.ts';
import { MachineModel } from './machine-model.ts';
import { DriverStep, Real, type Step, compareWhole, runBoth } from './machine-runner.ts';

export { counted } from './machine-runner.ts';

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
  [2, settleMany],
  [10, settleRange],
  [6, createGroup],
  [4, groupCommand],
  [2, retain],
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
    runBoth(model, real.driver, command);
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
