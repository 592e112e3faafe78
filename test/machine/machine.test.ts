import { describe, expect, it } from 'vitest';
import { type Command, MAX_TARGETS } from '../../src/machine/command.ts';
import { DEFAULT_LIMITS } from '../../src/machine/definitions.ts';
import { Effects } from '../../src/machine/effect.ts';
import { DEFAULT_GROUP, type LogIndex, type QueueId, type StampMs } from '../../src/machine/ids.ts';
import { Machine } from '../../src/machine/machine.ts';
import {
  META_KEY,
  type RecordKey,
  attemptsKey,
  groupKey,
  queueKey,
} from '../../src/machine/record-data.ts';
import { SETTLED_CHUNK } from '../../src/machine/settled-ranges.ts';
import { MachineDriver, Sender } from './machine-driver.ts';

const LIMITS = { ...DEFAULT_LIMITS, retry: { minMs: 100, maxMs: 5_000, multiplier: 2, jitter: 0 } };

function setUp(limits = LIMITS) {
  const driver = new MachineDriver();
  const queueId = driver.declare('orders', limits);
  const sender = new Sender(driver);
  return { driver, queueId, sender };
}

describe('publishing', () => {
  it('gives each queue its own offsets, and says enqueued before confirmed', () => {
    const { driver, queueId, sender } = setUp();
    const mail = driver.declare('mail');
    sender.send([mail]);
    expect(sender.send([queueId, mail], 55)).toEqual([
      { kind: 'enqueued', queueId, offset: 0, bytes: 55, priority: 0 },
      { kind: 'enqueued', queueId: mail, offset: 1, bytes: 55, priority: 0 },
      { kind: 'confirmed', node: 'node-1', boot: 1, number: 2, outcome: 'accepted' },
    ]);
    expect(driver.machine.depth(mail)).toBe(2);
  });

  it('Q11: 1,024 queues in one command, in any order, some of them twice: one copy each', () => {
    const driver = new MachineDriver();
    const queues = Array.from({ length: 900 }, (_, nth) => driver.declare(`q${nth}`));
    const targets = [...queues.slice(700), ...queues, ...queues.slice(0, MAX_TARGETS)].slice(
      0,
      MAX_TARGETS,
    );
    const effects = new Sender(driver).send(targets, 100);
    const enqueued = effects.filter(({ kind }) => kind === 'enqueued');
    expect(enqueued).toHaveLength(queues.length);
    expect(new Set(enqueued.map((each) => each.kind === 'enqueued' && each.queueId)).size).toBe(
      900,
    );
  });

  it('Q11: a queue named twice gets one copy; one that is gone is skipped', () => {
    const { driver, queueId, sender } = setUp();
    const gone = driver.declare('gone');
    driver.run({ kind: 'delete-queue', queueId: gone });
    const effects = sender.send([queueId, gone, queueId]);
    expect(effects.map(({ kind }) => kind)).toEqual(['enqueued', 'confirmed']);
    expect(sender.outcome(sender.send([gone]))).toBe('no-queue');
    expect(sender.outcome(sender.send([]))).toBe('no-queue');
  });

  it('Q32: a refused publish whose answer was lost is refused again when retried', () => {
    const { driver, queueId, sender } = setUp();
    expect(sender.outcome(sender.send([99 as QueueId]))).toBe('no-queue');
    const { node, boot } = sender;
    driver.run({ kind: 'void', node, boot, number: 2, answeredUpTo: 0, reason: 'disk-full' });
    driver.restart();
    expect(sender.outcome(sender.sendNumber(1, [queueId]))).toBe('no-queue');
    expect(sender.outcome(sender.sendNumber(2, [queueId]))).toBe('disk-full');
    expect(driver.machine.nextOffset(queueId)).toBe(0);
  });

  it('Q33: a publish that timed out and is applied later takes its own number alone', () => {
    const { driver, queueId, sender } = setUp();
    // Number 1 is on its way; 2 overtakes nothing: it is a gap until 1 was applied.
    sender.number = 1;
    expect(sender.outcome(sender.send([queueId]))).toBe('gap');
    expect(sender.outcome(sender.sendNumber(1, [queueId]))).toBe('accepted');
    expect(sender.outcome(sender.sendNumber(2, [queueId]))).toBe('accepted');
    expect(sender.outcome(sender.sendNumber(1, [queueId]))).toBe('accepted');
    expect(driver.machine.nextOffset(queueId)).toBe(2);
  });

  it('C15: a sender that started again is not confused with its former life', () => {
    const { driver, queueId, sender } = setUp();
    sender.send([queueId]);
    const again = new Sender(driver);
    expect(again.boot).toBe(2);
    expect(sender.outcome(sender.send([queueId]))).toBe('stale-boot');
    expect(again.outcome(again.send([queueId]))).toBe('accepted');
    expect(driver.machine.nextOffset(queueId)).toBe(2);
  });

  it('a void takes the number, and a retry as a message does not store it', () => {
    const { driver, queueId, sender } = setUp();
    const { node, boot } = sender;
    const command: Command = {
      kind: 'void',
      node,
      boot,
      number: 1,
      answeredUpTo: 0,
      reason: 'too-large',
    };
    const told = [{ kind: 'confirmed', node, boot, number: 1, outcome: 'too-large' }];
    expect(driver.run(command)).toEqual(told);
    expect(sender.sendNumber(1, [queueId])).toEqual(told);
    expect(driver.machine.depth(queueId)).toBe(0);
  });
});

