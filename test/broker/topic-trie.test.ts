import { fc } from '../support/properties.ts';
import { describe, expect, test } from 'vitest';

import { countLevels, TopicTrie } from '../../src/broker/topic-trie.ts';

/** Section 4.7 of the specification, level by level, as plainly as it can be said. */
function matches(filter: string, topic: string): boolean {
  const pattern = filter.split('/');
  const levels = topic.split('/');
  if (topic.startsWith('$') && (pattern[0] === '#' || pattern[0] === '+')) return false;
  for (const [at, wanted] of pattern.entries()) {
    if (wanted === '#') return true;
    if (at >= levels.length) return false;
    if (wanted !== '+' && wanted !== levels[at]) return false;
  }
  return pattern.length === levels.length || false;
}

/** `a/#` also matches `a`. */
function matchesWithParent(filter: string, topic: string): boolean {
  return matches(filter, topic) || (filter.endsWith('/#') && matches(filter.slice(0, -2), topic));
}

const level = fc.constantFrom('a', 'b', '', '$x', '__proto__');
const topic = fc.array(level, { minLength: 1, maxLength: 5 }).map((levels) => levels.join('/'));
const filter = fc
  .tuple(fc.array(fc.oneof(level, fc.constant('+')), { minLength: 1, maxLength: 5 }), fc.boolean())
  .map(([levels, rest]) => (rest ? [...levels, '#'] : levels).join('/'))
  .chain((made) => fc.constantFrom(made, '#'));

function found(trie: TopicTrie<string>, name: string): string[] {
  const values: string[] = [];
  trie.match(name, values);
  return values.sort();
}

describe('TopicTrie', () => {
  test('finds the filters that section 4.7 says, whatever was added and removed before', () => {
    fc.assert(
      fc.property(fc.array(filter), fc.array(filter), fc.array(topic), (added, removed, topics) => {
        const trie = new TopicTrie<string>();
        const held = new Set<string>();
        for (const one of added) {
          trie.add(one, one);
          held.add(one);
        }
        for (const one of removed) {
          expect(trie.remove(one, one)).toBe(held.delete(one));
        }
        expect(trie.size).toBe(held.size);
        for (const name of topics) {
          const expected = [...held].filter((one) => matchesWithParent(one, name)).sort();
          expect(found(trie, name)).toEqual(expected);
        }
      }),
      { numRuns: 500 },
    );
  });

  test.each([
    ['#', '$SYS/a'],
    ['+/a', '$SYS/a'],
    ['+', '$SYS'],
    ['#', '$queue/orders'],
  ])('P1: %s does not match %s', (one, name) => {
    const trie = new TopicTrie<string>();
    trie.add(one, one);
    trie.add('$SYS/#', 'explicit');
    expect(found(trie, name)).not.toContain(one);
    expect(found(trie, '$SYS/a')).toEqual(['explicit']);
  });

  test('S4: a topic of 65,535 levels costs no stack, and what its filters cost', () => {
    const trie = new TopicTrie<string>();
    const deep = Array.from({ length: 65_535 }, () => '').join('/');
    trie.add(deep, 'deep');
    trie.add('#', 'all');
    expect(found(trie, deep)).toEqual(['all', 'deep']);
    expect(trie.remove(deep, 'deep')).toBe(true);
    expect(trie.size).toBe(1);
    expect(countLevels(deep, 128)).toBe(129);
  });

  test('S4: +/+/+/... against a deep tree visits the nodes of its filters, not their combinations', () => {
    const trie = new TopicTrie<number>();
    for (let length = 1; length <= 64; length++) {
      trie.add(Array.from({ length }, () => '+').join('/'), length);
      trie.add(Array.from({ length }, () => 'a').join('/'), -length);
    }
    const values: number[] = [];
    trie.match(Array.from({ length: 64 }, () => 'a').join('/'), values);
    expect(values.sort((a, b) => a - b)).toEqual([-64, 64]);
  });

  test('a level named like a property of objects is a level', () => {
    const trie = new TopicTrie<string>();
    trie.add('__proto__/constructor', 'x');
    expect(found(trie, '__proto__/constructor')).toEqual(['x']);
    expect(found(trie, 'toString/constructor')).toEqual([]);
  });
});
