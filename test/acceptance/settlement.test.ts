/**
 * What becomes of a delivered message over MQTT, against a real broker: Q1-Q4, Q14, Q15, Q21, Q22.
 */

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { queueBrokers, QueueUser, type QueueBroker } from '../support/queue-user.ts';

let broker: QueueBroker;
let producer: QueueUser;

beforeAll(async () => {
  const retry = { min: '200ms', max: '400ms', jitter: 0 };
  broker = await queueBrokers.with('settlement', [
    { name: 'q1' },
    { name: 'q2', retry },
    { name: 'q3', visibility_timeout: '300ms' },
    { name: 'q4', visibility_timeout: '300ms', delivery_limit: 3, retry },
    { name: 'q14' },
    { name: 'q15', retry },
    { name: 'q21' },
    { name: 'q22', visibility_timeout: '200ms' },
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

describe('settlement over MQTT', () => {
  test('Q1: three delivered, the first settled, the consumer dies: the others come again', async () => {
    await publishAll('q1', ['a', 'b', 'c']);
    const first = await QueueUser.connect(broker.port, 'first');
    await first.consume('$queue/q1');
    const [a] = [await first.take(), await first.take(), await first.take()];
    a.answer(0);
    await first.ping();
    await first.die();
    const second = await QueueUser.connect(broker.port, 'second');
    await second.consume('$queue/q1');
    await publishAll('q1', ['d']);
    const texts = await second.settleNext(3);
    expect(texts.toSorted()).toEqual(['b', 'c', 'd']);
    expect(second.untaken).toBe(0);
    await second.leave();
  });

  test('Q2: a message that is handed back comes again after its backoff, count + 1', async () => {
    const member = await QueueUser.connect(broker.port, 'member');
    await member.consume('$queue/q2');
    await publishAll('q2', ['again']);
    const before = await member.take();
    expect(before.user['delivery-count']).toBe('1');
    const handedBack = performance.now();
    before.answer(0x80);
    const after = await member.take();
    expect(after.text).toBe('again');
    expect(after.user['delivery-count']).toBe('2');
    expect(performance.now() - handedBack).toBeGreaterThanOrEqual(199);
    after.answer(0);
    await member.leave();
  });

  test('Q3: a lone consumer gets its own timed-out message again', async () => {
    const lone = await QueueUser.connect(broker.port, 'lone');
    await lone.consume('$queue/q3', { manual: true });
    await publishAll('q3', ['slow']);
    const once = await lone.take();
    once.answer(0);
    const again = await lone.take();
    expect(again.text).toBe('slow');
    expect(again.user['delivery-count']).toBe('2');
    await lone.settle('ack', again);
    await lone.leave();
  });

  test('Q4: two that never settle: attempts are a timeout apart, then it is a dead letter', async () => {
    const members = [
      await QueueUser.connect(broker.port, 'never-1'),
      await QueueUser.connect(broker.port, 'never-2'),
    ];
    const times: number[] = [];
    const counts: string[] = [];
    for (const member of members) {
      await member.consume('$queue/q4', { manual: true });
      void (async () => {
        for (;;) {
          const taken = await member.take();
          times.push(performance.now());
          counts.push(taken.user['delivery-count'] ?? '');
          taken.answer(0);
        }
      })();
    }
    const published = performance.now();
    await publishAll('q4', ['poison']);
    const undertaker = await QueueUser.connect(broker.port, 'undertaker');
    await untilGranted(undertaker, '$queue/$dlq/q4');
    const dead = await undertaker.take();
    expect(dead.text).toBe('poison');
    expect(dead.user['_flux.dlq-reason']).toBe('delivery-limit');
    expect(dead.user['_flux.dlq-attempts']).toBe('3');
    expect(counts).toEqual(['1', '2', '3']);
    // From the publish on: how long each was on its way says nothing of when it was sent.
    for (const [timeouts, time] of times.entries()) {
      expect(time - published).toBeGreaterThanOrEqual(timeouts * 300 - 1);
    }
    dead.answer(0);
    await Promise.all([...members, undertaker].map((each) => each.leave()));
  });

  test('Q14: 3.1.1 settles by PUBACK; QoS 0 on a classic queue is refused', async () => {
    const old = await QueueUser.connect(broker.port, 'old', 4);
    await expect(old.consume('$queue/q14', { qos: 0 })).rejects.toThrow();
    await old.consume('$queue/q14');
    await publishAll('q14', ['one', 'two']);
    expect(await old.settleNext(2)).toEqual(['one', 'two']);
    await old.ping();
    await old.die();
    const next = await QueueUser.connect(broker.port, 'next');
    await next.consume('$queue/q14');
    await publishAll('q14', ['three']);
    expect(await next.settleNext(1)).toEqual(['three']);
    await next.leave();
  });

  test('Q15: with manual settlement PUBACK does not settle, and a later nack works', async () => {
    const hand = await QueueUser.connect(broker.port, 'hand');
    await hand.consume('$queue/q15', { manual: true });
    await publishAll('q15', ['by hand']);
    const first = await hand.take();
    first.answer(0);
    await hand.settle('nack', first);
    const second = await hand.take();
    expect(second.text).toBe('by hand');
    expect(second.user['delivery-count']).toBe('2');
    second.answer(0);
    await hand.settle('ack', second);
    // An old delivery cannot hand back what is settled.
    await expect(hand.settle('nack', first)).rejects.toThrow();
    await hand.leave();
  });

  test('Q21: three idle consumers get the messages in turn', async () => {
    const members = await Promise.all(
      ['a', 'b', 'c'].map((name) => QueueUser.connect(broker.port, `turn-${name}`)),
    );
    for (const member of members) await member.consume('$queue/q21');
    await publishAll(
      'q21',
      Array.from({ length: 9 }, (_, i) => String(i)),
    );
    const shares = await Promise.all(members.map((member) => member.settleNext(3)));
    expect(shares.flat().toSorted()).toEqual(['0', '1', '2', '3', '4', '5', '6', '7', '8']);
    await Promise.all(members.map((member) => member.leave()));
  });

  test('Q22: a consumer that is idle longer than the visibility timeout still gets messages', async () => {
    const idle = await QueueUser.connect(broker.port, 'idle');
    await idle.consume('$queue/q22');
    // Its first message times out; so the timeout has passed when the second one goes out.
    await publishAll('q22', ['first']);
    await idle.take();
    const again = await idle.take();
    again.answer(0);
    await publishAll('q22', ['second']);
    const second = await idle.take();
    expect(second.text).toBe('second');
    second.answer(0);
    await idle.leave();
  });
});

/** The dead-letter queue is made when the first message needs it. */
async function untilGranted(user: QueueUser, topic: string): Promise<void> {
  for (;;) {
    const granted = await user.consume(topic).then(
      () => true,
      () => false,
    );
    if (granted) return;
    await new Promise((resolve) => {
      setTimeout(resolve, 20);
    });
  }
}
