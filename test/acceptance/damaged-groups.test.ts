/**
 * One bit flipped in the record of a group, on a real broker: named, held, nothing invented, and
 * everything else goes on.
 */

import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ExitCode } from '../../src/cli/exit-codes.ts';
import { type Ended, fluxmq } from '../cli/run-cli.ts';
import { BrokerProcess, freePort } from '../support/broker-process.ts';
import { flipRecord } from '../support/flip-record.ts';
import { QueueUser, brokerWith, until } from '../support/queue-user.ts';

const TEXTS = ['a', 'b', 'c', 'd', 'e', 'f'];

let broker: BrokerProcess;
let user: QueueUser;

const run = (...args: readonly string[]): Promise<Ended> =>
  fluxmq([...args, '--data', broker.dataDirectory]);

async function told(...args: readonly string[]): Promise<Record<string, unknown>[]> {
  const { code, stdout, stderr } = await run(...args, '--json');
  expect(code, stderr).toBe(ExitCode.ok);
  const lines = stdout.split('\n').filter((line) => line !== '');
  return lines.map((line) => JSON.parse(line) as Record<string, unknown>);
}

function records(): string {
  return join(broker.dataDirectory, 'shard-0', 'records');
}

async function restart(change: () => Promise<void>): Promise<void> {
  await user.leave();
  expect(await broker.stop()).toBe(0);
  await change();
  await broker.start();
  user = await QueueUser.connect(broker.port, 'user');
}

const SMALL = { window: '2MiB', window_messages: 1_000, segment_size: '1MiB' };

/** Six messages each; of those of `orders` the first, third and fourth are settled. */
beforeEach(async () => {
  broker = await brokerWith('damaged-groups', [{ name: 'orders' }, { name: 'sound' }]);
  user = await QueueUser.connect(broker.port, 'user');
  await user.publishMany('$queue/orders', TEXTS);
  await user.publishMany('$queue/sound', TEXTS);
  const consumer = await QueueUser.connect(broker.port, 'consumer');
  await consumer.consume('$queue/orders', { manual: true });
  const taken = [];
  for (let i = 0; i < TEXTS.length; i += 1) taken.push(await consumer.take());
  for (const each of taken) each.answer(0);
  for (const at of [0, 2, 3]) {
    const each = taken[at];
    if (each !== undefined) await consumer.settle('ack', each);
  }
  await consumer.die();
});

afterEach(async () => {
  await user.leave();
  await broker.remove();
});

describe('the record of a group with a flipped bit', () => {
  test('the broker starts and names what is lost; the group waits until it is sought', async () => {
    await restart(() => flipRecord(records(), 'group/1/0'));
    expect(broker.output).toMatch(/"orders"|orders/);
    expect(broker.output).toContain('a damaged record told what a group has settled');
    const [shown] = await told('queue', 'show', 'orders');
    expect(shown?.['groups']).toMatchObject([{ group: 'default', lost: [0, 5] }]);
    const { stdout } = await run('queue', 'show', 'orders');
    expect(stdout).toContain('what group default has settled of 0 to 5');
    const [sound] = await told('queue', 'show', 'sound');
    expect(sound?.['groups']).toMatchObject([{ group: 'default', lost: null, depth: 6 }]);

    // Nothing is delivered or moved until it is sought; other queues go on.
    await user.consume('$queue/orders');
    await user.publish('$queue/orders', 'new');
    await user.consume('$queue/sound');
    expect(await user.settleNext(TEXTS.length)).toEqual(TEXTS);
    const moved = await run('queue', 'move', 'orders', 'sound');
    expect(moved.code).toBe(ExitCode.refused);
    expect(moved.stderr).toContain('seek it first');
    await user.ping();
    expect(user.untaken).toBe(0);

    expect(await told('queue', 'seek', 'orders', 'default', '4')).toMatchObject([{ floor: 4 }]);
    expect(await user.settleNext(3)).toEqual(['e', 'f', 'new']);
    await until(async () => (await told('queue', 'show', 'orders'))[0]?.['depth'] === 0);
    const [later] = await told('queue', 'show', 'orders');
    expect(later?.['groups']).toMatchObject([{ lost: null }]);
  });

  test('it stays held over kill -9, and a seek too', async () => {
    await restart(() => flipRecord(records(), 'group/1/0'));
    await broker.kill();
    await broker.start();
    const [held] = await told('queue', 'show', 'orders');
    expect(held?.['groups']).toMatchObject([{ lost: [0, 5] }]);
    await told('queue', 'seek', 'orders', 'default', 'first');
    await broker.kill();
    await broker.start();
    user = await QueueUser.connect(broker.port, 'user');
    await user.consume('$queue/orders');
    expect(await user.settleNext(TEXTS.length)).toEqual(TEXTS);
  });

  test('its deletion ends it too', async () => {
    await restart(() => flipRecord(records(), 'group/1/0'));
    await told('group', 'delete', 'orders', 'default', '--yes');
    const [shown] = await told('queue', 'show', 'orders');
    expect(shown?.['groups']).toEqual([]);
    await user.consume('$queue/orders', { group: 'again' });
    expect(await user.settleNext(TEXTS.length)).toEqual(TEXTS);
  });
});

