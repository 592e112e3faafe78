/** Groups, filters, streams and their positions, against a real broker: Q9-Q12, Q20, Q25, Q29. */

import { afterAll, beforeAll, expect, test } from 'vitest';
import { fluxmq } from '../cli/run-cli.ts';
import {
  queueBrokers,
  QueueUser,
  queueShown,
  until,
  type QueueBroker,
} from '../support/queue-user.ts';

let broker: QueueBroker;
let producer: QueueUser;

beforeAll(async () => {
  broker = await queueBrokers.with('groups-and-streams', [
    { name: 'fan' },
    { name: 'filtered' },
    { name: 'shared-by-name' },
    { name: 'events', type: 'stream' },
    { name: 'history', type: 'stream' },
    { name: 'left', topics: ['$queue/both/#'] },
    { name: 'right', topics: ['$queue/both/#', '$queue/both/+'] },
    { name: 'captured', topics: ['m/#'] },
    { name: 'stalled', topics: ['s/#'], max_length: { messages: 1 } },
    { name: 'again' },
    { name: 'retained' },
    { name: 'visitors', default_group: 'client', group_expires: '1s' },
  ]);
  producer = await QueueUser.connect(broker.port, 'producer');
});

afterAll(async () => {
  await producer.leave();
  await broker.remove();
});

async function consumer(
  id: string,
  topic: string,
  wishes: Parameters<QueueUser['consume']>[1] = {},
): Promise<QueueUser> {
  const user = await QueueUser.connect(broker.port, id);
  await user.consume(topic, wishes);
  return user;
}

async function publishAll(topic: string, texts: readonly string[]): Promise<void> {
  for (const text of texts) await producer.publish(topic, text);
}

function leave(...users: readonly QueueUser[]): Promise<unknown> {
  return Promise.all(users.map((user) => user.leave()));
}

test('Q10: two groups each get everything; members of one share', async () => {
  await publishAll('$queue/fan', ['1', '2', '3', '4']);
  const billing = await consumer('a-1', '$queue/fan', { group: 'billing' });
  expect(await billing.settleNext(4)).toEqual(['1', '2', '3', '4']);
  const shipping = await consumer('b-1', '$queue/fan', { group: 'shipping' });
  const second = await consumer('b-2', '$queue/fan', { group: 'shipping' });
  await publishAll('$queue/fan', ['5', '6']);
  expect(await billing.settleNext(2)).toEqual(['5', '6']);
  const taken = [...(await shipping.settleNext(1)), ...(await second.settleNext(1))];
  expect(taken).toHaveLength(2);
  await leave(billing, shipping, second);
});

test('Q10: one group name with two filters is two cursors; a malformed filter is refused', async () => {
  const eu = await consumer('f-1', '$queue/filtered/eu/#', { group: 'g' });
  const us = await consumer('f-2', '$queue/filtered/us/#', { group: 'g' });
  await publishAll('$queue/filtered/eu/1', ['eu one']);
  await publishAll('$queue/filtered/us/1', ['us one']);
  await publishAll('$queue/filtered/eu/2', ['eu two']);
  expect(await eu.settleNext(2)).toEqual(['eu one', 'eu two']);
  expect(await us.settleNext(1)).toEqual(['us one']);
  for (const filter of ['#/x', 'a+', '+#', 'a/#/b']) {
    await expect(eu.consume(`$queue/filtered/${filter}`), filter).rejects.toThrow();
  }
  await leave(eu, us);
});

test('$share names the group in 3.1.1 and in 5.0', async () => {
  const old = await QueueUser.connect(broker.port, 'share-old', 4);
  await old.consume('$share/workers/$queue/shared-by-name');
  const fresh = await consumer('share-new', '$share/workers/$queue/shared-by-name');
  const other = await consumer('share-other', '$share/others/$queue/shared-by-name');
  await publishAll('$queue/shared-by-name', ['1', '2']);
  const shared = [...(await old.settleNext(1)), ...(await fresh.settleNext(1))];
  expect(shared.toSorted()).toEqual(['1', '2']);
  expect(await other.settleNext(2)).toEqual(['1', '2']);
  await leave(old, fresh, other);
});

