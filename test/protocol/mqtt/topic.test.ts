import { fc } from '../../support/properties.ts';
import { expect, test } from 'vitest';

import {
  isTopicFilter,
  isTopicName,
  parseSharedFilter,
  topicLevels,
  topicNameFault,
} from '../../../src/protocol/mqtt/topic.ts';

test.each([
  'a',
  '/',
  '//',
  'a/b',
  ' ',
  '$SYS/x',
  '$queue/orders',
  'ü/€',
  '\ufeff',
  '..',
  '../../x',
])(
  'the name %j is valid: nothing but wildcards, NUL and emptiness is refused [MQTT-4.7.3-4]',
  (name) => {
    expect(topicNameFault(name)).toBeUndefined();
  },
);

test.each([
  ['', 'empty'],
  ['a/+', 'wildcard'],
  ['a+b', 'wildcard'],
  ['#', 'wildcard'],
  ['a/#/b', 'wildcard'],
  ['a\0b', 'nul'],
] as const)(
  'the name %j is refused as %s [MQTT-4.7.0-1], [MQTT-4.7.3-1], [MQTT-4.7.3-2]',
  (name, fault) => {
    expect(topicNameFault(name)).toBe(fault);
    expect(isTopicName(name)).toBe(false);
  },
);

test.each([
  '#',
  '+',
  '/',
  '+/+',
  'a/#',
  '+/#',
  '/+',
  '+/',
  '/#',
  'a/+/b',
  '//',
  '+//#',
  '$share',
  'a',
])('the filter %j is valid [MQTT-4.7.1-1], [MQTT-4.7.1-2]', (filter) => {
  expect(isTopicFilter(filter)).toBe(true);
});

test.each([
  '',
  '#/x',
  'a#',
  '#a',
  'a/#/b',
  '##',
  'a+',
  '+a',
  'a/+b',
  '++',
  '+#',
  '#+',
  'a/b+/c',
  'a\0',
])('Q10: the filter %j is refused, never match-all', (filter) => {
  expect(isTopicFilter(filter)).toBe(false);
});

test('a filter is valid exactly if each of its levels is', () => {
  const level = fc.constantFrom('', '+', '#', 'a', 'a+', '#b', '\0', 'bc');
  fc.assert(
    fc.property(fc.array(level, { minLength: 1, maxLength: 6 }), (levels) => {
      const filter = levels.join('/');
      const expected =
        filter !== '' &&
        levels.every(
          (text, index) =>
            text === '+' || (text === '#' && index === levels.length - 1) || !/[+#\0]/u.test(text),
        );
      expect(isTopicFilter(filter)).toBe(expected);
    }),
    { numRuns: 2_000 },
  );
});

test.each([
  ['$share/g/a', { shareName: 'g', filter: 'a' }],
  ['$share/g/a/#', { shareName: 'g', filter: 'a/#' }],
  ['$share/g//', { shareName: 'g', filter: '/' }],
  ['$share/g/$queue/orders', { shareName: 'g', filter: '$queue/orders' }],
] as const)('%j is taken apart [MQTT-4.8.2-1], [MQTT-4.8.2-2]', (text, expected) => {
  expect(parseSharedFilter(text)).toEqual(expected);
});

test.each([
  '$share',
  '$share/',
  '$share/g',
  '$share/g/',
  '$share//a',
  '$share/g+/a',
  '$share/#/a',
  '$share/g/#/a',
])('%j is a malformed share, not an ordinary filter', (text) => {
  expect(parseSharedFilter(text)).toBe('malformed');
});

test.each(['a', '$shared/g/a', '$SHARE/g/a', '/$share/g/a', 'share/g/a'])(
  '%j is not shared',
  (text) => {
    expect(parseSharedFilter(text)).toBeUndefined();
  },
);

test('S4: a topic of 64 KB with 65,535 levels is judged in one pass, without recursion', () => {
  const slashes = '/'.repeat(65_534);
  expect(isTopicName(slashes)).toBe(true);
  expect(isTopicFilter(slashes)).toBe(true);
  expect(topicLevels(slashes)).toBe(65_535);
  const plus = `${'+/'.repeat(32_767)}+`;
  expect(isTopicFilter(plus)).toBe(true);
  expect(topicLevels(plus)).toBe(32_768);
  expect(parseSharedFilter(`$share/g/${plus}`)).toEqual({ shareName: 'g', filter: plus });
  expect(isTopicFilter(`${'+/'.repeat(32_767)}#/`)).toBe(false);
});

test('levels are counted no further than the limit', () => {
  expect(topicLevels('')).toBe(1);
  expect(topicLevels('a/b/c')).toBe(3);
  expect(topicLevels('a/b/c/d/e', 3)).toBe(4);
});
