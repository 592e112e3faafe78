/** SUBSCRIBEs of many filters, each of which takes its time: no turn takes long. */

import { generate, type Packet } from 'mqtt-packet';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';

import type { AccessRights } from '../../../src/protocol/access.ts';
import { Turn } from '../../../src/protocol/mqtt/turn.ts';
import { MqttServer, textOf } from '../../support/mqtt-server.ts';
import { ASKS_NOBODY } from '../../support/rights.ts';

const FILTER_MS = 0.1;
/** Of a turn: until it is long, and the piece that makes it so. */
const GOES_ON = 32;
/** Of each SUBSCRIBE, when it comes. */
const AT_ONCE = 16;
const TURNS_MAX = 10_000;

let server: MqttServer;
let nowMs = 0;

beforeEach(() => {
  vi.spyOn(performance, 'now').mockImplementation(() => nowMs);
});

afterEach(() => {
  vi.restoreAllMocks();
  return server.stop();
});

async function startWith(rights: AccessRights): Promise<void> {
  const access = {
    version: 1,
    admit: () => ({ rights }),
    exchange: () => undefined,
    onChange: (): void => {},
    mayPublish: () => true,
    isTakenBack: () => false,
    mayDeclare: () => true,
  };
  server = await new MqttServer({ access }).start();
}

