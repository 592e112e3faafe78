/** Dead letters over MQTT and by the command line, against a real broker: Q5, Q6, S9, replay. */

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
  broker = await queueBrokers.with('dead-letters', [
    { name: 'work' },
    { name: '$dlq/work' },
    { name: 'full', dlq: 'tomb' },
    {
      name: 'tomb',
      dlq: 'off',
      max_length: { messages: 1, overflow: 'reject-publish' },
    },
    { name: 'elsewhere' },
  ]);
  producer = await QueueUser.connect(broker.port, 'producer');
});

afterAll(async () => {
  await producer.die();
  await broker.remove();
});

async function rejectOne(queue: string, text: string): Promise<void> {
  const user = await QueueUser.connect(broker.port, `reject-${queue}-${text}`);
  await user.consume(`$queue/${queue}`, { manual: true });
  await producer.publish(`$queue/${queue}/eu`, text, { user: { color: 'red' } });
  const taken = await user.take();
  expect(taken.text).toBe(text);
  taken.answer(0);
  await user.settle('reject', taken);
  await user.leave();
}

test('Q5: a rejected message is in the dead-letter queue with its headers, also after a restart', async () => {
  await rejectOne('work', 'broken');
  await until(async () => (await queueShown(broker, '$dlq/work')).depth === 1);
  await broker.kill();
  await broker.start();
  producer = await QueueUser.connect(broker.port, 'producer');
  const peeked = await fluxmq([
    'queue',
    'peek',
    '$dlq/work',
    '--json',
    '--data',
    broker.dataDirectory,
  ]);
  expect(peeked.stdout).toContain('broken');
  const user = await QueueUser.connect(broker.port, 'undertaker');
  await user.consume('$queue/$dlq/work');
  const dead = await user.take();
  expect(dead.text).toBe('broken');
  expect(dead.topic).toBe('$queue/$dlq/work/eu');
  expect(dead.user).toMatchObject({
    color: 'red',
    '_flux.dlq-reason': 'rejected',
    '_flux.dlq-queue': 'work',
    '_flux.dlq-group': 'default',
    '_flux.dlq-offset': '0',
    '_flux.source-topic': '$queue/work/eu',
  });
  dead.answer(0x80);
  await user.leave();
});

test('dead letters are replayed to their source, each one once', async () => {
  const moved = await fluxmq([
    'queue',
    'move',
    '$dlq/work',
    '--to-source',
    '--data',
    broker.dataDirectory,
  ]);
  expect(moved.code, moved.stderr).toBe(0);
  const user = await QueueUser.connect(broker.port, 'repaired');
  await user.consume('$queue/work');
  expect(await user.settleNext(1)).toEqual(['broken']);
  await until(async () => (await queueShown(broker, '$dlq/work')).depth === 0);
  await producer.publish('$queue/work', 'fresh');
  expect(await user.settleNext(1)).toEqual(['fresh']);
  await user.leave();
});

test('Q6: a full dead-letter queue blocks nobody and doubles nothing', async () => {
  await rejectOne('full', 'one');
  await until(async () => (await queueShown(broker, 'tomb')).depth === 1);
  await rejectOne('full', 'two');
  // The source goes on while the second one waits for room.
  const user = await QueueUser.connect(broker.port, 'goes-on');
  await user.consume('$queue/full');
  await producer.publish('$queue/full', 'three');
  expect(await user.settleNext(1)).toEqual(['three']);
  expect((await queueShown(broker, 'full')).leaving).toBe(1);
  const undertaker = await QueueUser.connect(broker.port, 'undertaker');
  await undertaker.consume('$queue/tomb');
  expect(await undertaker.settleNext(2)).toEqual(['one', 'two']);
  await until(async () => (await queueShown(broker, 'full')).leaving === 0);
  await producer.publish('$queue/tomb', 'last');
  expect(await undertaker.settleNext(1)).toEqual(['last']);
  await Promise.all([user.leave(), undertaker.leave()]);
});

test('S9: a cycle of dead-letter queues is refused at its declaration', async () => {
  const declare = (name: string, dlq: string): ReturnType<typeof fluxmq> =>
    fluxmq(['queue', 'declare', name, '--dlq', dlq, '--data', broker.dataDirectory]);
  expect((await declare('ring-a', 'ring-b')).code).toBe(0);
  const closed = await declare('ring-b', 'ring-a');
  expect(closed.code).not.toBe(0);
  expect(closed.stderr).toContain('dead letters of ring-b would come back');
});
