/**
 * What operators do, by the command line against a real broker: the life of its socket, and wishes
 * beside what consumers do meanwhile.
 */

import { lstat, mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ExitCode } from '../../src/cli/exit-codes.ts';
import { CommandLine, fluxmq } from '../cli/run-cli.ts';
import { BrokerProcess, scratchDirectory } from '../support/broker-process.ts';
import { QueueUser, brokerWith } from '../support/queue-user.ts';

/** Two full pages of a list, and a third one. */
const MANY = 2_100;

describe('a broker with queues', () => {
  let broker: BrokerProcess;
  let user: QueueUser;

  beforeAll(async () => {
    const many = Array.from({ length: MANY }, (_, at) => ({ name: `q-${at}` }));
    broker = await brokerWith('operators', [{ name: 'work' }, { name: 'held' }, ...many]);
    user = await QueueUser.connect(broker.port, 'user');
  });
  afterAll(async () => {
    await user.leave();
    await broker.remove();
  });

  const command = new CommandLine(() => broker.dataDirectory);

  test('the socket is for its owner only', async () => {
    const socket = await lstat(join(broker.dataDirectory, 'admin.sock'));
    expect(socket.isSocket()).toBe(true);
    expect(socket.mode & 0o777).toBe(0o600);
    expect((await lstat(broker.dataDirectory)).mode & 0o077).toBe(0);
  });

  test('all of many queues are listed, in order, each once', async () => {
    const names = (await command.told('queue', 'list')).map(({ queue }) => queue as string);
    // Beside those of the test: mqtt and work, and the one of retained messages.
    expect(names).toHaveLength(MANY + 4);
    expect(names).toEqual([...new Set(names)].sort());
  });

  test('peek shows what is there, with properties, and consumes nothing', async () => {
    await user.publish('$queue/work/eu', 'one', { user: { color: 'red' } });
    await user.publish('$queue/work/eu', 'two');
    const peeked = await command.told('queue', 'peek', 'work');
    expect(peeked.map(({ offset, payload }) => [offset, payload])).toEqual([
      [0, 'one'],
      [1, 'two'],
    ]);
    expect(peeked[0]).toMatchObject({
      topic: '$queue/work/eu',
      client_id: 'user',
      properties: { user_properties: [['color', 'red']] },
    });
    expect(await command.told('queue', 'show', 'work')).toMatchObject([
      { depth: 2, start: 0, next: 2 },
    ]);
  });

  test('Q25: a queue that was deleted and declared again is a new one, empty', async () => {
    const [before] = await command.told('queue', 'show', 'work');
    expect((await command.run('queue', 'delete', 'work', '--yes')).code).toBe(ExitCode.ok);
    expect((await command.run('queue', 'show', 'work')).code).toBe(ExitCode.refused);
    expect(await command.told('queue', 'declare', 'work')).toEqual([
      { queue: 'work', outcome: 'created' },
    ]);
    const [after] = await command.told('queue', 'show', 'work');
    expect(after?.['depth']).toBe(0);
    expect(after?.['queue_id']).not.toBe(before?.['queue_id']);
  });

  test('a purge leaves what a consumer holds, and he can still settle it', async () => {
    const consumer = await QueueUser.connect(broker.port, 'holder');
    await consumer.consume('$queue/held', { manual: true });
    await user.publish('$queue/held', 'held');
    const taken = await consumer.take();
    taken.answer(0);
    await consumer.ping();
    const groups = await command.told('group', 'list', 'held');
    expect(groups).toMatchObject([{ delivered: 1, consumers: 1, depth: 1 }]);
    expect((await command.told('queue', 'purge', 'held', '--yes'))[0]?.['purged']).toBe(0);
    await consumer.settle('ack', taken);
    expect(await command.told('queue', 'show', 'held')).toMatchObject([{ depth: 0 }]);
    await consumer.leave();
  });

  test('another type than it has is refused; other limits are its new ones', async () => {
    expect((await command.run('queue', 'declare', 'work', '--type', 'stream')).code).toBe(
      ExitCode.refused,
    );
    expect(await command.told('queue', 'declare', 'work', '--max-messages', '7')).toMatchObject([
      { outcome: 'updated' },
    ]);
    const [shown] = await command.told('queue', 'show', 'work');
    expect(shown).toMatchObject({ type: 'classic', limits: { max_messages: 7 } });
  });

  test('seek: forward in a classic queue, not back', async () => {
    for (const text of ['a', 'b', 'c']) await user.publish('$queue/work', text);
    const forward = await command.told('queue', 'seek', 'work', 'default', '2');
    expect(forward).toEqual([{ queue: 'work', group: 'default', floor: 2 }]);
    const back = await command.run('queue', 'seek', 'work', 'default', 'first');
    expect(back.code).toBe(ExitCode.refused);
    const unknown = await command.run('queue', 'seek', 'work', 'nobody', 'first');
    expect([unknown.code, unknown.stdout]).toEqual([ExitCode.refused, '']);
  });

  test.each([
    '',
    '..',
    '../../x',
    'a/b',
    '/',
    '#',
    '+',
    '$dlq',
    '$dlq/',
    'a\nb',
    'x'.repeat(65_536),
  ])('Q16: the name %j makes no queue', async (name) => {
    const { code, stderr } = await command.run('queue', 'declare', '--', name);
    expect(code, stderr).toBe(ExitCode.usage);
    expect(stderr.length).toBeLessThan(1_000);
  });

  test('the socket of a killed broker is replaced by the next one, and goes with a stop', async () => {
    await user.die();
    await broker.kill();
    expect((await command.run('queue', 'list')).code).toBe(ExitCode.connection);
    await broker.start();
    expect(await command.told('queue', 'show', 'work')).toMatchObject([{ next: 3 }]);
    expect(await broker.stop()).toBe(0);
    const left = await readdir(broker.dataDirectory);
    expect(left.filter((name) => name.startsWith('.adm') || name.endsWith('.sock'))).toEqual([]);
    await broker.start();
    user = await QueueUser.connect(broker.port, 'user');
  });
});

