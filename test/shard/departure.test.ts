import { describe, expect, it } from 'vitest';
import type { Message } from '../../src/broker/message.ts';
import type { Intent } from '../../src/machine/effect.ts';
import type { GroupId, Offset, QueueId, StampMs } from '../../src/machine/ids.ts';
import { HOPS_MAX, departureOf, property } from '../../src/shard/departure.ts';
import type { Departure } from '../../src/shard/departure.ts';

const rejected: Intent = {
  number: 3,
  reason: 'rejected',
  queueId: 5 as QueueId,
  groupId: 1 as GroupId,
  offset: 17 as Offset,
  attempts: 4,
  stamp: 1_700_000_000_000 as StampMs,
  target: { kind: 'name', name: '$dlq/orders' },
  refusals: 0,
  route: undefined,
};
const moved: Intent = { ...rejected, reason: 'moved', target: { kind: 'source' } };
const names = { queue: 'orders', group: 'mail', target: '$dlq/orders' };
const message: Message = {
  topic: '$queue/orders/eu/1',
  payload: new Uint8Array([1, 2]),
  qos: 1,
  retain: false,
  properties: {
    contentType: 'text/plain',
    expirySeconds: 60,
    userProperties: [
      ['a', '1'],
      ['x-priority', '7'],
      ['a', '2'],
    ],
  },
};

function leave(intent: Intent, given: Message, more = names): Departure {
  const stored = { message: given, publishedAtMs: 1_000, nowMs: 21_000 };
  return departureOf(intent, stored, more) ?? expect.fail('it has gone too often');
}

describe('a dead letter', () => {
  it('Q5: tells why, from where and when it was given up, and keeps all else', () => {
    const { message: letter, options } = leave(rejected, message);
    expect(letter.topic).toBe('$queue/$dlq/orders/eu/1');
    expect(letter.payload).toEqual(message.payload);
    expect(letter.properties).toEqual({
      contentType: 'text/plain',
      userProperties: [
        ['a', '1'],
        ['x-priority', '7'],
        ['a', '2'],
        ['_flux.dlq-reason', 'rejected'],
        ['_flux.dlq-queue', 'orders'],
        ['_flux.dlq-group', 'mail'],
        ['_flux.dlq-offset', '17'],
        ['_flux.dlq-attempts', '4'],
        ['_flux.dlq-time', '1700000000000'],
        ['_flux.source-topic', '$queue/orders/eu/1'],
        ['_flux.hops', '1'],
      ],
    });
    expect(options).toMatchObject({ ttlMs: 0, priority: 7, delayMs: 0 });
  });

  it('has the whole topic for its key when an ordinary one brought it in', () => {
    const captured = { ...message, topic: 'm/1' };
    expect(leave(rejected, captured).message.topic).toBe('$queue/$dlq/orders/m/1');
    const bare = { ...message, topic: '$queue/orders' };
    expect(leave(rejected, bare).message.topic).toBe('$queue/$dlq/orders');
    const long = { ...message, topic: `m/${'x'.repeat(65_530)}` };
    expect(leave(rejected, long).message.topic).toBe('$queue/$dlq/orders');
  });

  it('S9: goes from one dead-letter queue to the next a bounded number of times', () => {
    let letter = message;
    for (let hop = 1; hop <= HOPS_MAX; hop++) {
      letter = leave({ ...rejected, reason: 'delivery-limit' }, letter).message;
      expect(property(letter, '_flux.hops')).toBe(String(hop));
    }
    const stored = { message: letter, publishedAtMs: 0, nowMs: 0 };
    expect(departureOf(rejected, stored, names)).toBeUndefined();
    const odd = { ...message, properties: { userProperties: [['_flux.hops', 'x']] as const } };
    expect(departureOf(rejected, { ...stored, message: odd }, names)).toBeUndefined();
    // Every property of a dead letter is there once, however often it went.
    const told = letter.properties?.userProperties?.filter(([name]) => name.startsWith('_flux.'));
    expect(told).toHaveLength(8);
  });
});

describe('a message that is moved', () => {
  it('that goes back to its source is as it was published', () => {
    const { message: letter } = leave(rejected, message);
    const back = { queue: '$dlq/orders', group: 'default', target: 'orders' };
    const { message: again, options } = leave(moved, letter, back);
    const { expirySeconds: _gone, ...others } = message.properties ?? {};
    expect(again).toEqual({ ...message, properties: others });
    expect(options).toMatchObject({ ttlMs: 0, priority: 7 });
  });

  it('that goes elsewhere keeps its key, its history and what is left of its life', () => {
    const { message: letter } = leave(rejected, message);
    const away = { queue: '$dlq/orders', group: 'default', target: 'repair' };
    const to = { kind: 'queues', queueIds: [9 as QueueId] } as const;
    const { message: there } = leave({ ...moved, target: to }, letter, away);
    expect(there.topic).toBe('$queue/repair/eu/1');
    expect(property(there, '_flux.dlq-reason')).toBe('rejected');
    expect(property(there, '_flux.hops')).toBeUndefined();
    const plain = leave({ ...moved, target: to }, message, { ...away, queue: 'orders' });
    expect(plain.options?.ttlMs).toBe(40_000);
    const over = { message, publishedAtMs: 0, nowMs: 100_000 };
    expect(departureOf({ ...moved, target: to }, over, away)?.options?.ttlMs).toBe(1);
  });
});

describe('a message that was delayed', () => {
  it('is as it was published, and its life goes on', () => {
    const { message: there, options } = leave({ ...rejected, reason: 'delayed' }, message);
    expect(there).toBe(message);
    expect(options).toEqual({
      ttlMs: 40_000,
      priority: 7,
      delayMs: 0,
      producer: undefined,
      key: undefined,
    });
  });
});