describe('settling', () => {
  it('moves the floor over everything settled, and a second time does nothing', () => {
    const { driver, queueId, sender } = setUp();
    sender.fill(queueId, 3);
    expect(driver.settle(queueId, 1)).toEqual([
      { kind: 'settled', queueId, groupId: 0, offset: 1, floor: 0, discarded: false },
    ]);
    expect(driver.settle(queueId, 0, 'discard')).toEqual([
      { kind: 'settled', queueId, groupId: 0, offset: 0, floor: 2, discarded: true },
    ]);
    expect(driver.settle(queueId, 0)).toEqual([]);
    expect(driver.settle(queueId, 1, 'requeue')).toEqual([]);
    expect(driver.settle(queueId, 3)).toEqual([]);
    expect(driver.machine.depth(queueId)).toBe(1);
  });

  it('Q2: a nack counts an attempt and waits the configured backoff', () => {
    const { driver, queueId, sender } = setUp();
    sender.fill(queueId, 1);
    const waits = [100, 200, 400].map((wait, i) => ({
      kind: 'requeued',
      queueId,
      groupId: 0,
      offset: 0,
      attempts: i + 1,
      notBefore: driver.now + wait,
    }));
    expect([1, 2, 3].flatMap(() => driver.settle(queueId, 0, 'requeue'))).toEqual(waits);
  });

  it('Q4: a timeout counts an attempt and is due at once, until the delivery limit', () => {
    const { driver, queueId, sender } = setUp({ ...LIMITS, deliveryLimit: 2 });
    sender.fill(queueId, 1);
    const ends = [1, 2, 3].flatMap(() => driver.settle(queueId, 0, 'requeue', 'timeout'));
    expect(ends).toMatchObject([
      { kind: 'requeued', attempts: 1, notBefore: 0 },
      { kind: 'settled', discarded: true },
    ]);
  });

  it('Q27: a consumer that dies of a message counts an attempt each time, to the limit', () => {
    const { driver, queueId, sender } = setUp({ ...LIMITS, deliveryLimit: 3 });
    sender.fill(queueId, 1);
    const attempts = [1, 2, 3].flatMap(() => driver.settle(queueId, 0, 'requeue', 'lost'));
    expect(attempts).toMatchObject([
      { attempts: 1, notBefore: 0 },
      { attempts: 2, notBefore: 0 },
      { kind: 'settled', discarded: true },
    ]);
  });

  it('a message handed back unprocessed has no attempt more, and no record', () => {
    const { driver, queueId, sender } = setUp();
    sender.fill(queueId, 1);
    expect(driver.settle(queueId, 0, 'requeue', 'returned')).toEqual([
      { kind: 'requeued', queueId, groupId: 0, offset: 0, attempts: 0, notBefore: 0 },
    ]);
    driver.settle(queueId, 0, 'requeue', 'lost');
    expect(driver.settle(queueId, 0, 'requeue', 'returned')).toMatchObject([{ attempts: 1 }]);
    expect(driver.dispatchStart(queueId).requeued).toEqual([
      { offset: 0, attempts: 1, notBefore: 0 },
    ]);
  });

  it('forgets the attempts of a settled message, and the record with the last of them', () => {
    const { driver, queueId, sender } = setUp();
    sender.fill(queueId, 2);
    driver.settle(queueId, 0, 'requeue');
    driver.settle(queueId, 1, 'requeue');
    driver.checkpoint();
    expect([...driver.store.keys()].filter((key) => key.startsWith('attempts'))).toHaveLength(1);
    driver.settle(queueId, 0);
    expect(driver.dispatchStart(queueId).requeued).toMatchObject([{ offset: 1, attempts: 1 }]);
    driver.settle(queueId, 1);
    driver.checkpoint();
    expect([...driver.store.keys()].filter((key) => key.startsWith('attempts'))).toEqual([]);
  });

  it('Q25: after a queue was deleted and declared again, an old settlement touches nothing', () => {
    const { driver, queueId, sender } = setUp();
    sender.fill(queueId, 2);
    driver.run({ kind: 'delete-queue', queueId });
    const again = driver.declare('orders');
    expect(again).not.toBe(queueId);
    sender.fill(again, 2);
    const before = driver.dump();
    for (const outcome of ['complete', 'requeue', 'discard'] as const) {
      expect(driver.settle(queueId, 0, outcome)).toEqual([]);
    }
    // But for how far apply has come.
    const isOther = ([key]: readonly [RecordKey, unknown]) => key !== META_KEY;
    expect(driver.dump().filter(isOther)).toEqual(before.filter(isOther));
    expect(driver.machine.depth(again)).toBe(2);
  });

  it('of a group that does not exist touches nothing', () => {
    const { driver, queueId, sender } = setUp();
    sender.fill(queueId, 1);
    const offset = 0 as never;
    const groupId = 1 as never;
    const command = { kind: 'settle', queueId, groupId, offset, outcome: 'complete' } as const;
    expect(driver.run({ ...command, cause: 'client' })).toEqual([]);
    expect(driver.machine.depth(queueId)).toBe(1);
  });
});