describe('where the socket is', () => {
  let folder = '';

  beforeAll(async () => {
    folder = await scratchDirectory('sockets');
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  test('a path that is too long is an error at the start, with the way out; off goes without', async () => {
    const deep = join(folder, 'd'.repeat(100));
    await mkdir(deep);
    const dataDirectory = join(deep, 'data');
    const refused = await BrokerProcess.prepare('long', { dataDirectory });
    expect(await refused.startAndEnd()).toBe(ExitCode.listener);
    expect(refused.output).toContain('the system takes 107');
    expect(refused.output).toContain('set admin.socket to a shorter path');

    const elsewhere = join(folder, 'a.sock');
    const args = ['--set', `admin.socket=${elsewhere}`];
    const moved = await BrokerProcess.started('moved', { dataDirectory, args });
    const list = await fluxmq(['queue', 'list', '--data', dataDirectory, '--socket', elsewhere]);
    expect(list.stdout).toContain('orders');
    await moved.stop();

    const none = await BrokerProcess.started('off', {
      dataDirectory,
      args: ['--set', 'admin.socket=off'],
    });
    expect(await readdir(dataDirectory)).not.toContain('admin.sock');
    await none.kill();
  });

  test('a file that is no socket stops the start, and stays', async () => {
    const dataDirectory = join(folder, 'busy');
    const broker = await BrokerProcess.started('busy', { dataDirectory });
    await broker.stop();
    await mkdir(join(dataDirectory, 'admin.sock'));
    expect(await broker.startAndEnd()).toBe(ExitCode.listener);
    expect(broker.output).toContain('is no socket');
    expect((await lstat(join(dataDirectory, 'admin.sock'))).isDirectory()).toBe(true);
  });
});
