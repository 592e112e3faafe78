import { describe, expect, it } from 'vitest';
import type { Committed, EnqueueRefusal, PublishKey } from '../../src/broker/ports.ts';
import { Joiner } from '../../src/shard/joiner.ts';
import { Witness } from '../support/scripted-shard.ts';

const at = (position: number): Committed => position as Committed;
const key: PublishKey = { session: 's', ownerEpoch: 0, packetId: 1 };

/** What a publish in so many parts is told. */
function told(outcomes: readonly (Committed | EnqueueRefusal)[], isKeyed = false): unknown {
  const joiner = new Joiner(() => undefined);
  const witness = new Witness();
  const place = joiner.begin(witness, 7, { parts: outcomes.length, isKeyed });
  for (const [number, outcome] of outcomes.entries()) {
    expect(witness.told).toEqual([]);
    expect(joiner.size).toBe(1);
    joiner.enqueued(place, outcome);
    if (number === outcomes.length - 1) expect(joiner.size).toBe(0);
  }
  expect(witness.told).toHaveLength(1);
  expect(witness.told[0]?.[0]).toBe(7);
  return witness.told[0]?.[1];
}

describe('a publish to several shards', () => {
  it('is committed when all of them say so, and not before', () => {
    expect(told([at(5), at(9), at(2)])).toEqual(expect.any(Number));
  });

  it('is refused with the first word of refusal, when all of them have spoken', () => {
    expect(told([at(5), 'queue-full', 'no-queue'])).toBe('queue-full');
    expect(told(['no-queue', 'queue-full', at(5)])).toBe('queue-full');
    expect(told(['timeout', 'queue-full'])).toBe('timeout');
  });

  it('is not refused for queues that are gone, unless those of all parts are', () => {
    expect(told(['no-queue', at(5), 'no-queue'])).toBe(5);
    expect(told([at(5), 'no-queue'], true)).toBe(5);
    expect(told(['no-queue', 'no-queue'])).toBe('no-queue');
  });

  it('with a key: is told timeout, upon which the key is released, when a part may be stored', () => {
    expect(told(['queue-full', at(5)], true)).toBe('timeout');
    expect(told([at(5), 'queue-full'], true)).toBe('timeout');
    expect(told(['queue-full', 'timeout'], true)).toBe('timeout');
  });

  it('with a key that is nowhere: keeps the word of the refusal', () => {
    expect(told(['queue-full', 'no-queue'], true)).toBe('queue-full');
  });

  it('uses the places of those that were told again, each for one', () => {
    const joiner = new Joiner(() => undefined);
    const witness = new Witness();
    const begin = (tag: number): number => joiner.begin(witness, tag, { parts: 2, isKeyed: true });
    const [first, second] = [begin(1), begin(2)];
    joiner.enqueued(first, 'queue-full');
    joiner.enqueued(first, at(1));
    const third = begin(3);
    expect(third).toBe(first);
    for (const place of [second, third]) joiner.enqueued(place, at(2));
    joiner.enqueued(third, at(4));
    joiner.enqueued(second, at(3));
    expect(witness.told).toEqual([
      [1, 'timeout'],
      [3, 4],
      [2, 3],
    ]);
  });
});

describe('a release in several shards', () => {
  it('frees the key when all of them have done it, before that is told', () => {
    const freed: PublishKey[] = [];
    const joiner = new Joiner((each) => freed.push(each));
    const witness = new Witness();
    const release = (outcomes: readonly (Committed | EnqueueRefusal)[]): void => {
      const place = joiner.begin(witness, 1, { parts: 2, isKeyed: false, releases: key });
      for (const outcome of outcomes) joiner.enqueued(place, outcome);
    };
    release([at(1), 'timeout']);
    expect(freed).toEqual([]);
    release([at(1), at(2)]);
    expect(freed).toEqual([key]);
    expect(witness.told.map(([, outcome]) => outcome)).toEqual(['timeout', 2]);
  });
});
