/** Durable sessions in the machine; random sequences of the same commands: test/model. */

import { describe, expect, it } from 'vitest';
import type { KeyPart } from '../../src/machine/command.ts';
import { defaultDefinition } from '../../src/machine/default-definition.ts';
import type { Offset, QueueId } from '../../src/machine/ids.ts';
import {
  NEVER_EXPIRES,
  SESSION_UNITS_MAX,
  type StoredSubscription,
} from '../../src/machine/session-record.ts';
import { PLAIN, Sender } from './machine-driver.ts';
import { Rig } from './session-rig.ts';

function subscription(filter: string, set: Partial<StoredSubscription> = {}): StoredSubscription {
  const plain = { noLocal: false, retainAsPublished: false, identifier: 0, wish: '' } as const;
  return { filter, qos: 1, ...plain, retainHandling: 0, ...set };
}

const DONE = { kind: 'session-done' };
const STALE = { kind: 'session-refused', reason: 'stale-owner' };

describe('the queue of a session', () => {
  it('has such a name and such a type, and neither without the other', () => {
    const { driver } = new Rig();
    const limits = defaultDefinition('$session/x', 'session').limits;
    const declare = (name: string, type: 'session' | 'classic', set: object = {}) =>
      driver.run({
        kind: 'declare-queue',
        name,
        type,
        topics: ['t'],
        limits: { ...limits, ...set },
      })[0];
    const refused = { kind: 'queue-refused', reason: 'invalid' };
    expect(declare('x', 'session')).toMatchObject(refused);
    expect(declare('$session/x', 'classic')).toMatchObject(refused);
    expect(declare('$session/', 'session')).toMatchObject(refused);
    expect(declare('$session/a/b', 'session')).toMatchObject(refused);
    expect(declare('$session/x', 'session', { maxPriority: 3 })).toMatchObject(refused);
    expect(declare('orders', 'classic', { deadLetter: '$session/x' })).toMatchObject(refused);
    // What it captures by is what its client subscribed to, and nobody else's to say.
    expect(declare('$session/x', 'session')).toMatchObject({ definition: { topics: [] } });
  });

  it('has one group, for as long as it lives', () => {
    const { driver, queueId } = new Rig();
    const refused = { kind: 'group-refused', reason: 'invalid' };
    const group = { name: 'more', groupKind: 'explicit', filter: '', start: undefined } as const;
    expect(driver.run({ kind: 'create-group', queueId, ...group })[0]).toMatchObject(refused);
    const groupId = driver.groups(queueId)[0]?.groupId as never;
    expect(driver.run({ kind: 'delete-group', queueId, groupId })[0]).toMatchObject(refused);
  });

  it('counts no attempts, has no backoff and no dead letters', () => {
    const { driver, queueId } = new Rig();
    new Sender(driver).fill(queueId, 2);
    for (let attempt = 0; attempt < 50; attempt += 1) {
      const lost = driver.settle(queueId, 0, 'requeue', 'lost')[0];
      expect(lost).toMatchObject({ kind: 'requeued', attempts: 0, notBefore: 0 });
    }
    const [discarded] = driver.settle(queueId, 1, 'discard');
    expect(discarded).toMatchObject({ kind: 'settled', discarded: false });
    expect(driver.machine.openIntentCount).toBe(0);
  });
});

