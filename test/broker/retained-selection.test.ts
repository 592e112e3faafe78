/** Retained messages in the order of their offsets, while others come, go and are refused. */

import { beforeEach, describe, expect, it } from 'vitest';
import type { RetainedSelection } from '../../src/broker/ports.ts';
import { type RetainedNode, RetainedWorld, turns } from '../support/retained-world.ts';

let world: RetainedWorld;
let node: RetainedNode;

beforeEach(async () => {
  world = new RetainedWorld(2);
  node = world.nodes[0] as RetainedNode;
  await world.load();
});

function publish(topic: string, text: string, at = node, expirySeconds?: number): void {
  const origin = { clientId: 'p', protocol: 'mqtt' } as const;
  const publisher = { origin, subscriber: undefined, waiter: undefined, key: undefined };
  const properties = expirySeconds === undefined ? undefined : { expirySeconds };
  const payload = new TextEncoder().encode(text);
  at.broker.publish({ topic, payload, qos: 1, retain: true, properties }, publisher, undefined);
}

async function retained(topics: readonly string[]): Promise<void> {
  for (const topic of topics) publish(topic, topic);
  await world.rest();
}

function between(filter: string, from = 0, to = world.messages.length): RetainedSelection {
  const { retainedLog } = node.broker;
  if (retainedLog === undefined) throw new Error('in memory alone');
  return retainedLog.between(filter, from, to);
}

/** Texts with their offsets, up to where nothing more is said. */
function all(selection: RetainedSelection): (string | number)[] {
  const seen: (string | number)[] = [];
  for (;;) {
    const found = selection.next(10);
    if (found === 'more') continue;
    if (typeof found === 'string') return [...seen, found];
    seen.push(Buffer.from(found.publication.message.payload).toString(), found.offset);
  }
}

describe('a selection', () => {
  it('has those that match, in the order in which they came, from and to an offset', async () => {
    await retained(['b/1', 'a/1', 'b', 'c/1', 'b/1/2', '$x/1']);
    expect(all(between('b/#'))).toEqual(['b/1', 0, 'b', 2, 'b/1/2', 4, 'done']);
    expect(all(between('+/1'))).toEqual(['b/1', 0, 'a/1', 1, 'c/1', 3, 'done']);
    expect(all(between('#', 1, 3))).toEqual(['a/1', 1, 'b', 2, 'done']);
    expect(all(between('nothing'))).toEqual(['done']);
  });

  it('tells where it goes on', async () => {
    await retained(['a', 'x', 'b', 'y']);
    const selection = between('+');
    const next = () => {
      const found = selection.next(100);
      return typeof found === 'string' ? found : [found.offset, found.next];
    };
    publish('x', '');
    await world.rest();
    expect([next(), next(), next(), next()]).toEqual([[0, 2], [2, 3], [3, 4], 'done']);
  });

  it('has all of more than one batch', async () => {
    const topics = Array.from({ length: 3_000 }, (_none, at) => `t/${at % 7}/${at}`);
    await retained(topics);
    // Those are found again whose place in the tree is not that of their age.
    const again = topics.filter((_topic, at) => at % 3 === 0);
    await retained(again);
    const at = new Map(topics.map((topic, offset) => [topic, offset]));
    for (const [nth, topic] of again.entries()) at.set(topic, topics.length + nth);
    const wanted = [...at].toSorted(([, a], [, b]) => a - b);
    expect(all(between('t/#'))).toEqual([...wanted.flat(), 'done']);
  });

  it('leaves out what was removed, replaced or has expired before it is asked for', async () => {
    publish('brief', 'brief', node, 1);
    await retained(['a', 'b', 'c']);
    const selection = between('#');
    expect(selection.next(0)).toBe('more');
    publish('a', '');
    publish('b', 'newer');
    await world.rest();
    node.clock.advance(2_000);
    expect(all(selection)).toEqual(['c', 3, 'done']);
  });

  it('waits while something newer of a topic is under way, and then leaves the older out', async () => {
    await retained(['a', 'b']);
    const selection = between('#');
    publish('a', 'newer');
    expect(all(selection)).toEqual(['wait']);
    await world.rest();
    expect(all(selection)).toEqual(['b', 1, 'done']);
  });

  it.each(['newer', ''])(
    'has the older one when what was to replace it is refused: "%s"',
    async (text) => {
      await retained(['a', 'b', 'c']);
      publish('a', text);
      publish('c', text);
      const selection = between('#');
      // The walk is over, or in its middle, when it comes back.
      expect(all(selection)).toEqual(['wait']);
      node.answer('disk-full');
      expect(all(selection)).toEqual(['a', 0, 'b', 1, 'wait']);
      node.answer('disk-full');
      expect(all(selection)).toEqual(['c', 2, 'done']);
    },
  );

  it('passes over nothing that comes back behind its walk', async () => {
    const many = Array.from({ length: 100 }, (_none, at) => `b/${at}`);
    await retained(['a/x', 'a/y', ...many]);
    publish('a/x', '');
    const selection = between('#');
    // It is among those of b.
    expect(selection.next(1)).toBe('more');
    node.answer('disk-full');
    expect(all(selection).slice(0, 6)).toEqual(['a/x', 0, 'a/y', 1, 'b/0', 2]);
  });

  it('waits until this node has read so far', async () => {
    publish('a', 'a', world.nodes[1]);
    world.nodes[1]?.answer();
    const selection = between('#');
    expect(all(selection)).toEqual(['wait']);
    await world.rest();
    expect(all(selection)).toEqual(['a', 0, 'done']);
  });
});

describe('the end', () => {
  it('is behind all that was acknowledged anywhere, and all that was published here', async () => {
    await retained(['a']);
    publish('b', 'elsewhere', world.nodes[1]);
    world.nodes[1]?.answer();
    publish('c', 'here');
    const end = node.broker.retainedLog?.end();
    let known: number | undefined;
    void end?.then((at) => (known = at));
    await turns();
    expect(known).toBeUndefined();
    node.answer();
    publish('d', 'behind it');
    await world.quiet();
    expect(await end).toBe(3);
    node.answer();
    await world.quiet();
    expect(await node.broker.retainedLog?.end()).toBe(4);
  });

  it('does not wait for what was refused', async () => {
    publish('a', 'refused');
    const end = node.broker.retainedLog?.end();
    node.answer('disk-full');
    expect(await end).toBe(0);
  });
});

it('is kept until something newer is committed; of what was not read, nothing is known', async () => {
  await retained(['a', 'b']);
  const { retainedLog } = node.broker;
  publish('a', 'newer');
  expect([0, 1, 2, 9].map((at) => retainedLog?.isKept(at))).toEqual([true, true, true, true]);
  await world.rest();
  expect([0, 1, 2, 9].map((at) => retainedLog?.isKept(at))).toEqual([false, true, true, true]);
});
