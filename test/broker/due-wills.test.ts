/** Wills that the log has, on their way to whoever wants them. */

import { expect, test } from 'vitest';
import { DueWills, type DueWillsParts } from '../../src/broker/due-wills.ts';
import type { Publisher, PublishRefusal } from '../../src/broker/ports.ts';

const origin = { clientId: 'gone', protocol: 'mqtt' } as const;
const message = {
  topic: 'w',
  payload: Buffer.from('x'),
  qos: 1,
  retain: false,
  properties: undefined,
} as const;
const will = { origin, message, keySession: 'will/7/3' };

function setup(set: Partial<DueWillsParts> & { outcome?: PublishRefusal | number } = {}) {
  const seen: Publisher[] = [];
  let lost = 0;
  const wills = new DueWills({
    access: undefined,
    publish: (_message, publisher, tag) => {
      seen.push(publisher);
      queueMicrotask(() => publisher.waiter?.enqueued(tag, (set.outcome ?? 1) as never));
      return 'waiting';
    },
    lost: () => lost++,
    ...set,
  });
  return { wills, seen, lost: () => lost };
}

test('is published with its key, and done when the log has it', async () => {
  const { wills, seen } = setup();
  expect(await wills.publish(will)).toBe(true);
  const key = { session: 'will/7/3', ownerEpoch: 1, packetId: 1 };
  expect(seen).toMatchObject([{ origin, subscriber: undefined, key }]);
  expect(await setup({ publish: () => 0 as never }).wills.publish(will)).toBe(true);
});

test.each([
  ['timeout', false, 0],
  ['unavailable', false, 0],
  ['not-leader', false, 0],
  ['disk-full', false, 0],
  ['queue-full', true, 1],
  ['no-queue', true, 1],
  ['topic-reserved', true, 1],
] as const)('where it is refused as %s: done %s', async (outcome, isDone, count) => {
  const late = setup({ outcome });
  expect([await late.wills.publish(will), late.lost()]).toEqual([isDone, count]);
  const now = setup({ publish: () => outcome });
  expect([await now.wills.publish(will), now.lost()]).toEqual([isDone, count]);
});

test('what its publisher may not do any more is dropped', async () => {
  const access = {
    version: 1,
    mayPublish: () => false,
    mayDeclare: () => true,
    isTakenBack: () => true,
  };
  const { wills, seen } = setup({ access });
  expect(await wills.publish(will)).toBe(true);
  expect(seen).toEqual([]);
});
