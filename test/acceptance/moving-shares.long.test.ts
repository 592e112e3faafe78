/**
 * Members of a share that go from node to node of a cluster whose nodes are killed, while new ones
 * join, and a publisher at QoS 2 that moves as well: each message comes to one of them, once (MQTT
 * 5.0 sections 4.3.3 and 4.8.2).
 */

import { afterAll, beforeAll, expect, test } from 'vitest';
import { Random } from '../../jepsen/random.ts';
import { BrokerCluster } from '../support/broker-cluster.ts';
import { Wanderer, publishAll, receiveAll } from '../support/wanderers.ts';

const ROUNDS = 5;
const MESSAGES_MIN = 100;
const FIRST_MEMBERS = 3;
/** It comes behind everything else. */
const END = 'end';

let cluster: BrokerCluster;

beforeAll(async () => {
  cluster = await BrokerCluster.started('moving-shares', {});
});
afterAll(() => cluster.remove());

class Member {
  readonly who: Wanderer;
  got: Promise<readonly string[]> = Promise.resolve([]);

  constructor(who: Wanderer) {
    this.who = who;
  }

  /** Resolves behind SUBACK. */
  async join(): Promise<void> {
    const filters = [`${END}/${this.who.clientId}`, '$share/workers/work'];
    await new Promise<void>((subscribed) => {
      const isAll = (got: readonly string[]): boolean => got.at(-1) === END;
      this.got = receiveAll(this.who, { isAll, filters, subscribed });
    });
  }
}

/** A member that hears it has had all that was before it. */
async function end(clientId: string, random: (below: number) => number): Promise<void> {
  const who = new Wanderer(`end of ${clientId}`, cluster, random);
  let code: unknown;
  while (code !== 0) {
    const client = await who.connected();
    client.publish(`${END}/${clientId}`, END, { qos: 1, messageId: 1 });
    code = (await client.next())?.['reasonCode'];
    client.destroy();
  }
}

test('each message at one member, once, over kills of nodes, moves and new members', async () => {
  const numbers = new Random(20_261_127);
  const random = (below: number): number => numbers.whole(0, below - 1);
  const members: Member[] = [];
  const join = async (): Promise<void> => {
    const member = new Member(new Wanderer(`member ${members.length}`, cluster, random));
    members.push(member);
    await member.join();
  };
  while (members.length < FIRST_MEMBERS) await join();
  const publisher = new Wanderer('publisher', cluster, random);
  let isOver = false;
  const refused = new Set<number>();
  const published = publishAll(publisher, {
    topic: 'work',
    isEnough: (sent) => isOver && sent >= MESSAGES_MIN,
    refused: (at) => void refused.add(at),
  });
  for (let round = 0; round < ROUNDS; round++) {
    const broker = cluster.brokers[random(cluster.brokers.length)];
    await broker?.kill();
    await broker?.start();
    publisher.client?.destroy();
    await join();
    members[random(members.length)]?.who.client?.destroy();
  }
  isOver = true;
  const count = await published;
  for (const { who } of members) await end(who.clientId, random);
  const got = await Promise.all(members.map((member) => member.got));
  const all = got.flatMap((texts) => texts.slice(0, -1).map(Number));
  expect(new Set(all).size).toBe(count);
  // What was refused may have been stored all the same, and was published anew.
  const twice = all.filter((at, place) => all.indexOf(at) !== place && !refused.has(at));
  expect(twice).toEqual([]);
  // Each member has its own in the order in which they were published.
  for (const texts of got) {
    const own = texts
      .slice(0, -1)
      .map(Number)
      .filter((at) => !refused.has(at));
    expect(own).toEqual(own.toSorted((a, b) => a - b));
  }
});