test('the record of a queue with a flipped bit refuses the start, with words', async () => {
  await user.leave();
  expect(await broker.stop()).toBe(0);
  await flipRecord(records(), 'queue/1');
  expect(await broker.startAndEnd()).toBe(ExitCode.damaged);
  expect(broker.output).toContain('the state of queue orders');
  expect(broker.output).toContain('nothing was changed');
});

test('a node of a cluster refuses the start: what is held there alone would set it apart', async () => {
  await user.leave();
  expect(await broker.stop()).toBe(0);
  await flipRecord(records(), 'group/1/0');
  const address = `127.0.0.1:${await freePort()}`;
  const peers = `cluster.peers=[{id: node-1, addr: "${address}"}]`;
  const node = await BrokerProcess.prepare('damaged-groups', {
    dataDirectory: broker.dataDirectory,
    args: ['--set', `cluster.listen=${address}`, '--set', peers],
  });
  expect(await node.startAndEnd()).toBe(ExitCode.damaged);
  expect(node.output).toContain('the state of group number 0 of queue orders');
  expect(node.output).toContain('fluxmq cluster replace');
});

test('what every group had settled was given back since, and is passed over', async () => {
  const sound = broker;
  broker = await brokerWith('damaged-far', [{ name: 'far' }], { storage: SMALL });
  const publisher = await QueueUser.connect(broker.port, 'publisher');
  const consumer = await QueueUser.connect(broker.port, 'consumer');
  const texts = Array.from({ length: 1_600 }, (_, at) => `${at} `.padEnd(2_000, '.'));
  await publisher.publishMany('$queue/far', texts.slice(0, 200));
  await consumer.consume('$queue/far', { manual: true });
  const kept: string[] = [];
  for (let at = 0; at < 200; at += 1) {
    const taken = await consumer.take();
    taken.answer(0);
    if (at % 20 === 0) kept.push(taken.text);
    else await consumer.settle('ack', taken);
  }
  await consumer.leave();
  // The window leaves the first ones behind: what is settled is in no run.
  await publisher.publishMany('$queue/far', texts.slice(200));
  await until(async () => (await readdir(join(broker.dataDirectory, 'shard-0/runs'))).length > 0);
  await publisher.leave();
  expect(await broker.stop()).toBe(0);
  await flipRecord(records(), 'group/1/0');
  await broker.start();

  await told('queue', 'seek', 'far', 'default', 'first');
  const again = await QueueUser.connect(broker.port, 'again');
  await again.consume('$queue/far');
  const wanted = [...kept, ...texts.slice(200)];
  const came = await again.settleNext(wanted.length);
  expect(came).toEqual(wanted);
  await until(async () => (await told('queue', 'show', 'far'))[0]?.['depth'] === 0);
  expect(await told('queue', 'show', 'far')).toMatchObject([{ damaged: [], held_by: null }]);
  await again.leave();
  await broker.remove();
  broker = sound;
});
