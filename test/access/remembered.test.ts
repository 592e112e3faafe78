import { expect, test } from 'vitest';

import { Remembered } from '../../src/access/remembered.ts';

const ALLOW = { result: 'allow', groups: new Set<string>() } as const;
const DENY = { result: 'deny' } as const;

test('so many of each kind are kept, and the oldest goes', () => {
  const known = new Remembered({ allowedMs: 100, deniedMs: 10, maxKept: 2 }, () => 0);
  known.keep('a', ALLOW, known.age);
  for (const key of ['x', 'y', 'z']) known.keep(key, DENY, known.age);
  expect(known.find('a')).toEqual({ answer: ALLOW, untilMs: 100 });
  expect(known.find('x')).toBeUndefined();
  expect(known.find('z')).toEqual({ answer: DENY, untilMs: 10 });
});

test('what was asked before all was forgotten is not kept', () => {
  const known = new Remembered({ allowedMs: 100, deniedMs: 10, maxKept: 2 }, () => 0);
  const { age } = known;
  known.keep('a', ALLOW, age);
  known.clear();
  expect(known.find('a')).toBeUndefined();
  known.keep('a', ALLOW, age);
  expect(known.find('a')).toBeUndefined();
});
