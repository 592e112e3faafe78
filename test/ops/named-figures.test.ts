/** The number of series is bounded, and nothing is lost from the sums. */

import { fc } from '../support/properties.ts';
import { expect, it } from 'vitest';
import { SEPARATOR } from '../../src/ops/figures.ts';
import { namedFigures } from '../../src/ops/named-figures.ts';

const name = (...parts: string[]): string => parts.join(SEPARATOR);

function values(named: ReturnType<typeof namedFigures>, metric: string): [string, number][] {
  return (named.samples.get(metric) ?? []).map(({ labels, value }) => [
    Object.values(labels).join(' '),
    value,
  ]);
}

const figures = new Map([
  [name('depth', 'a'), 5],
  [name('depth', '$dlq/a'), 50],
  [name('depth', 'idle'), 0],
  [name('leaving', 'a'), 1],
  [name('lag', 'a', 'default'), 5],
  [name('lag', 'a', 'late@eu/#'), 4],
  [name('held', 'a', 'default'), 2],
  [name('members', 'a', 'default'), 1],
  [name('lag', '$dlq/a', 'default'), 50],
  ['log/bytes', 7],
]);

it('queues and groups have the figures under their names, the deepest first', () => {
  const named = namedFigures(figures, { maxQueues: 10, maxGroups: 10 });
  expect(values(named, 'fluxmq_queue_depth_messages')).toEqual([
    ['$dlq/a', 50],
    ['a', 5],
    ['idle', 0],
  ]);
  expect(values(named, 'fluxmq_queue_leaving_messages')).toEqual([['a', 1]]);
  expect(values(named, 'fluxmq_group_lag_messages')).toEqual([
    ['$dlq/a default', 50],
    ['a default', 5],
    ['a late@eu/#', 4],
  ]);
  expect(values(named, 'fluxmq_group_held_messages')).toEqual([['a default', 2]]);
  expect(named).toMatchObject({ otherQueues: 0, otherDepth: 0, otherLag: [] });
});

it('what is above the limits is summed', () => {
  const named = namedFigures(figures, { maxQueues: 2, maxGroups: 1 });
  expect(values(named, 'fluxmq_queue_depth_messages').map(([queue]) => queue)).toEqual([
    '$dlq/a',
    'a',
  ]);
  expect(named.otherQueues).toBe(1);
  expect(values(named, 'fluxmq_group_lag_messages')).toEqual([['$dlq/a default', 50]]);
  expect(named.otherLag).toEqual([{ labels: { queue: 'a' }, value: 9 }]);
});

it('whatever names there are, there are so many series and no more, and the sum is the sum', () => {
  const words = fc.string({ minLength: 1, maxLength: 4 }).filter((word) => !word.includes('\0'));
  const queues = fc.uniqueArray(fc.tuple(words, fc.nat(100)), { selector: ([word]) => word });
  const limits = fc.record({ maxQueues: fc.nat(5), maxGroups: fc.nat(5) });
  fc.assert(
    fc.property(queues, limits, (depths, most) => {
      const all = new Map(
        depths.flatMap(([queue, depth]): [string, number][] => [
          [name('depth', queue), depth],
          [name('lag', queue, 'g'), depth],
          [name('lag', queue, 'h'), 0],
        ]),
      );
      const named = namedFigures(all, most);
      const own = values(named, 'fluxmq_queue_depth_messages');
      expect(own.length).toBeLessThanOrEqual(most.maxQueues);
      expect(values(named, 'fluxmq_group_lag_messages').length).toBeLessThanOrEqual(most.maxGroups);
      expect(named.otherLag.length).toBeLessThanOrEqual(most.maxQueues);
      const sum = own.reduce((total, [, depth]) => total + depth, named.otherDepth);
      expect(sum).toBe(depths.reduce((total, [, depth]) => total + depth, 0));
    }),
  );
});
