import { setImmediate as turn } from 'node:timers/promises';
import { expect, test } from 'vitest';

import { LivePublication } from '../../src/broker/publication.ts';
import { Retained } from '../../src/broker/retained.ts';
import { RetainedQueue } from '../../src/broker/retained-queue.ts';
import { TestClock } from '../support/mqtt-server.ts';

function publication(topic: string): LivePublication {
  const message = { topic, payload: Buffer.from('x'), qos: 1, retain: true } as const;
  return new LivePublication({ ...message, properties: undefined }, 0, {
    origin: undefined,
    owned: true,
  });
}

test('who waits for what is published is told when it is read, and not after having given up', async () => {
  const clock = new TestClock();
  const queue = new RetainedQueue(new Retained(clock, { maxMessages: 10, maxBytes: 1000 }), clock);
  queue.publish(publication('a'));
  const told: string[] = [];
  const given = new AbortController();
  const wait = (who: string, signal: AbortSignal): void => {
    void queue.whenRead(signal).then(() => told.push(who));
  };
  wait('stays', new AbortController().signal);
  wait('gives up', given.signal);
  given.abort();
  queue.answered('a', 1);
  await turn();
  expect(told).toEqual([]);
  queue.take({ from: 0, next: 0, messages: [], ownUpTo: 1, leads: true });
  await turn();
  expect(told).toEqual(['stays']);
});
