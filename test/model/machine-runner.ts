/**
 * The machine and its model side by side: runs a command on both and compares what came of it, and
 * what can be seen of each queue.
 */

import type fc from 'fast-check';
import { isDeepStrictEqual } from 'node:util';
import { expect } from 'vitest';
import type { Command } from '../../src/machine/command.ts';
import { SETTLED_CHUNK, type SettledChunk } from '../../src/machine/settled-ranges.ts';
import { MachineDriver, type SeenEffect } from '../machine/machine-driver.ts';
import type { ModelGroup, ModelQueue } from './machine-model-queue.ts';
import type { MachineModel } from './machine-model.ts';

export class Real {
  readonly driver: MachineDriver;

  constructor(maxResidentRecords: number) {
    this.driver = new MachineDriver(maxResidentRecords);
  }
}

/** Steps that were run, over all runs, and how often each effect (or outcome) was seen. */
export const counted = { steps: 0, commands: 0, effects: new Map<string, number>() };

export type Step = fc.Command<MachineModel, Real>;

/** Runs commands on both sides; `make` sees the model, so that what is random can also be apt. */
export class CommandStep implements Step {
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
    for (const command of [this.#make(model)].flat()) runBoth(model, driver, command);
    compareSummaries(model, driver);
  }

  toString(): string {
    return this.#what;
  }
}

export class DriverStep implements Step {
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
    compareSummaries(model, driver);
  }

  toString(): string {
    return this.#what;
  }
}

export function runBoth(model: MachineModel, driver: MachineDriver, command: Command): void {
  counted.commands += 1;
  const expected = model.run(command, driver.now).map(wordless);
  const got = driver.run(command).map(wordless);
  for (const effect of got) {
    const name = 'reason' in effect ? `${effect.kind} ${effect.reason}` : outcomeOf(effect);
    counted.effects.set(name, (counted.effects.get(name) ?? 0) + 1);
  }
  if (!isDeepStrictEqual(got, expected)) {
    expect({ command, effects: got }).toEqual({ command, effects: expected });
  }
}

function outcomeOf(effect: SeenEffect): string {
  return effect.kind === 'confirmed' ? `confirmed ${effect.outcome}` : effect.kind;
}

/** Words for people are not compared. */
function wordless(effect: SeenEffect): SeenEffect {
  return 'detail' in effect ? { ...effect, detail: '' } : effect;
}

/** The summary of each queue is right, or unknown because its records are not in memory. */
function compareSummaries(model: MachineModel, driver: MachineDriver): void {
  const { machine } = driver;
  if (machine.queues().length !== model.queues.size) {
    expect(machine.queues().map(({ queueId }) => queueId)).toEqual([...model.queues.keys()]);
  }
  for (const queue of model.queues.values()) {
    const { id, next, lowestWanted, length } = queue;
    const isExact = machine.queueKeys(id).length === 0;
    const wanted = machine.lowestWanted(id) ?? 0;
    if (isExact ? wanted !== lowestWanted : wanted > lowestWanted) {
      expect({ isExact, wanted }).toEqual({ isExact, wanted: lowestWanted });
    }
    if ((machine.nextOffset(id) ?? next) !== next) expect(machine.nextOffset(id)).toBe(next);
    if ((machine.depth(id) ?? length) !== length) expect(machine.depth(id)).toBe(length);
  }
}

/** Everything that can be seen, with all records in memory. */
export function compareWhole(model: MachineModel, driver: MachineDriver): void {
  const { machine } = driver;
  expect(machine.queues()).toEqual(
    [...model.queues.values()].map(({ id, definition }) => ({ queueId: id, definition })),
  );
  for (const queue of model.queues.values()) {
    expect(driver.groups(queue.id)).toEqual(queue.groups.map((group) => queue.view(group)));
    expect(machine.start(queue.id)).toBe(queue.start);
    expect(machine.nextOffset(queue.id)).toBe(queue.next);
    expect(machine.depth(queue.id)).toBe(queue.length);
    expect(machine.lowestWanted(queue.id)).toBe(queue.lowestWanted);
    for (const group of queue.groups) compareGroup(driver, queue, group);
    compareWanted(driver, queue);
  }
}

function compareGroup(driver: MachineDriver, queue: ModelQueue, group: ModelGroup): void {
  const start = driver.dispatchStart(queue.id, group.id);
  expect(start.floor).toBe(group.floor);
  expect(start.nextOffset).toBe(queue.next);
  expect(start.limits).toEqual(queue.definition.limits);
  expect([start.filter, start.filterFrom]).toEqual([group.filter, group.filterFrom]);
  expect(start.requeued).toEqual(
    [...group.requeued]
      .sort(([a], [b]) => a - b)
      .map(([offset, { attempts, notBefore }]) => ({ offset, attempts, notBefore })),
  );
  for (let offset = group.floor; offset < queue.next; offset += 1) {
    const isSettled = group.has(offset);
    if (bit(start.settled, offset) !== isSettled) expect({ offset, isSettled }).toBe('wrong');
  }
}

function compareWanted(driver: MachineDriver, queue: ModelQueue): void {
  driver.loadWanted(queue.id, queue.start, queue.next);
  for (let offset = queue.start - 1; offset <= queue.next; offset += 1) {
    const isWanted = driver.machine.isWanted(queue.id, offset as never);
    if (isWanted !== queue.isWanted(offset)) expect({ offset, isWanted }).toBe('wrong');
  }
}

function bit(settled: Map<number, SettledChunk>, offset: number): boolean {
  const chunk = Math.floor(offset / SETTLED_CHUNK);
  return settled.get(chunk)?.has(offset % SETTLED_CHUNK) === true;
}