describe('a claim', () => {
  it('raises the epoch, and tells what there was', () => {
    const rig = new Rig();
    expect(rig.claim(0)).toMatchObject({ ownerEpoch: 1, present: false, incarnation: 'i1' });
    rig.run('change-session', 1, { subscribe: [subscription('a/#')], unsubscribe: [] });
    new Sender(rig.driver).fill(rig.queueId, 3);
    rig.run('halve-session', 1, { offset: 1 as Offset });
    rig.driver.evict();
    const again = rig.claim(1);
    expect(again).toMatchObject({ ownerEpoch: 2, present: true, incarnation: 'i1', before: '' });
    expect(again).toMatchObject({ subscriptions: [{ filter: 'a/#' }], halves: [1] });
  });

  it('of another epoch than the one in force is refused', () => {
    const rig = new Rig();
    rig.claim(0);
    expect(rig.claim(0)).toMatchObject({ ...STALE, ownerEpoch: 1 });
    expect(rig.claim(2)).toMatchObject({ ...STALE, ownerEpoch: 1 });
  });

  it('that comes twice is answered as the first time: not as one that finds a session', () => {
    const rig = new Rig();
    const first = rig.claim(0, { token: 'same' });
    rig.driver.restart();
    expect(rig.claim(1, { token: 'same' })).toEqual(first);
    expect(rig.claim(1)).toMatchObject({ ownerEpoch: 2, present: true });
  });

  it('with a clean start leaves nothing of the life before, whatever it was', () => {
    const rig = new Rig();
    const sender = new Sender(rig.driver);
    rig.claim(0);
    rig.run('change-session', 1, { subscribe: [subscription('a/#')], unsubscribe: [] });
    sender.fill(rig.queueId, 9_000);
    rig.driver.settle(rig.queueId, 8_000);
    rig.run('halve-session', 1, { offset: 5 });
    const key = { session: 'i1', ownerEpoch: 1, packetId: 7 };
    const keyed = { options: { ...PLAIN, key } };
    sender.send([rig.queueId], 10, keyed);
    const clean = rig.claim(1, { cleanStart: true });
    expect(clean).toMatchObject({ ownerEpoch: 2, present: false, before: 'i1' });
    expect(clean).toMatchObject({ incarnation: 'i2', subscriptions: [], halves: [] });
    expect(rig.topics).toEqual([]);
    expect(rig.driver.groups(rig.queueId)).toMatchObject([{ depth: 0 }]);
    // The keys of that life went with it: the same one would be stored again.
    const [stored] = sender.send([rig.queueId], 10, keyed);
    expect(stored).toMatchObject({ kind: 'enqueued' });
  });

  it('of another user is refused, with a clean start too, until its time is over', () => {
    const rig = new Rig();
    const others = { kind: 'session-refused', reason: 'other-user' };
    rig.claim(0, { user: 'ann' });
    rig.driver.restart();
    expect(rig.claim(1, { user: 'bob' })).toMatchObject({ ...others, ownerEpoch: 1 });
    expect(rig.claim(1, { user: 'bob', cleanStart: true })).toMatchObject(others);
    expect(rig.claim(1, { user: '' })).toMatchObject(others);
    expect(rig.claim(1, { user: 'ann' })).toMatchObject({ ownerEpoch: 2, present: true });
    rig.run('leave-session', 2, { expirySeconds: 10 });
    rig.driver.now += 10_000;
    expect(rig.claim(2, { user: 'bob' })).toMatchObject({ ownerEpoch: 3, present: false });
    expect(rig.claim(3, { user: 'ann' })).toMatchObject(others);
  });

  it('where users do not count takes any, which stays that of its user', () => {
    const rig = new Rig();
    rig.claim(0, { user: 'ann' });
    expect(rig.claim(1)).toMatchObject({ ownerEpoch: 2, present: true });
    expect(rig.claim(2, { user: 'bob' })).toMatchObject({ reason: 'other-user' });
  });

  it("makes a session his that was nobody's", () => {
    const rig = new Rig();
    rig.claim(0);
    expect(rig.claim(1, { user: 'ann' })).toMatchObject({ ownerEpoch: 2, present: true });
    expect(rig.claim(2, { user: 'bob' })).toMatchObject({ reason: 'other-user' });
  });

  it('finds no session whose time is over, though nobody has deleted it yet', () => {
    const rig = new Rig();
    rig.claim(0);
    new Sender(rig.driver).fill(rig.queueId, 2);
    rig.run('leave-session', 1, { expirySeconds: 10 });
    rig.driver.now += 9_999;
    expect(rig.claim(1)).toMatchObject({ present: true });
    rig.run('leave-session', 2, { expirySeconds: 10 });
    rig.driver.now += 10_000;
    expect(rig.claim(2)).toMatchObject({ present: false, before: 'i1', incarnation: 'i3' });
    expect(rig.driver.groups(rig.queueId)).toMatchObject([{ depth: 0 }]);
  });

  it('gives the queue the limits of the node that claims', () => {
    const rig = new Rig();
    rig.claim(0, { limits: { maxMessages: 7, maxBytes: 900, overflow: 'reject-publish' } });
    const { limits } = rig.driver.machine.definition(rig.queueId) ?? {};
    expect(limits).toMatchObject({ maxMessages: 7, maxBytes: 900, overflow: 'reject-publish' });
  });
});

