/**
 * Random steps for the machine beside its model: commands, checkpoints in slices, evictions,
 * crashes with replay. Every step compares the effects and what can be seen of each queue.
 */

import { fc } from '../support/properties.ts';
import { expect } from 'vitest';
import { DEFAULT_LIMITS } from '../../src/machine/definitions.ts';
import {
  burst,
  createGroup,
  declare,
  endSession,
  endRoute,
  enqueues,
  groupCommand,
  idleGroup,
  inParts,
  move,
  oddNumbers,
  open,
  release,
  remove,
  retain,
  routeIntent,
  settle,
  settleMany,
  settleRange,
  skipIntent,
  takeTransfer,
  transfer,
  update,
  version,
} from './machine-commands.ts';
import { replayed } from './machine-replay-steps.ts';
import { changeMap, place, unplace } from './machine-place-steps.ts';
import { claim, declareSession, ofSession } from './machine-session-steps.ts';
import { chooses, member } from './machine-share-steps.ts';
import { MachineModel } from './machine-model.ts';
import { checkRetained } from './machine-model-firing.ts';
import { DriverStep, Real, type Step, compareWhole, fireAll, runBoth } from './machine-runner.ts';

export { counted } from './machine-runner.ts';

/** In ticks of the wheel, so that what is due fires to the tick. */
const time = fc.oneof(fc.nat({ max: 5 }), fc.nat({ max: 50 })).map(
  (ticks) =>
    new DriverStep(`wait ${ticks} ticks`, (driver) => {
      driver.now += ticks * 100;
    }),
);
const fire = fc
  .constantFrom(1, 3, 1_000)
  .map((max) => new DriverStep(`fire ${max}`, (driver, model) => fireAll(model, driver, max)));
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
  [8, idleGroup],
  [2, retain],
  [2, open],
  [3, update],
  [1, remove],
  [1, version],
  [12, time],
  [12, fire],
  [6, inParts],
  [6, release],
  [1, endSession],
  [8, transfer],
  [4, routeIntent],
  [4, endRoute],
  [6, takeTransfer],
  [2, skipIntent],
  [2, move],
  [2, declareSession],
  [6, claim],
  [16, ofSession],
  [6, member],
  [6, chooses],
  [12, replayed],
  [2, place],
  [2, unplace],
  [2, changeMap],
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

/** One run: all steps, then a while of silence, and a crash. */
function runSteps(list: readonly Step[], maxResidentRecords: number): void {
  const { model, real } = pair(maxResidentRecords);
  for (const step of list) if (step.check(model)) step.run(model, real);
  compareWhole(model, real.driver);
  for (let i = 0; i < 25; i += 1) {
    real.driver.now += 300;
    fireAll(model, real.driver, 1_000);
  }
  checkRetained(model, real.driver.now);
  compareWhole(model, real.driver);
  const before = real.driver.dump();
  real.driver.restart();
  compareWhole(model, real.driver);
  expect(real.driver.dump()).toEqual(before);
}

/** Many runs of many steps; fails with seed and path. */
export function runModel(runs: number, stepsPerRun: number, maxMs: number): void {
  const commands = fc.array(steps, {
    minLength: stepsPerRun,
    maxLength: stepsPerRun,
    size: 'max',
  });
  fc.assert(
    fc.property(commands, fc.constantFrom(0, 1, 4, 1_000), runSteps),
    // The limit ends a shrinking that takes too long; the caller checks that all steps were run.
    { numRuns: runs, interruptAfterTimeLimit: maxMs },
  );
}