/** The clock stands still meanwhile, so that turns are counted. */
async function until(holds: () => boolean): Promise<void> {
  for (let turns = 0; !holds(); turns++) {
    if (turns === TURNS_MAX) throw new Error('never came to hold');
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** A turn of the loop each, as often as it is asked for; and the filters of each. */
class Turns {
  #number = 0;
  readonly #filters = new Map<number, number>();
  #timer: NodeJS.Immediate | undefined;

  start(): void {
    this.#timer = setImmediate(() => {
      this.#number++;
      this.start();
    });
  }

  count(): void {
    nowMs += FILTER_MS;
    this.#filters.set(this.#number, (this.#filters.get(this.#number) ?? 0) + 1);
  }

  get most(): number {
    return Math.max(...this.#filters.values());
  }

  stop(): void {
    clearImmediate(this.#timer);
  }
}

describe('a SUBSCRIBE of many filters', () => {
  const subscriptions = Array.from({ length: 1000 }, (_, at) => ({ topic: `a/${at}`, qos: 0 }));

  test('is judged a few a turn, answered once and in order, before what comes behind it', async () => {
    const turns = new Turns();
    const log: string[] = [];
    const may = (action: string, topic: string): boolean => {
      if (action === 'publish') log.push(topic);
      else turns.count();
      if (topic === 'a/999') log.push(topic);
      return topic !== 'a/998';
    };
    const rights = {
      user: 'u',
      isRevoked: false,
      hasEnded: false,
      ...ASKS_NOBODY,
      may,
      allows: () => true,
    };
    await startWith(rights);
    const client = await server.client();
    turns.start();
    const publish = { cmd: 'publish', topic: 'a/1', payload: 'x', qos: 0 };
    const packets = [{ cmd: 'subscribe', messageId: 7, subscriptions }, publish];
    const bytes = packets.map((each) =>
      generate(each as unknown as Packet, { protocolVersion: 5 }),
    );
    client.socket.write(Buffer.concat(bytes));
    const granted = (await client.expect('suback'))['granted'] as number[];
    turns.stop();
    expect(granted).toHaveLength(1000);
    expect(granted.flatMap((code, at) => (code === 0 ? [] : [[at, code]]))).toEqual([[998, 0x87]]);
    expect(turns.most).toBeLessThanOrEqual(AT_ONCE + GOES_ON);
    expect(await client.expect('publish')).toMatchObject({ topic: 'a/1' });
    expect(log).toEqual(['a/999', 'a/1']);
  });

  test('is put in force a few a turn without rules too, however many clients send one', async () => {
    const turns = new Turns();
    server = await new MqttServer().start();
    const clients = await Promise.all(Array.from({ length: 8 }, () => server.client()));
    const { broker } = server;
    const subscribe = broker.subscribe.bind(broker);
    broker.subscribe = (...parts) => {
      turns.count();
      subscribe(...parts);
    };
    turns.start();
    for (const client of clients) client.send({ cmd: 'subscribe', messageId: 7, subscriptions });
    for (const client of clients) {
      const granted = (await client.expect('suback'))['granted'] as number[];
      expect(granted.filter((code) => code === 0)).toHaveLength(1000);
    }
    turns.stop();
    expect(turns.most).toBeLessThanOrEqual(clients.length * AT_ONCE + GOES_ON);
  });

  test('ends a few filters a turn with its session, and brings nothing meanwhile', async () => {
    const turns = new Turns();
    server = await new MqttServer().start();
    const { broker } = server;
    const gone = Array.from({ length: 4 }, async () => {
      const client = await server.client();
      client.send({ cmd: 'subscribe', messageId: 7, subscriptions });
      await client.expect('suback');
      return client;
    });
    const clients = await Promise.all(gone);
    const other = await server.client();
    other.send({ cmd: 'subscribe', messageId: 8, subscriptions: [{ topic: 'a/#', qos: 0 }] });
    await other.expect('suback');
    const unsubscribe = broker.unsubscribe.bind(broker);
    broker.unsubscribe = (...parts) => {
      turns.count();
      return unsubscribe(...parts);
    };
    turns.start();
    for (const client of clients) client.send({ cmd: 'disconnect', reasonCode: 0 });
    await until(() => broker.subscriptionCount < 4_000);
    expect(broker.subscriptionCount).toBeGreaterThan(1);
    other.send({ cmd: 'publish', topic: 'a/999', payload: 'x', qos: 0 });
    expect(await other.expect('publish')).toMatchObject({ topic: 'a/999' });
    await until(() => broker.subscriptionCount === 1);
    turns.stop();
    expect(turns.most).toBeLessThanOrEqual(128);
  });

  test('leaves its shares at once: what comes is for another member', async () => {
    server = await new MqttServer().start();
    vi.spyOn(Turn.prototype, 'goOn').mockReturnValue();
    const shared = { topic: '$share/g/s', qos: 0 };
    const [gone, stays] = await Promise.all([server.client(), server.client()]);
    const many = [...subscriptions.slice(0, AT_ONCE - 1), shared];
    for (let first = 0; first < 80; first += AT_ONCE) {
      const more = subscriptions.slice(first, first + AT_ONCE);
      gone.send({ cmd: 'subscribe', messageId: 1 + first, subscriptions: more });
      await gone.expect('suback');
    }
    gone.send({ cmd: 'subscribe', messageId: 99, subscriptions: many });
    await gone.expect('suback');
    stays.send({ cmd: 'subscribe', messageId: 1, subscriptions: [shared] });
    await stays.expect('suback');
    gone.send({ cmd: 'disconnect', reasonCode: 0 });
    await until(() => server.listener.connectionCount === 1);
    // Its 80 others are still there.
    expect(server.broker.subscriptionCount).toBe(81);
    for (const payload of ['1', '2', '3', '4']) {
      stays.send({ cmd: 'publish', topic: 's', payload, qos: 0 });
      expect(textOf(await stays.expect('publish'))).toBe(payload);
    }
  });

  test('ends in one piece where many others are ending', async () => {
    server = await new MqttServer().start();
    vi.spyOn(Turn.prototype, 'goOn').mockReturnValue();
    const clients = await Promise.all(Array.from({ length: 258 }, () => server.client()));
    for (let first = 0; first < 65; first += AT_ONCE) {
      const some = subscriptions.slice(first, Math.min(first + AT_ONCE, 65));
      for (const each of clients) {
        each.send({ cmd: 'subscribe', messageId: 1 + first, subscriptions: some });
      }
      for (const each of clients) await each.expect('suback');
    }
    for (const each of clients) each.send({ cmd: 'disconnect', reasonCode: 0 });
    await until(() => server.listener.connectionCount === 0);
    expect(server.broker.subscriptionCount).toBe(256 * 65);
  });

  test('is given up when its connection ends', async () => {
    let judged = 0;
    const may = (): boolean => {
      if (++judged === 60) void server.listener.stop();
      return true;
    };
    const rights = {
      user: 'u',
      isRevoked: false,
      hasEnded: false,
      ...ASKS_NOBODY,
      may,
      allows: () => true,
    };
    await startWith(rights);
    const client = await server.client();
    client.send({ cmd: 'subscribe', messageId: 7, subscriptions });
    expect(await client.ended()).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x8b }]);
    expect(judged).toBe(64);
  });
});
