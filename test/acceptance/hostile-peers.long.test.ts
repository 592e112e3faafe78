/**
 * Hostile peers of a real broker, all in one run, beside a well-behaved pair that loses nothing and
 * stays connected: P3, P10, S1, S4. The broker is a process of its own, with its default limits but
 * for how many connections it takes and how long a CONNECT may take.
 *
 * Both processes need a file for each connection: where there may be fewer, fewer are idle, and the
 * test says how many.
 */

import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { eventually, HostilePeers } from '../../bench/load/hostile-peers.ts';
import { freePort } from '../../jepsen/cluster/free-port.ts';
import { BrokerProcess } from '../support/broker-process.ts';
import { GoodPair } from '../support/good-pair.ts';

const MIB = 1024 * 1024;
const IDLE = 10_000;
/** Open files for all but the idle ones. */
const OTHER_FILES = 2_500;
const SLOW = 500;
const SLOW_BYTE_MS = 100;
/** Idle clients come on a machine that others use: long enough for a wave of them. */
const CONNECT_TIMEOUT = '10s';

let broker: BrokerProcess;
let hostile: HostilePeers;
const pair = new GoodPair();

beforeAll(async () => {
  const limits = [
    'log.level=error',
    'server.mqtt.tcp.max_connections=13000',
    `server.mqtt.tcp.connect_timeout=${CONNECT_TIMEOUT}`,
  ];
  const args = limits.flatMap((assignment) => ['--set', assignment]);
  broker = await BrokerProcess.started('hostile', { args, opsPort: await freePort() });
  hostile = new HostilePeers(broker.port);
});

afterAll(async () => {
  hostile.leave();
  await pair.end();
  await broker.remove();
});

/** What the process asked the system for, touched or not: RAM alone shows no empty buffer. */
async function askedBytes(): Promise<number> {
  const status = await readFile(`/proc/${broker.pid}/status`, 'utf8');
  const kib = /^VmData:\s+(\d+) kB$/m.exec(status)?.[1];
  if (kib === undefined) throw new Error('the system does not tell what a process asked for');
  return Number(kib) * 1024;
}

async function idleMost(): Promise<number> {
  const limits = await readFile('/proc/self/limits', 'utf8');
  const files = Number(/Max open files\s+(\d+)/.exec(limits)?.[1] ?? 0);
  return Math.max(0, Math.min(IDLE, files - OTHER_FILES));
}

test('a good pair beside all of them loses nothing and stays; memory is bounded; all is given back', async () => {
  await pair.start(broker.port);
  const before = await broker.metric('fluxmq_process_resident_bytes');
  const askedBefore = await askedBytes();
  const idle = await hostile.idle(await idleMost());
  console.log(`${idle.length} idle connections`);
  const isFull = async (): Promise<boolean> =>
    (await broker.metric('fluxmq_limited_total{limit="session-queue"}')) > 0 &&
    (await broker.metric('fluxmq_mqtt_dropped_total{reason="slow"}')) > 0;
  await Promise.all([
    hostile.slowloris(SLOW, SLOW_BYTE_MS),
    hostile.slowButWhole(),
    hostile.deaf('flood', isFull),
    hostile.announcesTooMuch(),
    hostile.announcesAndWaits(500),
    hostile.subscriptions(100, 1_000),
    hostile.wildcardBombs(10),
    hostile.oneName(100),
  ]);
  expect(idle.filter((socket) => socket.destroyed)).toEqual([]);
  const most = await broker.metric('fluxmq_process_resident_bytes');
  const asked = (await askedBytes()) - askedBefore;
  console.log(
    `${Math.round(before / MIB)} MiB before, ${Math.round(most / MIB)} MiB with them; ` +
      `${Math.round(asked / MIB)} MiB more were asked for`,
  );
  expect(most - before).toBeLessThan(500 * MIB);
  // Those who announce 2 MiB and wait would make it a GiB.
  expect(asked).toBeLessThan(700 * MIB);
  expect(await broker.metric('fluxmq_mqtt_connections')).toBeGreaterThan(idle.length + 600);
  // Where the machine is busy, one of those with the same name may be slow as well.
  const slow = await broker.metric('fluxmq_mqtt_turned_away_total{reason="slow"}');
  expect(slow).toBeGreaterThanOrEqual(SLOW);
  expect(await broker.metric('fluxmq_limited_total{limit="packet-size"}')).toBe(2);
  expect(await broker.metric('fluxmq_limited_total{limit="topic-levels"}')).toBe(10 + 10 * 20);
  expect(await broker.metric('fluxmq_subscriptions')).toBe(1 + 3 + 100_000 + 10 * (126 + 512));

  hostile.leave();
  await eventually('the pair is alone', async () => {
    const connections = await broker.metric('fluxmq_mqtt_connections');
    const subscriptions = await broker.metric('fluxmq_subscriptions');
    return connections === 2 && subscriptions === 1;
  });
  expect(await broker.metric('fluxmq_sessions')).toBe(2);
  await pair.finish();
  expect(pair.cut).toBe(0);
  expect(pair.sent).toBeGreaterThan(100);
}, 180_000);