describe('definitions', () => {
  const declare = (more: object = {}): Command => ({
    kind: 'declare-queue',
    name: 'orders',
    type: 'classic',
    topics: ['$queue/orders/#'],
    limits: LIMITS,
    ...more,
  });

  it('declared again: the same is fine, other limits are taken, another type is refused', () => {
    const { driver, queueId } = setUp();
    const version = driver.machine.definitionsVersion;
    expect(driver.run(declare())).toMatchObject([
      { kind: 'queue-declared', queueId, created: false },
    ]);
    expect(driver.machine.definitionsVersion).toBe(version);
    expect(driver.run(declare({ type: 'stream' }))).toMatchObject([
      { kind: 'queue-refused', reason: 'type-differs' },
    ]);
    const limits = { ...LIMITS, deliveryLimit: 3 };
    expect(driver.run(declare({ limits }))).toMatchObject([
      { kind: 'queue-updated', queueId, definition: { limits }, previous: { limits: LIMITS } },
    ]);
    expect(driver.run(declare({ limits, topics: ['$queue/orders'] }))).toMatchObject([
      { kind: 'queue-updated', definition: { limits, topics: ['$queue/orders'] } },
    ]);
    expect(driver.machine.definitionsVersion).toBe(version + 2);
    driver.checkpoint();
    driver.restart();
    expect(driver.machine.queueNamed('orders')).toMatchObject({
      queueId,
      definition: { limits, topics: ['$queue/orders'] },
    });
  });

  it('what is invalid is refused and leaves nothing', () => {
    const { driver } = setUp();
    const limits = { ...LIMITS, deliveryLimit: 0 };
    expect(driver.run(declare({ name: '$x' }))).toMatchObject([{ reason: 'invalid' }]);
    expect(driver.run(declare({ name: 'new', limits }))).toMatchObject([{ reason: 'invalid' }]);
    expect(driver.run({ kind: 'update-queue', queueId: 1 as QueueId, limits })).toMatchObject([
      { reason: 'invalid' },
    ]);
    expect(driver.run({ kind: 'update-queue', queueId: 9 as QueueId, limits })).toMatchObject([
      { reason: 'no-queue' },
    ]);
    expect(driver.run({ kind: 'delete-queue', queueId: 9 as QueueId })).toMatchObject([
      { reason: 'no-queue' },
    ]);
    expect(driver.machine.queues()).toHaveLength(1);
    expect(driver.declare('next')).toBe(2);
  });

  it('a queueId is never used again, also after the last queue of its chunk was deleted', () => {
    const driver = new MachineDriver();
    const ids = Array.from({ length: 130 }, (_, i) => driver.declare(`q${i}`));
    driver.checkpoint();
    for (const queueId of ids) driver.run({ kind: 'delete-queue', queueId });
    driver.checkpoint();
    driver.restart();
    expect([...driver.store.keys()]).toEqual(['meta']);
    expect(driver.machine.queues()).toEqual([]);
    expect(driver.declare('q0')).toBe(131);
  });

  it('a deleted queue takes all its records along, in memory or not', () => {
    const driver = new MachineDriver(0);
    const queueId = driver.declare('orders', LIMITS);
    const sender = new Sender(driver);
    sender.fill(queueId, 10_000);
    for (let offset = 5; offset < 9_000; offset += 7) driver.settle(queueId, offset);
    driver.settle(queueId, 0, 'requeue');
    driver.settle(queueId, 9_999, 'requeue');
    driver.checkpoint();
    driver.evict();
    expect(driver.store.size).toBe(3 + 1 + 1 + 3 + 2);
    driver.run({ kind: 'delete-queue', queueId });
    driver.checkpoint();
    expect([...driver.store.keys()].sort()).toEqual(['meta', 'stream/node-1']);
  });
});

