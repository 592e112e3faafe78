/** Which member of a shared subscription a message goes to (MQTT 5.0 section 4.8.2). */

import { describe, expect, test } from 'vitest';

import { MemoryBroker } from '../../src/broker/broker.ts';
import type { Message } from '../../src/broker/message.ts';
import type { Match, Publication, Subscriber } from '../../src/broker/ports.ts';
import { FakeQueueClient } from '../support/fake-queue-client.ts';
import { TestClock } from '../support/mqtt-server.ts';

const PUBLISHER = {
  origin: { clientId: 'publisher', protocol: 'mqtt' },
  subscriber: undefined,
  waiter: undefined,
  key: undefined,
} as const;

function message(topic: string, set: Partial<Message> = {}): Message {
  return {
    topic,
    payload: Buffer.from(topic),
    qos: 1,
    retain: false,
    properties: undefined,
    ...set,
  };
}

class Member implements Subscriber {
  readonly got: { publication: Publication; match: Match }[] = [];
  waits = 0;
  asked = 0;

  deliver(publication: Publication, match: Match): void {
    publication.keep();
    this.got.push({ publication, match });
  }

  backlog(qos: 0 | 1 | 2): number {
    this.asked++;
    return qos === 0 && this.waits > 0 ? Number.POSITIVE_INFINITY : this.waits;
  }
}

interface World {
  broker: MemoryBroker;
  queues: FakeQueueClient;
  join: (filter: string, qos?: 0 | 1 | 2, share?: string) => Member;
  publish: (what: Message) => void;
}

function setup(): World {
  const queues = new FakeQueueClient('mqtt');
  const broker = new MemoryBroker(queues, new TestClock());
  const join = (filter: string, qos: 0 | 1 | 2 = 1, share = 'g'): Member => {
    const member = new Member();
    subscribe(broker, member, { filter, qos, share });
    return member;
  };
  const publish = (what: Message): void => void broker.publish(what, PUBLISHER, undefined);
  return { broker, queues, join, publish };
}

function subscribe(
  broker: MemoryBroker,
  member: Member,
  { filter, qos, share }: { filter: string; qos: 0 | 1 | 2; share: string | undefined },
): void {
  const options = { qos, noLocal: false, retainAsPublished: false, identifier: 0 };
  broker.subscribe(member, filter, { ...options, share });
}

const counts = (...members: Member[]): number[] => members.map(({ got }) => got.length);

describe('one message of a share', () => {
  test('goes to one member, in turn, wherever the turn began', () => {
    const { join, publish } = setup();
    const members = [join('a/+'), join('a/+'), join('a/+')];
    for (let at = 0; at < 9; at++) publish(message(`a/${at}`));
    expect(counts(...members)).toEqual([3, 3, 3]);
    const topics = members.flatMap(({ got }) => got.map(({ publication }) => publication.message));
    expect(new Set(topics.map(({ topic }) => topic)).size).toBe(9);
  });

  test('goes to each share, and to a subscription of its own, of the same client', () => {
    const { broker, join, publish } = setup();
    const member = join('a', 1, 'one');
    subscribe(broker, member, { filter: 'a', qos: 1, share: 'two' });
    subscribe(broker, member, { filter: '+', qos: 1, share: 'one' });
    subscribe(broker, member, { filter: 'a', qos: 1, share: undefined });
    publish(message('a'));
    expect(member.got).toHaveLength(4);
    expect(broker.subscriptionCount).toBe(4);
  });

  test('passes a busy member over; where all are busy, the least busy one gets it', () => {
    const { join, publish } = setup();
    const [slow, quick, slower] = [join('a'), join('a'), join('a')];
    slow.waits = 5;
    slower.waits = 9;
    for (let at = 0; at < 4; at++) publish(message('a'));
    expect(counts(slow, quick, slower)).toEqual([0, 4, 0]);
    quick.waits = 7;
    publish(message('a'));
    expect(counts(slow, quick, slower)).toEqual([1, 4, 0]);
  });

  test('that all members would drop is lost, and counted; one in a thousand that would not gets it', () => {
    const { broker, join, publish } = setup();
    const members = Array.from({ length: 900 }, () => join('a'));
    for (const member of members) member.waits = Number.POSITIVE_INFINITY;
    publish(message('a'));
    expect(broker.lostByShares).toBe(1);
    const last = members[899];
    if (last === undefined) throw new Error('no member');
    last.waits = 3;
    for (let at = 0; at < 5; at++) publish(message('a'));
    expect(last.got).toHaveLength(5);
    expect(broker.lostByShares).toBe(1);
  });

  test('costs no more with more members', () => {
    const { join, publish } = setup();
    const members = Array.from({ length: 5000 }, () => join('a'));
    for (const member of members) member.waits = 1;
    publish(message('a'));
    const asked = members.reduce((sum, member) => sum + member.asked, 0);
    expect(asked).toBeLessThanOrEqual(32);
    for (const member of members) member.waits = Number.POSITIVE_INFINITY;
    publish(message('a'));
    const again = members.reduce((sum, member) => sum + member.asked, 0);
    expect(again - asked).toBeLessThanOrEqual(1024);
  });
});

describe('what a member did not finish', () => {
  test('goes to another one, when its session has ended; to nobody while there is none', () => {
    const { broker, join, publish } = setup();
    const first = join('a');
    publish(message('a'));
    const [got] = first.got;
    if (got === undefined) throw new Error('nothing was delivered');
    const { publication, match } = got;
    broker.unsubscribe(first, 'a', 'g');
    expect(match.share?.pass(publication)).toBe(false);
    const others = [join('a', 1, 'other'), join('a'), join('a')];
    expect(match.share?.pass(publication)).toBe(true);
    expect(match.share?.pass(publication)).toBe(true);
    expect(counts(...others)).toEqual([0, 1, 1]);
  });
});

test('QoS 0 that nobody is connected for is not counted as lost', () => {
  const { broker, queues, publish } = setup();
  queues.declare('$session/x', ['$share/g/a', '$share/asleep'], { type: 'session' });
  publish(message('a', { qos: 0 }));
  expect(queues.stored('$session/x')).toEqual([]);
  expect(broker.lostByShares).toBe(0);
});

describe('membership', () => {
  test('subscribing again replaces the options, and makes no second member', () => {
    const { broker, join, publish } = setup();
    const [again, other] = [join('a'), join('a')];
    subscribe(broker, again, { filter: 'a', qos: 2, share: 'g' });
    for (let at = 0; at < 4; at++) publish(message('a', { qos: 2 }));
    expect(counts(again, other)).toEqual([2, 2]);
    expect(again.got.map(({ match }) => match.qos)).toEqual([2, 2]);
    expect(broker.subscriptionCount).toBe(2);
  });

  test('a member that left gets nothing; the last one takes the share with it', () => {
    const { broker, join, publish } = setup();
    const members = [join('a/#'), join('a/#'), join('a/#')];
    const [gone] = members;
    if (gone === undefined) throw new Error('no member');
    publish(message('a/b'));
    expect(broker.unsubscribe(gone, 'a/#', 'g')).toBe(true);
    expect(broker.unsubscribe(gone, 'a/#', 'g')).toBe(false);
    expect(broker.unsubscribe(gone, 'a/#')).toBe(false);
    for (let at = 0; at < 4; at++) publish(message('a/b'));
    expect(counts(...members)).toEqual([1, 2, 2]);
    for (const member of members) broker.unsubscribe(member, 'a/#', 'g');
    publish(message('a/b'));
    expect(counts(...members)).toEqual([1, 2, 2]);
    expect(broker.subscriptionCount).toBe(0);
  });
});
