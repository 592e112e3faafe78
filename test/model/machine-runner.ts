/**
 * The machine and its model side by side: runs a command on both and compares what came of it, and
 * what can be seen of each queue.
 */

import type { fc } from '../support/properties.ts';
import { isDeepStrictEqual } from 'node:util';
import { expect } from 'vitest';
import type { Command } from '../../src/machine/command.ts';
import type { Offset, QueueId } from '../../src/machine/ids.ts';
import { SETTLED_CHUNK, type SettledChunk } from '../../src/machine/settled-ranges.ts';
import { MachineDriver, type SeenEffect } from '../machine/machine-driver.ts';
import { adopt, checkFired } from './machine-model-firing.ts';
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
  const stamp = driver.now;
  const found = timeFound(model, driver, command);
  const got = driver.run(command).map(wordless);
  count(got);
  const expected = model.run(command, { stamp, observed: got, found }).map(wordless);
  if (!isDeepStrictEqual(got, expected)) {
    expect({ command, effects: got }).toEqual({ command, effects: expected });
  }
}

/** All that is due, step by step. */
export function fireAll(model: MachineModel, driver: MachineDriver, max: number): void {
  for (let steps = 0; driver.machine.nextTimer() <= driver.now; steps += 1) {
    if (steps > 10_000) throw new Error('timers do not come to an end');
    const got = driver.run({ kind: 'fire-timers', max });
    count(got);
    adopt(model, got, driver.now);
  }
  checkFired(model, driver.now);
}

/** Where the machine finds the time that a command names, if it names one. */
function timeFound(model: MachineModel, driver: MachineDriver, command: Command): number {
  const position =
    command.kind === 'create-group'
      ? command.start
      : command.kind === 'seek-group'
        ? command.position
        : undefined;
  if (position?.kind !== 'time' || !('queueId' in command)) return 0;
  const queue = model.queues.get(command.queueId);
  const found = driver.offsetAt(command.queueId, position) ?? 0;
  if (queue !== undefined && !queue.isAt(position.ms, found)) {
    expect({ found, position }).toBe('near that time');
  }
  return found;
}

function count(effects: readonly SeenEffect[]): void {
  for (const effect of effects) {
    const name = 'reason' in effect ? `${effect.kind} ${effect.reason}` : outcomeOf(effect);
    counted.effects.set(name, (counted.effects.get(name) ?? 0) + 1);
  }
}

function outcomeOf(effect: SeenEffect): string {
  switch (effect.kind) {
    case 'confirmed':
      return `confirmed ${effect.outcome}`;
    case 'intent-opened':
      return `intent-opened ${effect.intent.reason}`;
    case 'intent-closed':
      return `intent-closed ${effect.how}`;
    case 'dropped':
    case 'group-deleted':
      return `${effect.kind} ${effect.why}`;
    default:
      return effect.kind;
  }
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
    const { id, next, length } = queue;
    const lowestWanted = wantedFrom(model, queue);
    const isExact = machine.queueKeys(id).length === 0;
    const wanted = machine.lowestWanted(id) ?? 0;
    if (isExact ? wanted !== lowestWanted : wanted > lowestWanted) {
      expect({ isExact, wanted }).toEqual({ isExact, wanted: lowestWanted });
    }
    if ((machine.nextOffset(id) ?? next) !== next) expect(machine.nextOffset(id)).toBe(next);
    if ((machine.depth(id) ?? length) !== length) expect(machine.depth(id)).toBe(length);
  }
}

/** The lowest offset that a group or an open intent wants. */
function wantedFrom(model: MachineModel, { id, lowestWanted }: ModelQueue): number {
  const leaving = [...model.intents.values()].filter(({ queueId }) => queueId === id);
  return Math.min(lowestWanted, ...leaving.map(({ offset }) => offset));
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
    expect(machine.lowestWanted(queue.id)).toBe(wantedFrom(model, queue));
    for (const group of queue.groups) compareGroup(driver, queue, group);
    compareWanted(model, driver, queue);
  }
  compareLeaving(model, driver);
  comparePlaces(model, driver);
}

function comparePlaces({ places, names }: MachineModel, { machine }: MachineDriver): void {
  expect(machine.placedNames.size).toBe(places.rows.size);
  expect(machine.shardMap).toEqual(places.map);
  for (const name of [...places.rows.keys(), 'orders', 'mail', 'no such name']) {
    expect(machine.placeOf(name)).toEqual(places.where(name, names));
  }
}

/** Intents, and the messages that wait. */
function compareLeaving(model: MachineModel, driver: MachineDriver): void {
  const { machine } = driver;
  const intents = [...model.intents.values()].sort((a, b) => a.number - b.number);
  expect(machine.openIntents(0, Infinity)).toEqual(intents);
  expect(machine.openIntentCount).toBe(intents.length);
  const waiting = 0 as QueueId;
  driver.loadWanted(waiting, 0, model.nextDelayed);
  for (let offset = 0; offset < model.nextDelayed; offset += 1) {
    const leaves = intents.some((each) => each.queueId === waiting && each.offset === offset);
    const isWanted = model.delayed.has(offset) || leaves;
    if (machine.isWanted(waiting, offset as Offset) !== isWanted) {
      expect({ offset, isWanted }).toBe('wrong');
    }
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
    if (queue.definition.limits.maxPriority === 0) continue;
    const priority = queue.messages[offset]?.priority ?? 0;
    const packed = start.priorities?.get(Math.floor(offset / SETTLED_CHUNK));
    const byte = packed?.[(offset % SETTLED_CHUNK) >>> 1] ?? 0;
    const got = (byte >>> ((offset & 1) * 4)) & 15;
    if (got !== priority) expect({ offset, priority: got }).toEqual({ offset, priority });
  }
}

function compareWanted(model: MachineModel, driver: MachineDriver, queue: ModelQueue): void {
  const leaving = new Set<number>();
  for (const { queueId, offset } of model.intents.values()) {
    if (queueId === queue.id) leaving.add(offset);
  }
  expect(driver.machine.leaving(queue.id)).toBe(leaving.size);
  driver.loadWanted(queue.id, queue.start, queue.next);
  for (let offset = queue.start - 1; offset <= queue.next; offset += 1) {
    const isWanted = driver.machine.isWanted(queue.id, offset as Offset);
    if (isWanted !== (queue.isWanted(offset) || leaving.has(offset)))
      expect({ offset, isWanted }).toBe('wrong');
  }
}

function bit(settled: Map<number, SettledChunk>, offset: number): boolean {
  const chunk = Math.floor(offset / SETTLED_CHUNK);
  return settled.get(chunk)?.has(offset % SETTLED_CHUNK) === true;
}
