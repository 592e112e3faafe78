/** The will of a connection whose session is claimed: what the log is told of it, and when. */

import { afterEach, expect, test } from 'vitest';
import { SessionError } from '../../../src/broker/ports.ts';
import type { AccessRights } from '../../../src/protocol/access.ts';
import {
  type Fields,
  MqttServer,
  type RawClient,
  textOf,
  until,
} from '../../support/mqtt-server.ts';
import { ASKS_NOBODY } from '../../support/rights.ts';

let server: MqttServer;
afterEach(() => server.stop());

const KEPT: Fields = {
  clientId: 'a',
  clean: false,
  properties: { sessionExpiryInterval: 600 },
};

function kept(text: string, set: Fields = {}, delay = 10): Fields {
  const properties = { willDelayInterval: delay };
  const will = { topic: 'w', payload: Buffer.from(text), qos: 1, retain: false, properties };
  return { ...KEPT, will, ...set };
}

async function start(...parts: ConstructorParameters<typeof MqttServer>): Promise<RawClient> {
  server = await new MqttServer(...parts).start();
  const watcher = await server.client({ clientId: 'watcher' });
  await watcher.subscribe('w', 1);
  return watcher;
}

async function got(watcher: RawClient): Promise<string> {
  const packet = await watcher.expect('publish');
  watcher.send({ cmd: 'puback', messageId: packet['messageId'] });
  return textOf(packet);
}

/** All wills that wait are due now; none of them is published but these. */
async function onlyThese(watcher: RawClient, ...texts: string[]): Promise<void> {
  server.queues.sessions.passed(600_000);
  for (const text of texts) expect(await got(watcher)).toBe(text);
  await watcher.quiet();
}

test('is claimed with its session, with its delay and who it is of', async () => {
  await start();
  await server.client(kept('x'));
  const { sessions } = server.queues;
  expect(sessions.claims.map(({ will }) => will)).toMatchObject([
    { delaySeconds: 10, origin: { clientId: 'a', protocol: 'mqtt' }, message: { topic: 'w' } },
  ]);
});

test('of a connection that came and went before it was answered is not published', async () => {
  const watcher = await start();
  const { sessions } = server.queues;
  let open = (): void => {};
  sessions.gate = new Promise((resolve) => {
    open = () => resolve();
  });
  const first = await server.open();
  const connect = { cmd: 'connect', protocolId: 'MQTT', protocolVersion: 5, keepalive: 0 };
  first.send({ ...connect, ...kept('first') });
  await until(() => sessions.claims.length === 1);
  const second = await server.open();
  second.send({ ...connect, ...kept('second') });
  await first.ended();
  open();
  await second.expect('connack');
  await until(() => sessions.left.length === 1);
  expect(sessions.left).toMatchObject([{ isInPeace: true }]);
  second.destroy();
  await until(() => sessions.left.length === 2);
  await onlyThese(watcher, 'second');
});

test('of a session that has to begin anew is that of the new one alone', async () => {
  let isAllowed = true;
  const rights: AccessRights = {
    user: 'ann',
    isRevoked: false,
    hasEnded: false,
    ...ASKS_NOBODY,
    may: (action, topic) => isAllowed || action !== 'subscribe' || topic === 'w',
    allows: (action, topic) => isAllowed || action !== 'subscribe' || topic === 'w',
  };
  const access = {
    version: 1,
    admit: () => ({ rights }),
    exchange: () => undefined,
    onChange: (): void => {},
    mayPublish: () => true,
    isTakenBack: () => false,
    mayDeclare: () => true,
  };
  const watcher = await start({ access });
  const before = await server.client({ ...KEPT });
  await before.subscribe('secret', 1);
  before.destroy();
  const { sessions } = server.queues;
  await until(() => sessions.left.length === 1);
  isAllowed = false;
  const client = await server.client(kept('will'));
  expect(client.connack).toMatchObject({ sessionPresent: false });
  await watcher.quiet();
  client.destroy();
  await until(() => sessions.left.length === 3);
  await onlyThese(watcher, 'will');
});

test('is taken back by DISCONNECT, however long nobody leads; nothing else is said twice', async () => {
  const watcher = await start();
  const { sessions } = server.queues;
  let refused = 0;
  const leave = sessions.leave.bind(sessions);
  sessions.leave = async (handle, leaving) => {
    if (refused++ < 3) throw new SessionError('unavailable', 'nobody leads');
    return leave(handle, leaving);
  };
  const client = await server.client(kept('x'));
  client.send({ cmd: 'disconnect', reasonCode: 0 });
  await client.ended();
  await until(() => sessions.left.length === 1);
  expect(sessions.left).toEqual([{ clientId: 'a', expirySeconds: 600, isInPeace: true }]);
  refused = 0;
  (await server.client(kept('y'))).destroy();
  await until(() => refused === 1);
  await watcher.quiet();
  expect(refused).toBe(1);
});

test('of a session that an operator ends is published by the node of its client', async () => {
  const watcher = await start();
  await server.client(kept('x'));
  server.queues.sessions.end('a');
  expect(await got(watcher)).toBe('x');
  await onlyThese(watcher);
});