describe('a former owner', () => {
  it('changes nothing any more, also after a restart', () => {
    const rig = new Rig();
    rig.claim(0);
    new Sender(rig.driver).fill(rig.queueId, 1);
    rig.claim(1);
    rig.driver.restart();
    const before = rig.driver.dump();
    const all = { subscribe: [subscription('x')], unsubscribe: [], offset: 0, expirySeconds: 0 };
    for (const kind of ['change', 'halve', 'finish', 'leave', 'resume', 'delete']) {
      expect(rig.run(`${kind}-session`, 1, all), kind).toMatchObject({ ...STALE, ownerEpoch: 2 });
    }
    // But the index and the stream of what was said.
    const meta = ([key]: readonly [string, unknown]): boolean => key !== 'meta';
    expect(rig.driver.dump().filter(meta)).toEqual(before.filter(meta));
  });
});

describe('subscriptions', () => {
  it('at QoS 1 and 2 are what the queue captures by; those of shares and queues are not', () => {
    const rig = new Rig();
    rig.claim(0);
    const subscribe = [
      subscription('a/#'),
      subscription('b', { qos: 0 }),
      subscription('c/+', { qos: 2, identifier: 9, wish: 'w' }),
      subscription('$share/g/d'),
      subscription('$queue/orders'),
      subscription('$SYS/#'),
    ];
    expect(rig.run('change-session', 1, { subscribe, unsubscribe: [] })).toMatchObject(DONE);
    expect(rig.topics).toEqual(['a/#', 'c/+']);
    const change = { subscribe: [subscription('a/#', { qos: 0 })], unsubscribe: ['c/+', 'none'] };
    rig.run('change-session', 1, change);
    expect(rig.topics).toEqual([]);
    rig.driver.restart();
    const claimed = rig.claim(1);
    const left = subscribe.filter(({ filter }) => filter !== 'c/+');
    left[0] = subscription('a/#', { qos: 0 });
    expect(claimed).toMatchObject({ subscriptions: left });
  });

  it('are bounded in number and length, all or nothing', () => {
    const rig = new Rig();
    rig.claim(0);
    const many = Array.from({ length: 9_999 }, (_, at) => subscription(`${at}`));
    expect(rig.run('change-session', 1, { subscribe: many, unsubscribe: [] })).toMatchObject(DONE);
    const two = [subscription('one'), subscription('two')];
    const tooMany = { kind: 'session-refused', reason: 'too-many-subscriptions' };
    expect(rig.run('change-session', 1, { subscribe: two, unsubscribe: [] })).toMatchObject(
      tooMany,
    );
    expect(rig.topics).toHaveLength(9_999);
    const swap = { subscribe: two, unsubscribe: ['1', '2'] };
    expect(rig.run('change-session', 1, swap)).toMatchObject(DONE);
    const all = many.map(({ filter }) => filter);
    const long = [subscription('a'.repeat(SESSION_UNITS_MAX - 6)), subscription('b')];
    expect(rig.run('change-session', 1, { subscribe: long, unsubscribe: all })).toMatchObject(
      tooMany,
    );
  });
});

describe('halves', () => {
  it('are settled and kept until they are finished; both may come twice', () => {
    const rig = new Rig();
    rig.claim(0);
    new Sender(rig.driver).fill(rig.queueId, 5);
    for (const offset of [3, 1, 3]) rig.run('halve-session', 1, { offset });
    rig.driver.restart();
    expect(rig.run('halve-session', 1, { offset: 4 })).toMatchObject(DONE);
    // One that the queue has not given is no half.
    expect(rig.run('halve-session', 1, { offset: 99 })).toMatchObject(DONE);
    for (const offset of [4, 4, 2]) rig.run('finish-session', 1, { offset });
    expect(rig.claim(1)).toMatchObject({ halves: [1, 3] });
    expect(rig.driver.groups(rig.queueId)).toMatchObject([{ depth: 2 }]);
  });
});

