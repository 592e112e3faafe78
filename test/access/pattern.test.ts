/** Patterns against section 4.7 of MQTT 5.0, said as plainly as it can be, topic by topic. */

import { describe, expect, test } from 'vitest';

import {
  type Pattern,
  covers,
  overlaps,
  parsePattern,
  withNames,
} from '../../src/access/pattern.ts';
import { fc } from '../support/properties.ts';

/** `dollars`: wildcards in the first level mean levels that begin with `$` too. */
function means(filter: string, topic: string, dollars: boolean): boolean {
  const pattern = filter.split('/');
  const levels = topic.split('/');
  if (!dollars && topic.startsWith('$') && /^[+#]/.test(filter)) return false;
  for (const [at, wanted] of pattern.entries()) {
    if (wanted === '#') return true;
    if (at >= levels.length || (wanted !== '+' && wanted !== levels[at])) return false;
  }
  return pattern.length === levels.length;
}

/** `a/#` means `a` too. */
function matches(filter: string, topic: string, dollars = false): boolean {
  if (means(filter, topic, dollars)) return true;
  return filter.endsWith('/#') && means(filter.slice(0, -2), topic, dollars);
}

const LEVELS = ['a', 'b', '', '$x'];
const level = fc.constantFrom(...LEVELS);
const filter = fc
  .tuple(fc.array(fc.oneof(level, fc.constant('+')), { maxLength: 3 }), fc.boolean())
  .map(([levels, rest]) => (rest ? [...levels, '#'] : levels).join('/'))
  .filter((made) => made !== '');

/**
 * Every topic that tells filters of up to four levels apart; `z` is in none of them. The empty one,
 * which is no topic, is there because `/#` has it as its parent.
 */
const TOPICS = (function grown(depth: number): string[] {
  const last = [...LEVELS, 'z', '$z'];
  if (depth === 1) return last;
  return [...last, ...grown(depth - 1).flatMap((rest) => last.map((one) => `${one}/${rest}`))];
})(4);

function parsed(written: string): Pattern {
  const pattern = parsePattern(written);
  if (pattern === undefined) throw new Error(`${written} is no pattern`);
  return pattern;
}

describe('a pattern and a topic', () => {
  test('an allow means what a subscription of the same filter gets', () => {
    fc.assert(
      fc.property(filter, fc.constantFrom(...TOPICS), (written, topic) => {
        expect(covers(parsed(written), topic)).toBe(matches(written, topic));
      }),
      { numRuns: 3000 },
    );
  });

  test('a deny means the same, and topics with $ where its first level is a wildcard', () => {
    fc.assert(
      fc.property(filter, fc.constantFrom(...TOPICS), (written, topic) => {
        expect(overlaps(parsed(written), topic)).toBe(matches(written, topic, true));
      }),
      { numRuns: 3000 },
    );
  });
});

describe('a pattern and the filter of a subscriber', () => {
  test('is covered when each topic that the subscriber would get is one of the pattern', () => {
    fc.assert(
      fc.property(filter, filter, (written, wanted) => {
        // The one pair where the answer is more careful than it has to be.
        fc.pre(written !== '+/#' || wanted !== '#');
        const got = TOPICS.filter((topic) => matches(wanted, topic));
        const all = got.every((topic) => matches(written, topic));
        expect(covers(parsed(written), wanted)).toBe(all);
      }),
      { numRuns: 500 },
    );
  });

  test('overlaps when some topic that the subscriber would get is one of the pattern', () => {
    fc.assert(
      fc.property(filter, filter, (written, wanted) => {
        const got = TOPICS.filter((topic) => matches(wanted, topic));
        const some = got.some((topic) => matches(written, topic, true));
        expect(overlaps(parsed(written), wanted)).toBe(some);
      }),
      { numRuns: 500 },
    );
  });

  test('* is everything', () => {
    for (const topic of ['#', '$SYS/#', '$queue/x', 'a']) {
      expect(covers(parsed('*'), topic)).toBe(true);
      expect(overlaps(parsed('*'), topic)).toBe(true);
    }
  });
});

describe('S5: names in patterns', () => {
  const pattern = parsed('devices/%u/%c/x');

  test('a plain name is one level', () => {
    const own = withNames(pattern, { user: 'ann', clientId: 'c-1' }, true);
    expect(own?.levels).toEqual(['devices', 'ann', 'c-1', 'x']);
  });

  test('a name may be a part of a level, and signs of regular expressions are signs', () => {
    const names = { user: '$&.*', clientId: '%u' };
    const own = withNames(parsed('u-%u/%c'), names, true);
    expect(own?.levels).toEqual(['u-$&.*', '%u']);
  });

  test.each(['+', '#', 'a/b', 'a\0b', 'a+', '', undefined])(
    '%j in an allow makes it mean nothing, in a deny everything from there on',
    (user) => {
      const names = { user, clientId: 'c' };
      expect(withNames(pattern, names, true)).toBeUndefined();
      expect(withNames(pattern, names, false)?.levels).toEqual(['devices', '#']);
    },
  );

  test('a name never widens: an allow with it covers one place, or nothing', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: fc.constantFrom('a', '+', '#', '/', '\0', '$', '%', 'u', 'c') }),
        fc.constantFrom(...TOPICS, '#', '+', '+/+', 'own/+', 'own/#'),
        (user, topic) => {
          const own = withNames(parsed('own/%u'), { user, clientId: '' }, true);
          if (own !== undefined && covers(own, topic)) expect(topic).toBe(`own/${user}`);
        },
      ),
      { numRuns: 2000 },
    );
  });
});

test.each(['a/#/b', 'a#', '+a', 'a/b+', '', 'a\0', '##', 'a/#b'])('%j is no pattern', (written) => {
  expect(parsePattern(written)).toBeUndefined();
});
