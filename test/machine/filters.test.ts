import { describe, expect, it } from 'vitest';
import {
  filterMatches,
  filterProblem,
  filterTakes,
  routingKeyAt,
} from '../../src/machine/filters.ts';

describe('a filter inside a queue', () => {
  it('Q10: is refused when it is malformed, and never taken for match-all', () => {
    const malformed = ['#/x', 'a+', '+a', '+#', '#+', 'a#', 'a/#/b', 'a/b+/c', '##', '++', '/a#'];
    for (const filter of [...malformed, 'a\0', '\ud800', 'x'.repeat(65_536)]) {
      expect([filter, filterProblem(filter)]).not.toEqual([filter, undefined]);
    }
    for (const filter of ['', '#', '+', 'a', '/', '/#', 'a/#', '+/+/#', 'a/+/b', '//', 'ä/+']) {
      expect([filter, filterProblem(filter)]).toEqual([filter, undefined]);
    }
  });

  it('matches level by level [MQTT-4.7.1]', () => {
    const rows: [filter: string, key: string, matches: boolean][] = [
      ['', 'a/b', true],
      ['#', 'a/b', true],
      ['#', '$x', true],
      ['+', '$x', true],
      ['a', 'a', true],
      ['a', 'b', false],
      ['a', 'ab', false],
      ['ab', 'a', false],
      ['a', 'a/b', false],
      ['a/b', 'a', false],
      ['a/', 'a/', true],
      ['a', 'a/', false],
      ['a/', 'a', false],
      ['a/+', 'a/', true],
      ['a/+', 'a', false],
      ['a/+', 'a/b', true],
      ['a/+', 'a/b/c', false],
      ['+/b', 'a/b', true],
      ['+/b', 'a/c', false],
      ['+', 'a/b', false],
      ['+/+', '/x', true],
      ['/+', '/x', true],
      ['+', '/x', false],
      ['a/#', 'a', true],
      ['a/#', 'a/', true],
      ['a/#', 'a/b/c', true],
      ['a/#', 'ab', false],
      ['ab/#', 'a', false],
      ['+/#', 'a', true],
      ['a/+/#', 'a', false],
      ['a/+/#', 'a/b', true],
      ['a/+/c', 'a/b/c', true],
      ['a/+/c', 'a/b/d', false],
    ];
    for (const [filter, key, matches] of rows) {
      expect([filter, key, filterMatches(filter, key, 0)]).toEqual([filter, key, matches]);
      expect([filter, key, filterMatches(filter, `xy/${key}`, 3)]).toEqual([filter, key, matches]);
    }
  });

  it('S4: tens of thousands of levels are compared in one pass', () => {
    const deep = '/'.repeat(65_000);
    const plus = `${'+/'.repeat(32_000)}x`;
    const before = performance.now();
    expect(filterMatches(plus, deep, 0)).toBe(false);
    expect(filterMatches(deep, deep, 0)).toBe(true);
    expect(filterMatches('#', deep, 0)).toBe(true);
    expect(performance.now() - before).toBeLessThan(1_000);
  });
});

describe('the routing key', () => {
  it('is what follows the name of the queue; of a captured topic, all of it', () => {
    const key = (topic: string, name: string) => topic.slice(routingKeyAt(topic, name));
    expect(key('$queue/orders/eu/1', 'orders')).toBe('eu/1');
    expect(key('$queue/orders', 'orders')).toBe('');
    expect(key('$queue/orders/', 'orders')).toBe('');
    expect(key('$queue/ordersx/eu', 'orders')).toBe('$queue/ordersx/eu');
    expect(key('$queue/order', 'orders')).toBe('$queue/order');
    expect(key('$queue/$dlq/orders/eu', '$dlq/orders')).toBe('eu');
    expect(key('m/eu/1', 'orders')).toBe('m/eu/1');
  });

  it('that is empty is taken by those that take all, and by nobody else', () => {
    const takes = (filter: string) => filterTakes(filter, 'orders', '$queue/orders');
    expect(['', '#', '+', '+/#', 'orders', '/'].map(takes)).toEqual([
      true,
      true,
      false,
      false,
      false,
      false,
    ]);
  });
});