describe('versions', () => {
  it('the first is 1; an unknown one is refused and changes nothing', () => {
    const { driver } = setUp();
    expect(driver.machine.version).toBe(1);
    expect(driver.run({ kind: 'set-version', version: 2 })).toEqual([
      { kind: 'version-refused', version: 2, inForce: 1 },
    ]);
    expect(driver.run({ kind: 'set-version', version: 1 })).toEqual([
      { kind: 'version-set', version: 1 },
    ]);
    expect(driver.machine.version).toBe(1);
  });
});

describe('apply', () => {
  const at = (index: number, stamp: number, machine: Machine) =>
    machine.apply(
      index as LogIndex,
      stamp as StampMs,
      { kind: 'set-version', version: 1 },
      new Effects(),
    );

  it('never lets the stamp or the index go back', () => {
    const machine = new Machine({ maxResidentRecords: 1 });
    expect(() => at(1, 1, machine)).toThrow('not started');
    machine.load(META_KEY, undefined);
    at(5, 100, machine);
    at(5, 100, machine);
    expect(() => at(5, 99, machine)).toThrow('stamp went back');
    expect(() => at(4, 100, machine)).toThrow('index went back');
    expect(() => at(6, Number.NaN, machine)).toThrow('stamp went back');
    at(7, 101, machine);
    expect([machine.lastIndex, machine.lastStamp]).toEqual([7, 101]);
  });

  it('a record that must be in the store and is not is a fault, not an empty record', () => {
    const { driver, queueId, sender } = setUp();
    sender.fill(queueId, 1);
    driver.checkpoint();
    driver.restart();
    expect(() => driver.machine.load(queueKey(queueId), undefined)).toThrow('missing in the store');
    driver.machine.load(queueKey(queueId), driver.store.get(queueKey(queueId)) ?? null);
    expect(() => driver.machine.load('other/1/2' as RecordKey, [1])).toThrow('unknown kind');
    expect(() => driver.machine.load('other/1' as RecordKey, [1])).toThrow('unknown kind');
  });

  it('a resident record is never replaced by what the store has', () => {
    const { driver, queueId, sender } = setUp();
    sender.fill(queueId, 2);
    driver.settle(queueId, 0);
    driver.machine.load(queueKey(queueId), [1, 0, 0, 0, 1, [[0, 'default', 0, '', 0, 0]]]);
    driver.machine.load(groupKey(queueId, DEFAULT_GROUP), [1, [0, 0], [], []]);
    expect(driver.machine.depth(queueId)).toBe(1);
  });

  it('a load that comes late, after others were applied, brings nothing back', () => {
    const { driver, queueId, sender } = setUp();
    sender.fill(queueId, 5_000);
    driver.settle(queueId, 2);
    driver.settle(queueId, 1, 'requeue');
    driver.checkpoint();
    const late = new Map(driver.store);
    driver.settle(queueId, 0);
    driver.settle(queueId, 1);
    const before = driver.dump();
    const { residentRecords } = driver.machine;
    for (let offset = 3; offset < SETTLED_CHUNK; offset += 1) driver.settle(queueId, offset);
    const whole = driver.machine.residentRecords;
    expect(whole).toBeLessThan(residentRecords);
    for (const [key, data] of late) driver.machine.load(key, data);
    for (const [key, data] of before) driver.machine.load(key, data);
    driver.machine.load(attemptsKey(queueId, DEFAULT_GROUP, 0), undefined);
    expect(driver.machine.residentRecords).toBe(whole);
    expect(driver.machine.lowestWanted(queueId)).toBe(SETTLED_CHUNK);
    driver.run({ kind: 'delete-queue', queueId });
    for (const [key, data] of late) driver.machine.load(key, data);
    driver.machine.load(queueKey(queueId), undefined);
    expect(driver.machine.queues()).toEqual([]);
  });

  it('keys of resident records cost no allocation: the list is one constant', () => {
    const { driver, queueId, sender } = setUp();
    sender.fill(queueId, 1);
    const { node, boot } = sender;
    const enqueue: Command = {
      kind: 'enqueue',
      node,
      boot,
      number: 2,
      answeredUpTo: 1,
      targets: [queueId],
      bytes: 1,
      topic: '$queue/orders',
      options: undefined,
    };
    const keys = () => driver.machine.keys(enqueue, driver.now as StampMs);
    expect(keys()).toBe(keys());
    expect(keys()).toEqual([]);
  });
});

