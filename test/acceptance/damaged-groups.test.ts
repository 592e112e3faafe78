/**
 * One bit flipped in the records of groups, on a real broker: named, held, nothing invented, and
 * everything else goes on. One broker for all of it, and a queue for each test.
 */

import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ExitCode } from '../../src/cli/exit-codes.ts';
import { CommandLine } from '../cli/run-cli.ts';
import type { BrokerProcess } from '../support/broker-process.ts';
import { flipRecord } from '../support/flip-record.ts';
import { QueueUser, brokerWith, until } from '../support/queue-user.ts';

/** In order of their numbers, from 1. */
const QUEUES = ['orders', 'killed', 'deleted', 'sound', 'far'];
const TEXTS = ['a', 'b', 'c', 'd', 'e', 'f'];
const FAR = Array.from({ length: 1_600 }, (_, at) => `${at} `.padEnd(2_000, '.'));
const FAR_EARLY = 200;
/** So little that what `far` settled early leaves the log while the rest is published. */
const STORAGE = { window: '2MiB', window_messages: 1_000, segment_size: '1MiB' };

let broker: BrokerProcess;
let user: QueueUser;
/** What of the early messages of `far` is not settled. */
const kept: string[] = [];

const command = new CommandLine(() => broker.dataDirectory);

async function groupsOf(queue: string): Promise<unknown> {
  return (await command.told('queue', 'show', queue))[0]?.['groups'];
}

const inShard = (folder: string): string => join(broker.dataDirectory, 'shard-0', folder);

const isFirstSegment = (name: string): boolean => /^0{19}1-/.test(name);

/** Settles by hand what `isSettled` names of the next `count`, and leaves. */
async function settleSome(queue: string, count: number, isSettled: (at: number) => boolean) {
  const consumer = await QueueUser.connect(broker.port, `consumer-of-${queue}`);
  await consumer.consume(`$queue/${queue}`, { manual: true });
  const left: string[] = [];
  for (let at = 0; at < count; at += 1) {
    const taken = await consumer.take();
    taken.answer(0);
    if (isSettled(at)) await consumer.settle('ack', taken);
    else left.push(taken.text);
  }
  await consumer.die();
  return left;
}

beforeAll(async () => {
  const queues = QUEUES.map((name) => ({ name }));
  broker = await brokerWith('damaged-groups', queues, { storage: STORAGE });
  user = await QueueUser.connect(broker.port, 'user');
  for (const name of QUEUES.slice(0, -1)) await user.publishMany(`$queue/${name}`, TEXTS);
  await settleSome('orders', TEXTS.length, (at) => [0, 2, 3].includes(at));
  await user.publishMany('$queue/far', FAR.slice(0, FAR_EARLY));
  kept.push(...(await settleSome('far', FAR_EARLY, (at) => at % 20 !== 0)));
  await user.publishMany('$queue/far', FAR.slice(FAR_EARLY));
  // What is still wanted of the first segment lies in runs, and the rest is gone with it.
  await until(async () => !(await readdir(inShard('log'))).some(isFirstSegment));
  await user.leave();
  expect(await broker.stop()).toBe(0);
  for (const queueId of [1, 2, 3, 5]) await flipRecord(inShard('records'), `group/${queueId}/0`);
  await broker.start();
  user = await QueueUser.connect(broker.port, 'user');
});

afterAll(async () => {
  await user.leave();
  await broker.remove();
});

test('the broker starts; queues, groups and what they lost are named', async () => {
  expect(broker.output).toContain('a damaged record told what a group has settled');
  for (const name of ['orders', 'killed', 'deleted']) expect(broker.output).toContain(name);
  expect(await groupsOf('orders')).toMatchObject([{ group: 'default', lost: [0, 5] }]);
  expect(await groupsOf('sound')).toMatchObject([{ group: 'default', lost: null, depth: 6 }]);
  const { stdout } = await command.run('queue', 'show', 'orders');
  expect(stdout).toContain('what group default has settled of 0 to 5');
});

test('nothing is delivered or moved until it is sought; other queues go on', async () => {
  await user.consume('$queue/orders');
  await user.publish('$queue/orders', 'new');
  await user.consume('$queue/sound');
  expect(await user.settleNext(TEXTS.length)).toEqual(TEXTS);
  const moved = await command.run('queue', 'move', 'orders', 'sound');
  expect(moved.code).toBe(ExitCode.refused);
  expect(moved.stderr).toContain('seek it first');
  await user.ping();
  expect(user.untaken).toBe(0);

  expect(await command.told('queue', 'seek', 'orders', 'default', '4')).toMatchObject([
    { floor: 4 },
  ]);
  expect(await user.settleNext(3)).toEqual(['e', 'f', 'new']);
  await until(async () => (await command.told('queue', 'show', 'orders'))[0]?.['depth'] === 0);
  expect(await groupsOf('orders')).toMatchObject([{ lost: null }]);
});

test('its deletion ends it too, and a new group gets what is kept', async () => {
  await command.told('group', 'delete', 'deleted', 'default', '--yes');
  expect(await groupsOf('deleted')).toEqual([]);
  await user.consume('$queue/deleted', { group: 'again' });
  expect(await user.settleNext(TEXTS.length)).toEqual(TEXTS);
});

test('it stays held over kill -9, and a seek stays done', async () => {
  await broker.kill();
  await broker.start();
  expect(await groupsOf('killed')).toMatchObject([{ lost: [0, 5] }]);
  await command.told('queue', 'seek', 'killed', 'default', 'first');
  await broker.kill();
  await broker.start();
  user = await QueueUser.connect(broker.port, 'user');
  await user.consume('$queue/killed');
  expect(await user.settleNext(TEXTS.length)).toEqual(TEXTS);
});

test('what every group had settled was given back since, and is passed over', async () => {
  await command.told('queue', 'seek', 'far', 'default', 'first');
  await user.consume('$queue/far');
  const wanted = [...kept, ...FAR.slice(FAR_EARLY)];
  expect(await user.settleNext(wanted.length)).toEqual(wanted);
  await until(async () => (await command.told('queue', 'show', 'far'))[0]?.['depth'] === 0);
  expect(await command.told('queue', 'show', 'far')).toMatchObject([
    { damaged: [], held_by: null },
  ]);
});

test('the record of a queue with a flipped bit refuses the start, with words', async () => {
  await user.leave();
  expect(await broker.stop()).toBe(0);
  await flipRecord(inShard('records'), 'queue/4');
  expect(await broker.startAndEnd()).toBe(ExitCode.damaged);
  expect(broker.output).toContain('the state of queue sound');
  expect(broker.output).toContain('nothing was changed');
});
