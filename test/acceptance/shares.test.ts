/**
 * Shares of ordinary topics with members in durable sessions, against real brokers that are killed
 * with -9: what was acknowledged is there, and in all there is one copy of each message over all
 * members (MQTT 5.0 section 4.8.2).
 */

import { once } from 'node:events';
import { connect } from 'node:net';
import { afterEach, expect, test, vi } from 'vitest';
import { BrokerCluster } from '../support/broker-cluster.ts';
import { BrokerProcess } from '../support/broker-process.ts';
import { RawClient, textOf } from '../support/mqtt-server.ts';
import { queueShown, until } from '../support/queue-user.ts';

vi.setConfig({ testTimeout: 120_000 });

const SHARE = '$share/workers/jobs/#';
const BURST = 300;
/** Of QoS 2, all at once. */
const EXACT = 120;

type Place = Pick<BrokerProcess, 'port' | 'dataDirectory'>;

let ends: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  await Promise.all(ends.splice(0).map((end) => end()));
  ends = [];
});

async function started(name: string): Promise<BrokerProcess> {
  const broker = await BrokerProcess.started(name, {});
  ends.push(() => broker.remove());
  return broker;
}

async function client({ port }: Place, clientId: string, window = 1000): Promise<RawClient> {
  const socket = connect(port, '127.0.0.1');
  await once(socket, 'connect');
  const made = new RawClient(socket, 5);
  const isDurable = clientId !== '';
  const properties = { sessionExpiryInterval: isDurable ? 3600 : 0, receiveMaximum: window };
  await made.connect({ clientId, clean: !isDurable, properties });
  return made;
}

async function isAsleep(place: Place, clientId: string): Promise<boolean> {
  const { definition } = await queueShown(place, `$session/${clientId}`);
  return definition.topics.includes('$share/asleep');
}

/** They have subscribed, and are gone. */
async function asleep(place: Place, ...clientIds: string[]): Promise<void> {
  for (const clientId of clientIds) {
    const member = await client(place, clientId);
    await member.subscribe(SHARE, 1);
    member.destroy();
    await until(() => isAsleep(place, clientId));
  }
}

/** Publishes numbered texts, each once, and hears which are stored. */
class Publisher {
  readonly acknowledged = new Set<string>();
  readonly #client: RawClient;
  readonly #texts = new Map<unknown, string>();

  private constructor(made: RawClient) {
    this.#client = made;
    void this.#read();
  }

  static async at(place: Place): Promise<Publisher> {
    return new Publisher(await client(place, ''));
  }

  send(first: number, count: number): void {
    for (let at = first; at < first + count; at++) {
      const messageId = at + 1;
      this.#texts.set(messageId, `${at}`);
      this.#client.publish(`jobs/${at % 7}`, `${at}`, { qos: 1, messageId });
    }
  }

  async has(count: number): Promise<void> {
    await until(() => Promise.resolve(this.acknowledged.size >= count));
  }

  async #read(): Promise<void> {
    for (;;) {
      const packet = await this.#client.next();
      if (packet === undefined) return;
      const { cmd, messageId } = packet;
      const text = this.#texts.get(messageId);
      if (cmd !== 'puback' || packet['reasonCode'] !== 0 || text === undefined) continue;
      this.acknowledged.add(text);
    }
  }
}

/**
 * A durable session that publishes at QoS 2, on whichever node, until all of it is completed. On its
 * first connection it hears no PUBREC of a third, and does not release another third.
 */
class ExactPublisher {
  /** By packet id. */
  readonly #texts = new Map<number, string>();
  /** Those whose PUBREC came. */
  readonly #received = new Set<number>();
  #client: RawClient | undefined;

  constructor(count: number) {
    for (let at = 0; at < count; at++) this.#texts.set(at + 1, `${at}`);
  }

  get left(): number {
    return this.#texts.size;
  }

  /** All of it, or what is left of it. */
  async begin(place: Place): Promise<void> {
    const made = await client(place, 'exact publisher');
    const dup = this.#client !== undefined;
    this.#client = made;
    for (const [messageId, text] of this.#texts) {
      if (this.#received.has(messageId)) made.send({ cmd: 'pubrel', messageId });
      else made.publish(`jobs/${text}`, text, { qos: 2, messageId, dup });
    }
    void this.#read(made, dup);
  }

  async #read(from: RawClient, isAgain: boolean): Promise<void> {
    for (let packet = await from.next(); packet !== undefined; packet = await from.next()) {
      const { cmd } = packet;
      const messageId = Number(packet['messageId']);
      expect([cmd, packet['reasonCode'] ?? 0]).toEqual([cmd, 0]);
      if (cmd === 'pubcomp') {
        this.#texts.delete(messageId);
        this.#received.delete(messageId);
      } else if (cmd === 'pubrec' && (isAgain || messageId % 3 !== 0)) {
        this.#received.add(messageId);
        if (isAgain || messageId % 3 === 1) from.send({ cmd: 'pubrel', messageId });
      }
    }
  }
}

/** So many are stored for these members together. */
async function stored(place: Place, names: readonly string[], count: number): Promise<void> {
  await until(async () => {
    let sum = 0;
    for (const name of names) sum += (await queueShown(place, `$session/${name}`)).next;
    return sum === count;
  });
}