describe('the end', () => {
  it('counts from the stamp of the leave, is told until the queue is gone, and needs the epoch', () => {
    const rig = new Rig();
    rig.claim(0, { expirySeconds: 5 });
    expect(rig.run('leave-session', 1, { expirySeconds: 10 })).toMatchObject(DONE);
    rig.driver.now += 9_000;
    expect(rig.fire()).toEqual([]);
    const notEnded = { kind: 'session-refused', reason: 'not-ended' };
    expect(rig.run('delete-session', 1)).toMatchObject(notEnded);
    rig.driver.restart();
    rig.driver.now += 1_200;
    const told = { kind: 'session-ended', ownerEpoch: 1, incarnation: 'i1' };
    expect(rig.fire()).toMatchObject([told]);
    rig.driver.now += 61_000;
    expect(rig.fire()).toMatchObject([told]);
    expect(rig.run('delete-session', 1)).toMatchObject(DONE);
    expect(rig.driver.machine.queueNamed('$session/c1')).toBeUndefined();
    const left = rig.driver.dump().map(([key]) => key);
    expect(left.filter((key) => /^(queue|group|settled|mqtt|session)/.test(key))).toEqual([]);
    rig.driver.now += 61_000;
    expect(rig.fire()).toEqual([]);
  });

  it('never comes where the expiry says never, nor while somebody has it', () => {
    const rig = new Rig();
    rig.claim(0);
    rig.run('leave-session', 1, { expirySeconds: NEVER_EXPIRES });
    rig.driver.now += 1e12;
    expect(rig.fire()).toEqual([]);
    rig.claim(1);
    rig.run('leave-session', 2, { expirySeconds: 1 });
    rig.run('resume-session', 2);
    rig.driver.now += 100_000;
    expect(rig.fire()).toEqual([]);
    expect(rig.run('delete-session', 2)).toMatchObject({ reason: 'not-ended' });
  });

  it('of an owner who is only missed does not move one that is counted already', () => {
    const rig = new Rig();
    rig.claim(0, { expirySeconds: 30 });
    rig.run('leave-session', 1, { expirySeconds: undefined });
    rig.driver.now += 20_000;
    rig.run('leave-session', 1, { expirySeconds: undefined });
    rig.driver.now += 10_200;
    expect(rig.fire()).toMatchObject([{ kind: 'session-ended' }]);
  });

  it('leaves no pile of timers behind, however often a client comes and goes', () => {
    const rig = new Rig();
    let timers = 0;
    let epoch = 0;
    for (let expirySeconds = 1_000_000; expirySeconds > 990_000; expirySeconds -= 10) {
      rig.claim(epoch);
      epoch += 1;
      rig.run('leave-session', epoch, { expirySeconds });
      rig.driver.now += 10;
    }
    for (const [key, data] of rig.driver.dump()) {
      if (/^timers\/./.test(key)) timers += (data as [number, number[]])[1].length / 5;
    }
    expect(timers).toBe(1);
    // One that ends at once is told at once.
    rig.run('leave-session', epoch, { expirySeconds: 0 });
    rig.driver.now += 100;
    expect(rig.fire()).toMatchObject([{ kind: 'session-ended' }]);
  });

  it('by an operator, who deletes the queue, takes record and keys along', () => {
    const rig = new Rig();
    rig.claim(0);
    const sender = new Sender(rig.driver);
    const key = { session: 'i1', ownerEpoch: 1, packetId: 7 };
    sender.send([rig.queueId], 10, { options: { ...PLAIN, key } });
    rig.driver.restart();
    rig.driver.run({ kind: 'delete-queue', queueId: rig.queueId });
    const left = rig.driver.dump().map(([name]) => name);
    expect(left.filter((name) => /session/.test(name))).toEqual([]);
    expect(rig.run('leave-session', 1, { expirySeconds: 1 })).toMatchObject({
      reason: 'no-session',
    });
  });
});

