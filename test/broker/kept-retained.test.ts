/**
 * Retained messages that are kept in a queue, on several nodes: what is shown, what is settled, and
 * that a node that reads what is left shows the same.
 */

import { expect, it } from 'vitest';
import type { Message } from '../../src/broker/message.ts';
import type { PublishOutcome } from '../../src/broker/ports.ts';
import { fc } from '../support/properties.ts';
import { type RetainedNode, RetainedWorld, shownBy, turns } from '../support/retained-world.ts';

const ORIGIN = { clientId: 'publisher', protocol: 'mqtt' } as const;

class Answers {
  readonly told: unknown[] = [];

  enqueued(_tag: number, outcome: unknown): void {
    this.told.push(typeof outcome === 'string' ? outcome : 'committed');
  }
}

function publish(
  node: RetainedNode,
  topic: string,
  text: string,
  more: { waiter?: Answers; set?: Partial<Message> } = {},
): PublishOutcome {
  const { waiter, set } = more;
  const payload = Buffer.from(text);
  const message = { topic, payload, qos: 1, retain: true, properties: undefined, ...set } as const;
  const publisher = { origin: ORIGIN, subscriber: undefined, waiter, key: undefined };
  return node.broker.publish(message, publisher, waiter === undefined ? undefined : 7);
}

async function world(count: number, limits = {}): Promise<[RetainedWorld, ...RetainedNode[]]> {
  const made = new RetainedWorld(count, limits);
  await made.load();
  return [made, ...made.nodes];
}

it('is shown at once where it was published, and acknowledged when it is committed', async () => {
  const [all, first, second] = (await world(2)) as [RetainedWorld, RetainedNode, RetainedNode];
  const waiter = new Answers();
  expect(publish(first, 'a', 'one', { waiter })).toBe('waiting');
  expect(shownBy(first)).toEqual(new Map([['a', 'one']]));
  expect(waiter.told).toEqual([]);
  first.answer();
  expect(waiter.told).toEqual(['committed']);
  expect(shownBy(second)).toEqual(new Map());
  await all.quiet();
  expect(shownBy(second)).toEqual(new Map([['a', 'one']]));
});

it('what is refused is shown no more, and what was there before it is again', async () => {
  const [all, first] = (await world(1)) as [RetainedWorld, RetainedNode];
  publish(first, 'a', 'one');
  await all.rest();
  const waiter = new Answers();
  publish(first, 'a', 'two', { waiter });
  publish(first, 'b', 'new', { waiter });
  first.answer('disk-full');
  first.answer('disk-full');
  expect(waiter.told).toEqual(['disk-full', 'disk-full']);
  expect(shownBy(first)).toEqual(new Map([['a', 'one']]));
  publish(first, 'a', 'three');
  first.answer('disk-full');
  expect(first.broker.counters.unansweredRefused).toBe(1);
});

it('is not shown as it was before while this node has not read what it published', async () => {
  const [all, first, second] = (await world(2)) as [RetainedWorld, RetainedNode, RetainedNode];
  publish(first, 'a', 'one');
  await all.rest();
  publish(second, 'a', 'other');
  publish(first, 'a', 'two');
  first.answer();
  second.answer();
  // Neither has applied anything of it.
  expect(shownBy(first)).toEqual(new Map([['a', 'two']]));
  expect(shownBy(second)).toEqual(new Map([['a', 'other']]));
  second.apply(1);
  await turns();
  expect(shownBy(second)).toEqual(new Map([['a', 'other']]));
  await all.quiet();
  expect(shownBy(first)).toEqual(new Map([['a', 'other']]));
  expect(shownBy(second)).toEqual(new Map([['a', 'other']]));
});

it('up to now is everything that was acknowledged anywhere', async () => {
  const [, first, second] = (await world(2)) as [RetainedWorld, RetainedNode, RetainedNode];
  for (let at = 0; at < 10; at++) publish(first, `t/${at}`, 'x');
  for (let at = 0; at < 10; at++) first.answer();
  expect(shownBy(second).size).toBe(0);
  await second.broker.retainedUpToNow();
  expect(shownBy(second).size).toBe(10);
  // A single broker waits for nothing.
  second.queues.isShared = false;
  expect(second.broker.retainedUpToNow()).toBeUndefined();
});

it('what is replaced, removed or expired is settled, by the node that leads', async () => {
  const [all, first, second] = (await world(2)) as [RetainedWorld, RetainedNode, RetainedNode];
  publish(second, 'a', 'one');
  publish(second, 'a', 'two');
  publish(second, 'b', 'one');
  publish(second, 'b', '');
  publish(second, 'c', 'one', { set: { properties: { expirySeconds: 10 } } });
  publish(second, 'd', 'stays');
  await all.rest();
  expect(first.keptOffsets).toEqual([1, 4, 5]);
  first.clock.advance(10_000);
  second.clock.advance(10_000);
  await all.rest();
  expect(first.keptOffsets).toEqual([1, 5]);
  expect(first.broker.retainedCount).toBe(2);
  expect(second.broker.retainedCount).toBe(2);
});