/** Acknowledges everything until its session's queue is empty. */
async function drained(place: Place, clientId: string): Promise<readonly string[]> {
  const member = await client(place, clientId);
  expect(member.connack).toMatchObject({ sessionPresent: true });
  const texts: string[] = [];
  const reading = (async (): Promise<void> => {
    for (let got = await member.next(); got !== undefined; got = await member.next()) {
      if (got.cmd !== 'publish') continue;
      texts.push(textOf(got));
      member.send({ cmd: 'puback', messageId: got['messageId'] });
    }
  })();
  await until(async () => (await queueShown(place, `$session/${clientId}`)).depth === 0);
  member.destroy();
  await reading;
  return texts;
}

/** Nobody has anything twice, no two have the same, and all that was acknowledged is there. */
function expectOnce(members: readonly (readonly string[])[], ...publishers: Publisher[]): void {
  const all = members.flat();
  expect(new Set(all).size).toBe(all.length);
  const acknowledged = publishers.flatMap((each) => [...each.acknowledged]);
  const got = new Set(all);
  expect(acknowledged.filter((text) => !got.has(text))).toEqual([]);
}

test('members that are all asleep: a kill loses nothing, and they share the work', async () => {
  const broker = await started('shares-asleep');
  const names = ['a', 'b', 'c'];
  await asleep(broker, ...names);
  const before = await Publisher.at(broker);
  before.send(0, BURST);
  await before.has(BURST / 3);
  await broker.kill();
  await broker.start();
  for (const name of names) expect(await isAsleep(broker, name)).toBe(true);
  const after = await Publisher.at(broker);
  after.send(BURST, BURST / 10);
  await after.has(BURST / 10);
  const got: (readonly string[])[] = [];
  for (const name of names) got.push(await drained(broker, name));
  expectOnce(got, before, after);
  for (const each of got) expect(each.length).toBeGreaterThanOrEqual(BURST / 10);
});

test('the one that is connected has all of it, with what it did not acknowledge', async () => {
  const broker = await started('shares-connected');
  await asleep(broker, 'a', 'b');
  const member = await client(broker, 'c', 8);
  await member.subscribe(SHARE, 1);
  const publisher = await Publisher.at(broker);
  publisher.send(0, BURST);
  await publisher.has(BURST / 3);
  await broker.kill();
  await broker.start();
  const got: (readonly string[])[] = [];
  for (const name of ['c', 'a', 'b']) got.push(await drained(broker, name));
  expectOnce(got, publisher);
  expect(got.map((each) => each.length)).toEqual([got.flat().length, 0, 0]);
});

test('a clean member that goes leaves what it did not acknowledge to those asleep', async () => {
  const broker = await started('shares-clean');
  await asleep(broker, 'a', 'b');
  const clean = await client(broker, '', 8);
  await clean.subscribe(SHARE, 1);
  const publisher = await Publisher.at(broker);
  publisher.send(0, BURST);
  await publisher.has(BURST);
  expect((await queueShown(broker, '$session/a')).next).toBe(0);
  clean.destroy();
  await until(async () => {
    const [a, b] = [await queueShown(broker, '$session/a'), await queueShown(broker, '$session/b')];
    return a.next + b.next === BURST;
  });
  await broker.kill();
  await broker.start();
  expectOnce([await drained(broker, 'a'), await drained(broker, 'b')], publisher);
});

test('on three nodes: published at one, for a member at another, which is killed', async () => {
  const cluster = await BrokerCluster.started('shares', {});
  ends.push(() => cluster.remove());
  const [leader, second, third] = await cluster.leaderFirst();
  await asleep(third, 'a');
  const member = await client(second, 'b', 8);
  await member.subscribe(SHARE, 1);
  const publisher = await Publisher.at(leader);
  publisher.send(0, BURST);
  await publisher.has(BURST / 3);
  await second.kill();
  await publisher.has(BURST);
  const got = [await drained(third, 'b'), await drained(leader, 'a')];
  expectOnce(got, publisher);
  expect(got.map((each) => each.length)).toEqual([BURST, 0]);
});

test('at QoS 2: tried again behind a kill, each goes to one member, once', async () => {
  const broker = await started('shares-exact');
  const names = ['a', 'b', 'c'];
  await asleep(broker, ...names);
  const publisher = new ExactPublisher(EXACT);
  await publisher.begin(broker);
  await stored(broker, names, EXACT);
  await broker.kill();
  await broker.start();
  await asleep(broker, 'later');
  await publisher.begin(broker);
  await until(() => Promise.resolve(publisher.left === 0));
  const got: (readonly string[])[] = [];
  for (const name of [...names, 'later']) got.push(await drained(broker, name));
  expectOnce(got);
  expect(got.flat()).toHaveLength(EXACT);
  for (const each of got.slice(0, 3)) expect(each.length).toBeGreaterThan(0);
});

test('at QoS 2 on three nodes: tried again at another one, when others have joined', async () => {
  const cluster = await BrokerCluster.started('shares-exact', {});
  ends.push(() => cluster.remove());
  const [leader, second, third] = await cluster.leaderFirst();
  await asleep(third, 'a', 'b');
  const connected = await client(second, 'c');
  await connected.subscribe(SHARE, 1);
  const publisher = new ExactPublisher(EXACT);
  await publisher.begin(leader);
  await stored(leader, ['c'], EXACT);
  await leader.kill();
  const joined = await client(third, 'd');
  await joined.subscribe(SHARE, 1);
  await publisher.begin(third);
  await until(() => Promise.resolve(publisher.left === 0));
  for (const each of [connected, joined]) each.destroy();
  const got: (readonly string[])[] = [];
  for (const name of ['a', 'b', 'c', 'd']) got.push(await drained(second, name));
  expectOnce(got);
  expect(got.flat()).toHaveLength(EXACT);
});