describe('a publish at QoS 2 that no queue takes', () => {
  it('leaves its key with the session: new, then known, until its release', () => {
    const rig = new Rig();
    rig.claim(0);
    const sender = new Sender(rig.driver);
    const receive = () => rig.run('receive-session', 1, { packetId: 9 });
    expect(receive()).toMatchObject({ kind: 'session-received', isNew: true });
    rig.driver.restart();
    expect(receive()).toMatchObject({ isNew: false });
    const place = { node: sender.node, boot: sender.boot, answeredUpTo: 0, number: 1 };
    const key = { session: 'i1', ownerEpoch: 1, packetId: 9 };
    rig.driver.run({ kind: 'release', ...place, key });
    expect(receive()).toMatchObject({ isNew: true });
    rig.claim(1);
    expect(receive()).toMatchObject(STALE);
    expect(rig.run('receive-session', 2, { packetId: 9 })).toMatchObject({ isNew: false });
  });
});

describe('a publish in parts with a key', () => {
  const queues = (rig: Rig): QueueId[] =>
    ['a', 'b', 'c', 'd'].map((name) => rig.driver.declare(name));

  function sendPart(sender: Sender, targets: QueueId[], part: KeyPart | undefined): string {
    const key = { session: 's', ownerEpoch: 1, packetId: 7, part };
    const effects = sender.send(targets, 10, { options: { ...PLAIN, key } });
    const stored = effects.flatMap((each) => (each.kind === 'enqueued' ? [each.queueId] : []));
    return `${sender.outcome(effects) ?? ''} ${stored.join()}`.trim();
  }

  it('is stored once in each queue, also when it comes again in other parts, or whole', () => {
    const rig = new Rig();
    const [a, b, c, d] = queues(rig) as [QueueId, QueueId, QueueId, QueueId];
    const sender = new Sender(rig.driver);
    expect(sendPart(sender, [a, b], { after: 0, through: b })).toBe(`accepted ${a},${b}`);
    rig.driver.restart();
    // The second part is lost, and the client sends it again: there are other queues by now.
    expect(sendPart(sender, [a], { after: 0, through: a })).toBe('accepted');
    expect(sendPart(sender, [b, c], { after: a, through: c })).toBe(`accepted ${c}`);
    expect(sendPart(sender, [a, d], undefined)).toBe(`accepted ${d}`);
    expect(sendPart(sender, [a, b, c, d], undefined)).toBe('accepted');
    expect(sendPart(sender, [c, d], { after: b, through: 0 })).toBe('accepted');
  });

  it('stores nothing behind a part that was refused, so that none is missed', () => {
    const rig = new Rig();
    const [a, b, c] = queues(rig) as [QueueId, QueueId, QueueId];
    const full = rig.driver.declare('full', { maxMessages: 1 });
    const sender = new Sender(rig.driver);
    sender.send([full]);
    expect(sendPart(sender, [a], { after: 0, through: a })).toBe(`accepted ${a}`);
    expect(sendPart(sender, [full, b], { after: a, through: b })).toBe('queue-full');
    expect(sendPart(sender, [c], { after: b, through: 0 })).toBe('unavailable');
    rig.driver.settle(full, 0);
    expect(sendPart(sender, [a, b, c, full], undefined)).toBe(`accepted ${b},${c},${full}`);
  });

  it('goes on over a part whose queues are all gone; the release ends it', () => {
    const rig = new Rig();
    const [a, b] = queues(rig) as [QueueId, QueueId];
    const sender = new Sender(rig.driver);
    rig.driver.run({ kind: 'delete-queue', queueId: a });
    expect(sendPart(sender, [a], { after: 0, through: a })).toBe('no-queue');
    const place = { node: sender.node, boot: sender.boot, answeredUpTo: 0 };
    expect(sendPart(sender, [b], { after: a, through: 0 })).toBe(`accepted ${b}`);
    const key = { session: 's', ownerEpoch: 1, packetId: 7 };
    sender.number += 1;
    rig.driver.run({ kind: 'release', ...place, number: sender.number, key });
    expect(sendPart(sender, [b], undefined)).toBe(`accepted ${b}`);
  });
});
