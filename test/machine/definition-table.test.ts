import { describe, expect, it } from 'vitest';
import type { Command } from '../../src/machine/command.ts';
import { defaultDefinition } from '../../src/machine/default-definition.ts';
import { DefinitionTable } from '../../src/machine/definition-table.ts';
import { DefinitionsChunk, definitionRows } from '../../src/machine/definitions-chunk.ts';
import type { QueueDefinition } from '../../src/machine/definitions.ts';
import type { QueueId } from '../../src/machine/ids.ts';
import { MachineDriver } from './machine-driver.ts';

const id = (value: number): QueueId => value as QueueId;
const ORDERS = defaultDefinition('orders', 'classic');
const MAIL: QueueDefinition = {
  ...defaultDefinition('mail', 'stream'),
  topics: ['$queue/mail/#', 'm/#'],
};

function declaration(name: string): Command & { kind: 'declare-queue' } {
  return { kind: 'declare-queue', ...defaultDefinition(name, 'classic') };
}

function update(queueId: QueueId): Command {
  return { kind: 'update-queue', queueId, limits: { ...ORDERS.limits, ttlMs: 7 } };
}

describe('the table of definitions', () => {
  it('gives each back as it was set, until it is removed', () => {
    const table = new DefinitionTable(7);
    const named = { ...ORDERS, name: 'bills', topics: ['b'] };
    table.set(id(7), ORDERS);
    table.set(id(3), MAIL);
    table.set(id(5), named);
    expect([7, 3, 5].map((each) => table.get(id(each)))).toEqual([ORDERS, MAIL, named]);
    expect([table.deadLetterOf('orders'), table.deadLetterOf('bills')]).toEqual([
      '$dlq/orders',
      '$dlq/orders',
    ]);
    expect([table.idOf('mail'), table.idOf('x'), table.deadLetterOf('x')]).toEqual([
      3,
      undefined,
      '',
    ]);
    table.set(id(3), defaultDefinition('mail', 'classic'));
    expect(table.get(id(3))).toEqual(defaultDefinition('mail', 'classic'));
    expect(() => table.set(id(3), ORDERS)).toThrow('another name');
    table.remove(id(3));
    expect([table.get(id(3)), table.idOf('mail'), table.size]).toEqual([undefined, undefined, 2]);
  });

  it('has one object for equal limits, also where each has a dead-letter queue of its name', () => {
    const table = new DefinitionTable(7);
    for (let n = 1; n <= 1_000; n += 1) table.set(id(n), defaultDefinition(`q${n}`, 'classic'));
    expect(table.differentLimits).toBe(1);
    expect(table.get(id(999))).toEqual(defaultDefinition('q999', 'classic'));
    for (let n = 1; n <= 1_000; n += 1) table.set(id(n), defaultDefinition(`q${n}`, 'stream'));
    expect(table.differentLimits).toBe(1);
    expect(table.get(id(1))?.limits).toBe(table.get(id(2))?.limits);
    for (let n = 1; n <= 1_000; n += 1) table.remove(id(n));
    expect([table.differentLimits, table.size]).toEqual([0, 0]);
  });

  it('remembers what an idle queue knows of itself; a new queue knows nothing', () => {
    const table = new DefinitionTable(7);
    table.set(id(1), ORDERS);
    expect(table.known(id(1))).toEqual({ wanted: -1, nextOffset: -1 });
    table.setKnown(id(1), { wanted: 0, nextOffset: 4 });
    expect(table.known(id(1))).toEqual({ wanted: 0, nextOffset: 4 });
    table.remove(id(1));
    table.set(id(2), ORDERS);
    expect(table.known(id(2))).toEqual({ wanted: -1, nextOffset: -1 });
  });
});

describe('a chunk of definitions', () => {
  it('comes back from its record, in order of queueId, and has no queue of another chunk', () => {
    const table = new DefinitionTable(7);
    const chunk = new DefinitionsChunk(1, table);
    expect(chunk.isEmpty).toBe(true);
    table.set(id(127), ORDERS);
    table.set(id(64), MAIL);
    table.set(id(63), { ...ORDERS, name: 'below' });
    table.set(id(128), { ...ORDERS, name: 'above' });
    expect(definitionRows(structuredClone(chunk.toData()))).toEqual([
      [64, MAIL],
      [127, ORDERS],
    ]);
    expect(() => definitionRows([2])).toThrow('unknown format');
    expect(() => definitionRows([1, [1, ['x', 'later', [], []]]])).toThrow('unknown word');
  });

  it.each([
    ['declared', () => declaration('d')],
    ['redefined', () => ({ ...declaration('b'), limits: { ...ORDERS.limits, ttlMs: 7 } })],
    ['updated', (b: QueueId) => update(b)],
    ['deleted', (b: QueueId) => ({ kind: 'delete-queue', queueId: b }) as const],
  ])('is in a cut as it was, when a queue is %s while the cut is taken', (_what, change) => {
    const driver = new MachineDriver();
    const ids = ['a', 'b', 'c'].map((name) => driver.declare(name));
    const { machine } = driver;
    const before = ids.map((queueId) => [queueId, machine.definition(queueId)]);
    machine.freeze();
    driver.run(change(ids[1] as QueueId));
    for (const queueId of ids) driver.run({ kind: 'delete-queue', queueId });
    const captured: Parameters<typeof machine.capture>[1] = [];
    while (!machine.capture(1, captured));
    const record = captured.find(({ key }) => key === 'definitions/0');
    expect(definitionRows(record?.data ?? [1])).toEqual(before);
  });
});

describe('an idle queue', () => {
  it('has no object of its own: after a start, when nothing was asked, and when evicted', () => {
    const driver = new MachineDriver(0);
    const ids = Array.from({ length: 300 }, (_none, at) => driver.declare(`q${at}`));
    expect(driver.machine.awakeQueueIds()).toEqual(ids);
    driver.checkpoint();
    driver.evict();
    expect(driver.machine.awakeQueueIds()).toEqual([]);
    driver.restart();
    const { machine } = driver;
    expect(machine.queueNames().sort()).toEqual(ids.map((_id, at) => `q${at}`).sort());
    for (const [at, queueId] of ids.entries()) {
      expect(machine.definition(queueId)?.name).toBe(`q${at}`);
      expect(machine.queueNamed(`q${at}`)?.queueId).toBe(queueId);
      expect([machine.depth(queueId), machine.lowestWanted(queueId)]).toEqual([
        undefined,
        undefined,
      ]);
    }
    expect(machine.queueKeys(ids[4] as QueueId)).toEqual(['queue/5']);
    expect(machine.awakeQueueIds()).toEqual([]);
  });
});
