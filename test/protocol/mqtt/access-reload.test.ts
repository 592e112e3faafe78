/** Other rules while clients are connected: what holds for whom, and from when on. */

import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import type { Access } from '../../../src/access/access.ts';
import { AccessFiles, reload } from '../../support/access-files.ts';
import { ANN, BOB, KEPT, leave, OLGA, publish, RULES } from '../../support/access-questions.ts';
import { MqttServer, type ServerPacket, until } from '../../support/mqtt-server.ts';

let files: AccessFiles;
let server: MqttServer;
let access: Access;

beforeEach(async () => {
  files = await AccessFiles.make();
  await files.user('ann', 'tea for two');
  await files.user('bob', 'b');
  await files.user('olga', 'o', 'ops');
  await files.rule(...RULES);
});

afterEach(async () => {
  await server.stop();
  await files.remove();
});

async function start(): Promise<void> {
  access = await files.read();
  server = await new MqttServer({ access }).start();
}

describe('other rules', () => {
  test('hold at once for those who are connected', async () => {
    await start();
    const client = await server.client(ANN);
    expect(await publish(client, 'rooms/1')).toBe(0);
    await files.rule('deny user ann publish rooms/1', ...RULES);
    expect(await reload(access)).toBe(true);
    expect(await publish(client, 'rooms/1')).toBe(0x87);
    expect(await publish(client, 'rooms/2')).toBe(0);
    await files.rule(...RULES);
    await reload(access);
    expect(await publish(client, 'rooms/1')).toBe(0);
  });

  test('end the connection of a user who is gone, or has another password (0x87)', async () => {
    await start();
    const [ann, bob, olga] = [
      await server.client(ANN),
      await server.client(BOB),
      await server.client(OLGA),
    ];
    await files.user('ann', undefined);
    await files.user('bob', 'another');
    await reload(access);
    for (const client of [ann, bob]) {
      expect(await client?.ended()).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x87 }]);
    }
    await olga?.quiet();
  });

  test('end the session whose subscription they do not allow (0x87)', async () => {
    await start();
    const client = await server.client({ ...BOB, clientId: 'c', ...KEPT });
    await client.subscribe('rooms/#', 1);
    await files.rule(...RULES.filter((rule) => !rule.includes('bob')));
    await reload(access);
    expect(await client.ended()).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x87 }]);
    expect(server.listener.sessions.count).toBe(0);
  });

  test('reach who is on his way in while his session is claimed (0x87)', async () => {
    await start();
    const { sessions } = server.queues;
    let open = (): void => {};
    sessions.gate = new Promise((resolve) => {
      open = resolve;
    });
    const client = await server.open();
    const connack = client.connect({ ...BOB, clientId: 'c', ...KEPT });
    await until(() => sessions.claims.length === 1);
    await files.user('bob', 'another');
    await reload(access);
    open();
    expect(await connack).toMatchObject({ reasonCode: 0x87 });
    expect(await client.ended()).toEqual([]);
    await until(() => sessions.left.length === 1);
  });

  test('reach every one of many connections', async () => {
    await start();
    const clients = await Promise.all(Array.from({ length: 600 }, () => server.client(BOB)));
    await files.user('bob', undefined);
    await reload(access);
    await until(() => server.listener.connectionCount === 0);
    expect(clients).toHaveLength(600);
  });

  test('S7: that cannot be used are told, and those before stay', async () => {
    await start();
    const client = await server.client(ANN);
    for (const text of ['', 'allow everybody everything', 'allow * publish']) {
      await files.rule(text);
      expect(await reload(access)).toBe(false);
      expect(await publish(client, 'rooms/1')).toBe(0);
    }
    const errors = files.log.filter(({ level }) => level === 'error');
    expect(errors.map(({ fields }) => fields['setting'])).toEqual(
      Array(3).fill('access.rules_file'),
    );
    expect(errors[1]?.message).toContain(`${files.rules}:1: `);
  });

  test('S6: keep back the retained message and the will of who may not publish them', async () => {
    await start();
    const will = { topic: 'rooms/will', payload: 'x', qos: 1, retain: true };
    const ann = await server.client({ ...ANN, clientId: 'ann', will });
    expect(await publish(ann, 'rooms/ann', { retain: true })).toBe(0);
    const olga = await server.client(OLGA);
    expect(await publish(olga, 'rooms/olga', { retain: true })).toBe(0);
    expect(await retainedTopics()).toEqual(['rooms/ann', 'rooms/olga']);
    await files.user('ann', undefined);
    await reload(access);
    await ann.ended();
    await until(() => server.listener.connectionCount === 1);
    expect(await retainedTopics()).toEqual(['rooms/olga']);
    expect(access.counters.withheld).toBe(2);
    await files.user('ann', 'again');
    await reload(access);
    expect(await retainedTopics()).toEqual(['rooms/ann', 'rooms/olga']);
    await files.rule('deny user ann publish rooms/ann', ...RULES);
    await reload(access);
    expect(await retainedTopics()).toEqual(['rooms/olga']);
  });

  test('S6: take back the will that a certificate was let in with, where no rule allows it any more', async () => {
    access = await files.read({ certificateUsers: true });
    server = await new MqttServer({ access }).start();
    const device = { clientId: 'd', user: 'device-1' };
    await files.rule('allow user device-1 publish rooms/1', ...RULES);
    await reload(access);
    expect(access.isTakenBack(device, 'rooms/1')).toBe(false);
    await files.rule(...RULES);
    await reload(access);
    expect(access.isTakenBack(device, 'rooms/1')).toBe(true);
    await files.user('ann', undefined);
    await reload(access);
    expect(access.isTakenBack({ clientId: 'a', user: undefined }, 'rooms/1')).toBe(true);
  });
});

async function retainedTopics(): Promise<string[]> {
  const reader = await server.client(OLGA);
  await reader.subscribe('rooms/#', 0);
  reader.send({ cmd: 'pingreq' });
  const found: ServerPacket[] = [];
  for (;;) {
    const packet = await reader.next();
    if (packet?.cmd === 'publish') found.push(packet);
    else if (reader.buffered === 0) break;
  }
  await leave(reader);
  return found.map((packet) => String(packet['topic'])).sort();
}
