/**
 * Retained messages outlive a broker that is killed, and are the same on all nodes of a cluster:
 * brokers as processes, and clients of other people.
 */

import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import mqtt from 'mqtt';
import { afterEach, expect, it, vi } from 'vitest';
import { BrokerCluster } from '../support/broker-cluster.ts';
import { BrokerProcess } from '../support/broker-process.ts';

const run = promisify(execFile);

vi.setConfig({ testTimeout: 180_000 });

let ends: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  await Promise.all(ends.splice(0).map((end) => end()));
  ends = [];
});

type Place = Pick<BrokerProcess, 'port'>;

/** Acknowledged when it resolves; QoS 0: handed over. */
async function retain(
  { port }: Place,
  topic: string,
  text: string,
  more: readonly string[] = [],
): Promise<string> {
  const what = text === '' ? ['-n'] : ['-m', text];
  const args = ['-d', '-V', '5', '-p', String(port), '-r', '-t', topic, ...what];
  const { stdout } = await run('mosquitto_pub', [
    ...args,
    ...(more.length > 0 ? more : ['-q', '1']),
  ]);
  return stdout;
}

/** Retained in each test; not shown. */
const END = 'end';

/** What a SUBSCRIBE to `#` gets: text by topic. */
async function shown({ port }: Place): Promise<Record<string, string>> {
  const client = await mqtt.connectAsync({ port, protocolVersion: 5, reconnectPeriod: 0 });
  const got: Record<string, string> = {};
  let ends = 0;
  const end = new Promise<void>((done) => {
    client.on('message', (topic, payload) => {
      if (topic !== END) got[topic] = payload.toString();
      else if (++ends === 2) done();
    });
  });
  await client.subscribeAsync('#', { qos: 1 });
  // What this one gets comes behind all of the other.
  await client.subscribeAsync(END, { qos: 1 });
  await end;
  await client.endAsync();
  return got;
}

const CHECKPOINTS = [
  ['seldom', []],
  ['often', ['--set', 'shards.checkpoint_interval=1s', '--set', 'shards.checkpoint_bytes=64KiB']],
] as const;

it.each(CHECKPOINTS)(
  'a broker that is killed has them again (checkpoints %s)',
  async (_often, args) => {
    const broker = await BrokerProcess.started('retained', { args });
    ends.push(() => broker.remove());
    await retain(broker, END, 'x');
    await retain(broker, 'a/kept', 'one');
    await retain(broker, 'a/replaced', 'one');
    await retain(broker, 'a/replaced', 'two', ['-q', '2']);
    await retain(broker, 'a/removed', 'one');
    await retain(broker, 'a/removed', '');
    await retain(broker, 'a/brief', 'one', [
      '-q',
      '1',
      '-D',
      'publish',
      'message-expiry-interval',
      '1',
    ]);
    await retain(broker, 'a/long', 'one', [
      '-q',
      '1',
      '-D',
      'publish',
      'message-expiry-interval',
      '999',
    ]);
    for (let at = 0; at < 10; at++) await retain(broker, 'a/often', `nth ${at}`);
    const before = { 'a/kept': 'one', 'a/replaced': 'two', 'a/long': 'one', 'a/often': 'nth 9' };
    await vi.waitFor(async () => expect(await shown(broker)).toEqual(before), { timeout: 20_000 });
    await broker.kill();
    await broker.start();
    expect(await shown(broker)).toEqual(before);
    await retain(broker, 'a/kept', '');
    expect(await broker.stop()).toBe(0);
    await broker.start();
    const { 'a/kept': _gone, ...left } = before;
    expect(await shown(broker)).toEqual(left);
    const what = ['-t', 'a/often', '-C', '1', '-W', '20', '-F', '%r %p'];
    const { stdout } = await run('mosquitto_sub', ['-p', String(broker.port), ...what]);
    expect(stdout).toBe('1 nth 9\n');
  },
);

it('bounds hold over a restart, and what is refused is not there', async () => {
  const args = ['--set', 'retained.max_messages=3'];
  const broker = await BrokerProcess.started('retained-bounds', { args });
  ends.push(() => broker.remove());
  await retain(broker, END, 'x');
  await retain(broker, 'a', '1');
  await retain(broker, 'b', '1');
  await broker.kill();
  await broker.start();
  expect(await retain(broker, 'c', '1')).toContain('RC:151');
  await retain(broker, 'b', '2');
  expect(await shown(broker)).toEqual({ a: '1', b: '2' });
});

it('three nodes show the same, at once, also when the one that led is killed', async () => {
  const cluster = await BrokerCluster.started('retained', {});
  ends.push(() => cluster.remove());
  const [leader, second, third] = await cluster.leaderFirst();
  const wanted: Record<string, string> = {};
  await retain(second, END, 'x');
  for (let round = 0; round < 6; round++) {
    const [from, to] = [
      [leader, second],
      [second, third],
      [third, leader],
    ][round % 3] as [BrokerProcess, BrokerProcess];
    await retain(from, `r/${round % 4}`, `round ${round}`);
    wanted[`r/${round % 4}`] = `round ${round}`;
    expect(await shown(to)).toEqual(wanted);
  }
  await retain(second, 'r/0', '');
  delete wanted['r/0'];
  await leader.kill();
  expect(await shown(third)).toEqual(wanted);
  await retain(third, 'r/1', 'without it');
  wanted['r/1'] = 'without it';
  expect(await shown(second)).toEqual(wanted);
  await leader.start();
  expect(await shown(leader)).toEqual(wanted);
  await Promise.all(cluster.brokers.map((broker) => broker.kill()));
  await Promise.all(cluster.brokers.map((broker) => broker.start()));
  for (const broker of cluster.brokers) expect(await shown(broker)).toEqual(wanted);
});
