/**
 * What a queue keeps and refuses, against a real broker: Q7, Q8, Q16, Q17, producers, delay.
 */

import { readdir } from 'node:fs/promises';
import { dirname } from 'node:path';
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
  broker = await queueBrokers.with('limits', [
    { name: 'plain' },
    { name: 'kept', type: 'stream', retention: { messages: 1000 } },
    { name: 'ttl', message_ttl: '300ms' },
    { name: 'ttl-stream', type: 'stream' },
    { name: 'head', max_length: { messages: 3, overflow: 'drop-head' } },
    { name: 'full', max_length: { messages: 3, overflow: 'reject-publish' } },
    { name: 'bytes', max_length: { bytes: '4KiB', overflow: 'reject-publish' } },
    { name: 'single', single_active_consumer: true },
    { name: 'urgent', max_priority: 9 },
    { name: 'numbered', max_producers: 1 },
    { name: 'later' },
  ]);
  producer = await QueueUser.connect(broker.port, 'producer');
});

afterAll(async () => {
  await producer.leave();
  await broker.remove();
});

async function publishAll(queue: string, texts: readonly string[]): Promise<void> {
  for (const text of texts) await producer.publish(`$queue/${queue}`, text);
}

async function consumer(id: string, topic: string, offset?: string): Promise<QueueUser> {
  const user = await QueueUser.connect(broker.port, id);
  await user.consume(topic, offset === undefined ? {} : { offset, group: id });
  return user;
}

test('Q7: a queue without limits keeps what nobody consumes; a bound removes only what it says', async () => {
  await publishAll('plain', ['kept for ever']);
  const texts = Array.from({ length: 2_000 }, (_, i) => `m${i}`);
  await producer.publishMany('$queue/kept', texts);
  const { start, next } = await queueShown(broker, 'kept');
  expect(next).toBe(2_000);
  expect(next - start).toBeGreaterThanOrEqual(1_000);
  expect(next - start).toBeLessThanOrEqual(1_256);
  expect(await queueShown(broker, 'plain')).toMatchObject({ start: 0, depth: 1 });
});

test('Q8: an expired message is never delivered and never pending, in any type', async () => {
  await publishAll('ttl', ['stale']);
  await producer.publish('$queue/plain', 'stale by itself', { expiry: 1 });
  await producer.publish('$queue/ttl-stream', 'stale', { expiry: 1 });
  await until(async () => (await queueShown(broker, 'ttl')).depth === 0);
  // Its expiry was as long as that of the one in the stream.
  await until(async () => (await queueShown(broker, 'plain')).depth === 1);
  await publishAll('ttl', ['fresh']);
  await publishAll('ttl-stream', ['fresh']);
  const classic = await consumer('ttl-1', '$queue/ttl');
  const stream = await consumer('ttl-2', '$queue/ttl-stream', 'first');
  expect((await classic.take()).text).toBe('fresh');
  expect((await stream.take()).text).toBe('fresh');
  await Promise.all([classic.leave(), stream.leave()]);
});

test('Q17: drop-head keeps the newest, reject-publish the oldest', async () => {
  await publishAll('head', ['1', '2', '3', '4', '5']);
  const head = await consumer('head', '$queue/head');
  expect(await head.settleNext(3)).toEqual(['3', '4', '5']);
  await publishAll('full', ['1', '2', '3']);
  await expect(producer.publish('$queue/full', '4')).rejects.toThrow();
  const full = await consumer('full', '$queue/full');
  expect(await full.settleNext(3)).toEqual(['1', '2', '3']);
  await until(async () => (await queueShown(broker, 'full')).depth === 0);
  await publishAll('full', ['5']);
  expect(await full.settleNext(1)).toEqual(['5']);
  await Promise.all([head.leave(), full.leave()]);
});

test('Q17: a bound in bytes', async () => {
  const kilobyte = 'x'.repeat(1_000);
  await publishAll('bytes', [kilobyte, kilobyte, kilobyte]);
  await expect(producer.publish('$queue/bytes', 'x'.repeat(2_000))).rejects.toThrow();
  const user = await consumer('bytes', '$queue/bytes');
  await user.settleNext(3);
  await until(async () => (await queueShown(broker, 'bytes')).depth === 0);
  await publishAll('bytes', ['x'.repeat(2_000)]);
  await user.leave();
});

test('a single active consumer gets everything; the next one when it is gone', async () => {
  const active = await consumer('active', '$queue/single');
  const standby = await consumer('standby', '$queue/single');
  await publishAll('single', ['1', '2', '3', '4']);
  expect(await active.settleNext(4)).toEqual(['1', '2', '3', '4']);
  await active.leave();
  await publishAll('single', ['5']);
  expect(await standby.settleNext(1)).toEqual(['5']);
  await standby.leave();
});

test('higher priorities go first, first in first out within a level, also after a restart', async () => {
  const send = (text: string, priority: number): Promise<void> =>
    producer.publish('$queue/urgent', text, { user: { 'x-priority': String(priority) } });
  await send('low 1', 0);
  await send('high 1', 9);
  await send('mid', 5);
  await send('low 2', 0);
  await send('high 2', 9);
  await broker.kill();
  await broker.start();
  producer = await QueueUser.connect(broker.port, 'producer');
  const user = await consumer('urgent', '$queue/urgent');
  expect(await user.settleNext(5)).toEqual(['high 1', 'high 2', 'mid', 'low 1', 'low 2']);
  await user.leave();
});

test('a numbered producer stores each number once; one producer more than the bound is refused', async () => {
  const send = (id: string, sequence: number): Promise<void> =>
    producer.publish('$queue/numbered', `${id} ${sequence}`, {
      user: { 'producer-id': id, 'producer-seq': String(sequence) },
    });
  await send('till', 1);
  await send('till', 2);
  await send('till', 1);
  expect((await queueShown(broker, 'numbered')).next).toBe(2);
  await expect(send('other', 1)).rejects.toThrow();
  await broker.kill();
  await broker.start();
  producer = await QueueUser.connect(broker.port, 'producer');
  await send('till', 2);
  await send('till', 3);
  expect((await queueShown(broker, 'numbered')).next).toBe(3);
});

test('a delayed message reaches its queue not before its time, also over a restart', async () => {
  const sent = performance.now();
  await producer.publish('$queue/later', 'delayed', { user: { 'x-delay': '1500' } });
  await publishAll('later', ['at once']);
  await broker.kill();
  await broker.start();
  producer = await QueueUser.connect(broker.port, 'producer');
  const user = await consumer('later', '$queue/later');
  expect(await user.settleNext(2)).toEqual(['at once', 'delayed']);
  expect(performance.now() - sent).toBeGreaterThanOrEqual(1_499);
  await user.leave();
});

test('Q16: no hostile name reaches the file system, or becomes a queue', async () => {
  const before = await readdir(dirname(broker.dataDirectory));
  for (const name of [
    '..',
    '../../x',
    '',
    '/',
    'a/b',
    '$dlq',
    '$dlq/',
    '$x',
    'a\u0001b',
    'x'.repeat(64_000),
  ]) {
    const declared = await fluxmq(['queue', 'declare', name, '--data', broker.dataDirectory]);
    expect(declared.code, JSON.stringify(name.slice(0, 20))).not.toBe(0);
  }
  expect(await readdir(dirname(broker.dataDirectory))).toEqual(before);
});
