import { describe, expect, it } from 'vitest';
import type { Command } from '../../src/machine/command.ts';
import { DEFAULT_LIMITS, type QueueLimits } from '../../src/machine/definitions.ts';
import { Definitions } from '../../src/machine/definition-commands.ts';
import { Effects } from '../../src/machine/effect.ts';
import { RecordTable } from '../../src/machine/record-table.ts';
import { Meta } from '../../src/machine/version.ts';
import { MachineDriver } from './machine-driver.ts';

function declaration(name: string, deadLetter: string): Command {
  const limits: QueueLimits = { ...DEFAULT_LIMITS, deadLetter };
  return { kind: 'declare-queue', name, type: 'classic', topics: [`$queue/${name}`], limits };
}

describe('dead letters', () => {
  it('S9: a circle is refused as soon as the definitions show it', () => {
    const driver = new MachineDriver();
    const refused = [{ kind: 'queue-refused', reason: 'invalid' }];
    expect(driver.run(declaration('a', 'a'))).toMatchObject(refused);
    expect(driver.run(declaration('a', 'b'))).toMatchObject([{ kind: 'queue-declared' }]);
    expect(driver.run(declaration('b', 'c'))).toMatchObject([{ kind: 'queue-declared' }]);
    expect(driver.run(declaration('c', 'a'))).toMatchObject(refused);
    const [declared] = driver.run(declaration('c', ''));
    if (declared?.kind !== 'queue-declared') throw new Error('not declared');
    const { queueId } = declared;
    const limits = { ...DEFAULT_LIMITS, deadLetter: 'a' };
    expect(driver.run({ kind: 'update-queue', queueId, limits })).toMatchObject(refused);
    expect(driver.machine.definition(queueId)?.limits.deadLetter).toBe('');
    expect(driver.run(declaration('d', 'a'))).toMatchObject([{ kind: 'queue-declared' }]);
  });

  it('have a queue of their own name, which users may declare', () => {
    const driver = new MachineDriver();
    driver.declare('orders', { deadLetter: '$dlq/orders' });
    expect(driver.run(declaration('$dlq/orders', ''))).toMatchObject([{ created: true }]);
    expect(driver.run(declaration('$dlq/orders', 'orders'))).toMatchObject([
      { kind: 'queue-refused', reason: 'invalid' },
    ]);
    expect(driver.run(declaration('$dlq', ''))).toMatchObject([{ reason: 'invalid' }]);
  });
});

describe('limits', () => {
  it('that are equal are one object, also after a restart and a change', () => {
    const driver = new MachineDriver();
    const ids = ['a', 'b', 'c'].map((name) => driver.declare(name, { deliveryLimit: 7 }));
    driver.checkpoint();
    driver.restart();
    const of = () => new Set(ids.map((id) => driver.machine.definition(id)?.limits));
    expect(of().size).toBe(1);
    const other = { ...DEFAULT_LIMITS, deliveryLimit: 8 };
    for (const queueId of ids) {
      driver.run({ kind: 'update-queue', queueId, limits: structuredClone(other) });
    }
    driver.checkpoint();
    driver.evict();
    expect([...of()]).toEqual([other]);
  });

  it('that no queue has any more are forgotten, however often they change', () => {
    const definitions = new Definitions(new RecordTable(), 7);
    const [meta, effects] = [new Meta(), new Effects()];
    for (let i = 1; i <= 3_000; i += 1) {
      const limits = { ...DEFAULT_LIMITS, deliveryLimit: i };
      const definition = { name: 'a', type: 'classic', topics: ['a'], limits } as const;
      definitions.declare({ kind: 'declare-queue', ...definition }, meta, effects);
    }
    expect(definitions.named('a')?.definition.limits.deliveryLimit).toBe(3_000);
    expect(definitions.differentLimits).toBe(1);
  });

  it('that change are in force at once, whether the queue is in memory or not', () => {
    for (const isEvicted of [false, true]) {
      const driver = new MachineDriver(0);
      const queueId = driver.declare('a');
      driver.checkpoint();
      if (isEvicted) driver.evict();
      driver.run({
        kind: 'update-queue',
        queueId,
        limits: { ...DEFAULT_LIMITS, retention: { ageMs: 0, bytes: 0, messages: 1 } },
      });
      const boot = driver.open('n');
      for (let number = 1; number <= 300; number += 1) {
        const place = { node: 'n', boot, number, answeredUpTo: number - 1 };
        const message = { targets: [queueId], bytes: 1, topic: '$queue/a', options: undefined };
        driver.run({ kind: 'enqueue', ...place, ...message });
      }
      expect(driver.lowestWanted(queueId)).toBeGreaterThan(250);
    }
  });
});