it('a node that did not see a removal, as it was settled before, shows nothing of it', async () => {
  const [all, first, second] = (await world(2)) as [RetainedWorld, RetainedNode, RetainedNode];
  publish(first, 'a', 'one');
  publish(first, 'b', 'one');
  await all.rest();
  publish(first, 'a', '');
  first.answer();
  first.apply();
  await turns();
  first.broker.tick();
  await turns();
  first.apply();
  await turns();
  // All at once: the removal is gone by the time that it is looked for.
  second.apply();
  await turns();
  expect(shownBy(second)).toEqual(new Map([['b', 'one']]));
});

it('above a bound nothing is done; what takes the place of another is taken', async () => {
  const [all, first] = (await world(1, { maxRetainedMessages: 2 })) as [
    RetainedWorld,
    RetainedNode,
  ];
  publish(first, 'a', '1');
  publish(first, 'b', '1');
  expect(publish(first, 'c', '1', { waiter: new Answers() })).toBe('retained-full');
  expect(first.sent).toHaveLength(2);
  publish(first, 'b', '2');
  await all.rest();
  expect(publish(first, 'c', '1', { waiter: new Answers() })).toBe('retained-full');
  publish(first, 'a', '');
  expect(publish(first, 'c', '1', { waiter: new Answers() })).toBe('waiting');
  await all.rest();
  expect(shownBy(first)).toEqual(
    new Map([
      ['b', '2'],
      ['c', '1'],
    ]),
  );
});

it('without RETAIN nothing is asked of the log', async () => {
  const [, first] = (await world(1)) as [RetainedWorld, RetainedNode];
  expect(publish(first, 'a', '1', { set: { retain: false } })).toBe(0);
  expect(first.sent).toEqual([]);
});

it('who publishes to a queue too hears when both have it, or the first refusal', async () => {
  const [all, first] = (await world(1)) as [RetainedWorld, RetainedNode];
  first.queues.declare('all', ['a/#']);
  const waiter = new Answers();
  publish(first, 'a/b', '1', { waiter });
  expect(first.sent).toHaveLength(2);
  first.answer();
  expect(waiter.told).toEqual([]);
  first.answer();
  expect(waiter.told).toEqual(['committed']);
  publish(first, 'a/b', '1', { waiter });
  first.answer('queue-full');
  first.answer();
  expect(waiter.told).toEqual(['committed', 'queue-full']);
  await all.rest();
});

const NODES = 3;
const node = fc.nat({ max: NODES - 1 });
const step = fc.oneof(
  { weight: 6, arbitrary: fc.tuple(fc.constant('publish'), node, fc.nat({ max: 3 })) },
  { weight: 2, arbitrary: fc.tuple(fc.constant('remove'), node, fc.nat({ max: 3 })) },
  { weight: 8, arbitrary: fc.tuple(fc.constant('answer'), node, fc.nat({ max: 9 })) },
  { weight: 8, arbitrary: fc.tuple(fc.constant('apply'), node, fc.nat({ max: 4 })) },
  { weight: 3, arbitrary: fc.tuple(fc.constant('tick'), node, fc.constant(0)) },
  { weight: 1, arbitrary: fc.tuple(fc.constant('lead'), node, fc.constant(0)) },
  { weight: 1, arbitrary: fc.tuple(fc.constant('restart'), node, fc.constant(0)) },
);

it('whatever happens, all nodes come to show the newest of each topic, and it alone is kept', async () => {
  const run = fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
    const [all] = await world(NODES);
    let text = 0;
    for (const [what, at, more] of steps) {
      const of = all.nodes[at] as RetainedNode;
      if (what === 'publish') publish(of, `t/${more}`, `m${text++}`);
      else if (what === 'remove') publish(of, `t/${more}`, '');
      else if (what === 'answer') of.answer(more === 0 ? 'timeout' : undefined);
      else if (what === 'apply') of.apply(more);
      else if (what === 'tick') of.broker.tick();
      else if (what === 'lead') {
        of.apply();
        all.leader = of;
      } else await all.restart(at);
      await turns(more % 3);
    }
    await all.rest();
    await all.rest();
    const newest = new Map<string, string>();
    for (const { message } of all.messages) {
      const { topic, payload } = message;
      if (payload.length === 0) newest.delete(topic);
      else newest.set(topic, Buffer.from(payload).toString());
    }
    for (const each of all.nodes) expect(shownBy(each)).toEqual(newest);
    // Before anything more is settled, and after it.
    await all.restart(1);
    expect(shownBy(all.nodes[1] as RetainedNode)).toEqual(newest);
    for (let often = 0; often < 4; often++) {
      all.leader.apply();
      await turns();
      all.leader.broker.tick();
      await turns();
    }
    all.leader.apply();
    expect(all.leader.keptOffsets).toHaveLength(newest.size);
    for (const each of all.nodes) each.die();
  });
  await fc.assert(run, { numRuns: 150 });
});