describe('memory', () => {
  it('idle queues cost no record, and their floor stays known', () => {
    const driver = new MachineDriver(10);
    const sender = new Sender(driver);
    const ids = Array.from({ length: 200 }, (_, i) => driver.declare(`q${i}`));
    for (const queueId of ids) {
      sender.fill(queueId, 3);
      driver.settle(queueId, 0);
      driver.settle(queueId, 2, 'requeue');
    }
    expect(driver.machine.residentRecords).toBeGreaterThan(400);
    driver.checkpoint();
    driver.evict();
    driver.evict();
    expect(driver.machine.residentRecords).toBeLessThanOrEqual(10);
    expect(ids.map((queueId) => driver.machine.lowestWanted(queueId))).toEqual(ids.map(() => 1));
    expect(ids.map((queueId) => driver.machine.nextOffset(queueId))).toEqual(ids.map(() => 3));
    // And each works on as if nothing had been.
    for (const queueId of ids) expect(driver.settle(queueId, 1)).toMatchObject([{ floor: 2 }]);
  });

  it('floor and next offset are unknown after a restart until the records were loaded', () => {
    const { driver, queueId, sender } = setUp();
    sender.fill(queueId, 2);
    driver.settle(queueId, 0);
    driver.checkpoint();
    driver.restart();
    const { machine } = driver;
    expect([machine.lowestWanted(queueId), machine.nextOffset(queueId)]).toEqual([
      undefined,
      undefined,
    ]);
    expect(machine.queueKeys(queueId)).toEqual([queueKey(queueId)]);
    driver.dispatchStart(queueId);
    expect([machine.lowestWanted(queueId), machine.nextOffset(queueId)]).toEqual([1, 2]);
    expect(machine.queueKeys(queueId)).toEqual([]);
  });

  it('a checkpoint writes what changed and not what exists', () => {
    const driver = new MachineDriver();
    const sender = new Sender(driver);
    const ids = Array.from({ length: 100 }, (_, i) => driver.declare(`q${i}`));
    sender.fill(ids[0] as QueueId, 20_000);
    for (let offset = 1; offset < 20_000; offset += 2) driver.settle(ids[0] as QueueId, offset);
    driver.checkpoint();
    driver.settle(ids[0] as QueueId, 10_000);
    // Meta, the group, and one bitmap.
    expect(driver.machine.dirtyRecords).toBe(3);
  });
});

describe('Q19: what a settlement touches', () => {
  it('does not grow with what is pending: the same records for 10 and for 100,000', () => {
    const touched = (pending: number) => {
      const { driver, queueId, sender } = setUp();
      const effects = new Effects();
      const { node, boot } = sender;
      for (let number = 1; number <= pending; number += 1) {
        const answeredUpTo = number - 1;
        const targets = [queueId];
        const command: Command = {
          kind: 'enqueue',
          node,
          boot,
          number,
          answeredUpTo,
          targets,
          bytes: 1,
          topic: '$queue/orders',
          options: undefined,
        };
        driver.index += 1;
        driver.machine.keys(command, driver.now as StampMs);
        effects.clear();
        driver.machine.apply(driver.index as LogIndex, driver.now as StampMs, command, effects);
      }
      return [1, 3, 5].map((offset) => {
        driver.machine.freeze();
        driver.machine.capture(1_000, []);
        driver.machine.thaw();
        driver.settle(queueId, offset, offset === 5 ? 'requeue' : 'complete');
        return driver.machine.dirtyRecords;
      });
    };
    expect(touched(100_000)).toEqual(touched(10));
  });
});
