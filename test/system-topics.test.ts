/** What a node tells of itself under `$SYS/broker/...`, and to whom. */

import { afterEach, describe, expect, test } from 'vitest';

import { SystemTopics, type SystemFigures } from '../src/system-topics.ts';
import { Rate } from '../src/system-rate.ts';
import { type Fields, MqttServer, type RawClient, textOf, until } from './support/mqtt-server.ts';

const NONE: SystemFigures = {
  connected: 0,
  sessions: 0,
  received: 0,
  sent: 0,
  dropped: 0,
  subscriptions: 0,
  retained: 0,
};

let server: MqttServer | undefined;
afterEach(async () => {
  await server?.stop();
  server = undefined;
});

async function start(): Promise<MqttServer> {
  server = await new MqttServer().start();
  return server;
}

function systemOf({ broker, clock }: MqttServer, figures: () => SystemFigures): SystemTopics {
  const tell = (topic: string, text: string): void => broker.tell(topic, text);
  const now = (): number => clock.now();
  return new SystemTopics(10_000, { version: '1.2.3', figures, now, tell });
}

/** Topics and texts of what came up to now. */
async function taken(client: RawClient): Promise<Map<string, string>> {
  const told = new Map<string, string>();
  client.send({ cmd: 'pingreq' });
  for (;;) {
    const packet = await client.next();
    if (packet?.cmd !== 'publish') return told;
    told.set(String(packet['topic']).replace('$SYS/broker/', ''), textOf(packet));
  }
}

const KEPT: Fields = { clientId: 'a', clean: false, properties: { sessionExpiryInterval: 100 } };

describe('the topics', () => {
  test('are those that MQTT users know, each with the figure of its name', async () => {
    const here = await start();
    const figures = {
      connected: 2,
      sessions: 5,
      received: 600,
      sent: 1200,
      dropped: 7,
      subscriptions: 4,
      retained: 9,
    };
    const system = systemOf(here, () => figures);
    here.clock.advance(65_500);
    system.tick();
    const client = await here.client();
    await client.subscribe('$SYS/#', 1);
    const told = await taken(client);
    const load = [...told].filter(([topic]) => topic.startsWith('load/'));
    for (const [topic] of load) told.delete(topic);
    expect(Object.fromEntries(told)).toEqual({
      version: 'FluxMQ 1.2.3',
      uptime: '65 seconds',
      'clients/connected': '2',
      'clients/disconnected': '3',
      'clients/total': '5',
      'clients/maximum': '2',
      'messages/received': '600',
      'messages/sent': '1200',
      'messages/dropped': '7',
      'subscriptions/count': '4',
      'retained messages/count': '9',
    });
    expect(load.map(([topic]) => topic)).toEqual(
      ['received', 'sent'].flatMap((way) =>
        ['1min', '5min', '15min'].map((window) => `load/messages/${way}/${window}`),
      ),
    );
  });

  test('the most clients ever connected stay the maximum', async () => {
    const here = await start();
    let connected = 0;
    const system = systemOf(here, () => ({ ...NONE, connected }));
    for (connected of [3, 8, 1]) system.tick();
    const client = await here.client();
    await client.subscribe('$SYS/broker/clients/maximum', 0);
    expect(textOf(await client.expect('publish'))).toBe('8');
  });

  test('an interval of 0 tells nothing', async () => {
    const told: string[] = [];
    const parts = { version: '', figures: () => NONE, now: () => 0 };
    const off = new SystemTopics(0, { ...parts, tell: (topic) => told.push(topic) });
    off.start();
    off.stop();
    expect(told).toEqual([]);
    const on = new SystemTopics(1000, { ...parts, tell: (topic) => told.push(topic) });
    on.start();
    on.stop();
    expect(told).toContain('$SYS/broker/uptime');
  });
});

describe('who is told', () => {
  test('P1: nobody through # and +; who subscribes to $SYS hears what is, with RETAIN, and then what changes', async () => {
    const here = await start();
    let received = 1;
    const system = systemOf(here, () => ({ ...NONE, received }));
    system.tick();
    const wide = await here.client();
    await wide.subscribe('#', 1);
    await wide.subscribe('+/broker/#', 1);
    const client = await here.client();
    await client.subscribe('$SYS/broker/messages/+', 1);
    const first = [];
    for (let at = 0; at < 3; at++) first.push(await client.expect('publish'));
    expect(first.every(({ retain, qos }) => retain === true && qos === 0)).toBe(true);
    await client.quiet();
    received = 2;
    system.tick();
    system.tick();
    const packet = await client.expect('publish');
    expect(packet).toMatchObject({ topic: '$SYS/broker/messages/received', retain: false });
    expect(textOf(packet)).toBe('2');
    await client.quiet();
    await wide.quiet();
  });

  test('a session whose client is away keeps none of it, and no queue takes it', async () => {
    const here = await start();
    here.queues.declare('all', ['$SYS/#', '#']);
    const client = await here.client(KEPT);
    await client.subscribe('$SYS/broker/uptime', 2);
    await client.subscribe('$share/g/$SYS/broker/uptime', 2);
    client.destroy();
    await until(() => here.queues.sessions.left.length === 1);
    const system = systemOf(here, () => NONE);
    for (let at = 0; at < 5; at++) {
      here.clock.advance(10_000);
      system.tick();
    }
    expect(here.listener.sessions.totals).toMatchObject({ bytes: 0, dropped: 0 });
    expect(here.broker.lostByShares).toBe(0);
    expect(here.queues.texts('all')).toEqual([]);
    await (await here.client(KEPT)).quiet();
  });

  test('they count neither as retained messages nor as publishes', async () => {
    const here = await start();
    systemOf(here, () => NONE).tick();
    expect(here.broker.retainedCount).toBe(0);
    expect(here.broker.counters.published).toBe(0);
  });
});

describe('a rate', () => {
  test('comes to what is steady, the shorter window sooner, and fades', () => {
    const rate = new Rate(0);
    let total = 0;
    const averages = (): number[] => [1, 5, 15].map((minutes) => rate.average(minutes * 60_000));
    for (let now = 10_000; now <= 60_000; now += 10_000) rate.add((total += 100), now);
    const [one = 0, five = 0, fifteen = 0] = averages();
    expect(one).toBeGreaterThan(five);
    expect(five).toBeGreaterThan(fifteen);
    expect(one).toBeCloseTo(600 * (1 - Math.exp(-1)), 6);
    for (let now = 70_000; now <= 7_200_000; now += 10_000) rate.add((total += 100), now);
    for (const average of averages()) expect(average).toBeCloseTo(600, 0);
    rate.add(total, 7_320_000);
    expect(rate.average(60_000)).toBeLessThan(100);
  });

  test('is not moved by a clock that stands still', () => {
    const rate = new Rate(5);
    rate.add(100, 5);
    expect(rate.average(60_000)).toBe(0);
  });
});
