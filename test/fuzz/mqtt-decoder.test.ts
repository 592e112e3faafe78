import { expect, test } from 'vitest';

import { type FuzzCount, fuzzOnce, randomOf } from './mqtt-decoder.ts';

test('S3: 5,000 broken streams: no throw, an end, the same in any chunks, nothing illegal comes out', () => {
  const random = randomOf(20_260_101);
  const count: FuzzCount = { packets: 0, errors: 0 };
  for (let run = 0; run < 5_000; run++) fuzzOnce(random, count);
  // Both sides are reached: it is not all refused, and not all taken.
  expect(count.packets).toBeGreaterThan(5_000);
  expect(count.errors).toBeGreaterThan(1_000);
});