test('Q9: first, last, next, N, a time, and resume after a reconnect', async () => {
  const all = Array.from({ length: 10 }, (_, i) => `event ${i}`);
  await publishAll('$queue/events', all.slice(0, 5));
  // Stamps are whole milliseconds: the next one is behind this.
  await new Promise((resolve) => {
    setTimeout(resolve, 5);
  });
  const between = Date.now();
  await publishAll('$queue/events', all.slice(5));

  const first = await consumer('s-1', '$queue/events', { group: 'first', offset: 'first' });
  expect(await first.settleNext(10)).toEqual(all);
  const last = await consumer('s-2', '$queue/events', { group: 'last', offset: 'last' });
  expect(await last.settleNext(1)).toEqual(['event 9']);
  const at = await consumer('s-3', '$queue/events', { group: 'at', offset: '7' });
  expect(await at.settleNext(3)).toEqual(all.slice(7));
  const since = await consumer('s-4', '$queue/events', {
    group: 'since',
    offset: `timestamp:${between}`,
  });
  const found = await since.settleNext(5);
  expect(found).toEqual(all.slice(5));
  const next = await consumer('s-5', '$queue/events', { group: 'next', offset: 'next' });
  await publishAll('$queue/events', ['event 10']);
  const only = await next.take();
  expect(only.text).toBe('event 10');
  expect(only.user['x-stream-offset']).toBe('10');
  only.answer(0);
  await next.leave();
  await publishAll('$queue/events', ['event 11']);
  const resumed = await consumer('s-6', '$queue/events', { group: 'next' });
  expect(await resumed.settleNext(1)).toEqual(['event 11']);
  await leave(first, last, at, since, resumed);
});

test('Q9: a late reader gets the whole history, also behind a restart', async () => {
  const history = Array.from({ length: 2_000 }, (_, i) => `line ${i}`);
  await producer.publishMany('$queue/history', history);
  await broker.stop();
  await broker.start();
  producer = await QueueUser.connect(broker.port, 'producer');
  const late = await consumer('late', '$queue/history', { group: 'late', offset: 'first' });
  const texts = await late.settleNext(history.length);
  expect(new Set(texts)).toEqual(new Set(history));
  const offsets = new Set<string>();
  await late.leave();
  const again = await consumer('late', '$queue/history', { group: 'late', offset: 'first' });
  for (let i = 0; i < 10; i += 1) {
    const taken = await again.take();
    offsets.add(taken.user['offset'] ?? '');
    taken.answer(0);
  }
  expect([...offsets]).toEqual(Array.from({ length: 10 }, (_, i) => String(i)));
  await again.leave();
});

test('Q11: one publish that matches two queues is one copy in each', async () => {
  await publishAll('$queue/both/x', ['once']);
  for (const queue of ['left', 'right']) {
    const user = await consumer(`both-${queue}`, `$queue/${queue}`);
    expect(await user.settleNext(1)).toEqual(['once']);
    expect((await queueShown(broker, queue)).next).toBe(1);
    await user.leave();
  }
});

test('Q11: a captured topic reaches its subscribers and the queue, with its source topic', async () => {
  const live = await QueueUser.connect(broker.port, 'live');
  await live.consume('m/#');
  await publishAll('m/1/temperature', ['21.5']);
  expect(await live.settleNext(1)).toEqual(['21.5']);
  const user = await consumer('captures', '$queue/captured');
  const taken = await user.take();
  expect(taken.topic).toBe('$queue/captured/m/1/temperature');
  expect(taken.user['source-topic']).toBe('m/1/temperature');
  expect(taken.text).toBe('21.5');
  taken.answer(0);
  await leave(live, user);
});

test('Q12: a full queue refuses the publisher and delays no subscriber', async () => {
  const live = await QueueUser.connect(broker.port, 'live-2');
  await live.consume('s/#');
  await publishAll('s/1', ['stored']);
  await expect(producer.publish('s/1', 'refused by the queue')).rejects.toThrow();
  expect(await live.settleNext(2)).toEqual(['stored', 'refused by the queue']);
  await live.leave();
});

test('Q20: a retained publish to a queue is enqueued, and nothing is retained', async () => {
  await producer.publish('$queue/retained', 'kept', { retain: true });
  const user = await consumer('keeps', '$queue/retained');
  expect(await user.settleNext(1)).toEqual(['kept']);
  await user.leave();
});

test('Q25: a settlement for a deleted queue touches nothing of its successor', async () => {
  await publishAll('$queue/again', ['old']);
  const user = await consumer('holder', '$queue/again', { manual: true });
  const old = await user.take();
  old.answer(0);
  const on = ['--data', broker.dataDirectory];
  expect((await fluxmq(['queue', 'delete', 'again', '--yes', ...on])).code).toBe(0);
  expect((await fluxmq(['queue', 'declare', 'again', ...on])).code).toBe(0);
  await publishAll('$queue/again', ['new']);
  await expect(user.settle('ack', old, 'again')).rejects.toThrow();
  const next = await consumer('successor', '$queue/again');
  expect(await next.settleNext(1)).toEqual(['new']);
  await leave(user, next);
});

test('Q29: a random client id leaves no group behind after its time', async () => {
  const visitor = await consumer('visitor-x', '$queue/visitors');
  const groups = async (): Promise<string[]> =>
    (await queueShown(broker, 'visitors')).groups.map(({ name }) => name);
  expect(await groups()).toContain('visitor');
  await visitor.leave();
  await until(async () => !(await groups()).includes('visitor'));
});
