import { env, memoryUsage } from 'node:process';

import { expect, test } from 'vitest';

import { type FuzzCount, fuzzOnce, randomOf } from './mqtt-decoder.ts';

const seconds = Number(env['FUZZ_SECONDS'] ?? '40');
const ROUND = 2_000;

test(
  'S3: broken streams for FUZZ_SECONDS: no throw, no hang, and memory stays flat',
  () => {
    const seed = Number(env['FUZZ_SEED'] ?? Date.now() % 0xffff_ffff);
    console.log(`FUZZ_SEED=${seed}`);
    const random = randomOf(seed);
    const count: FuzzCount = { packets: 0, errors: 0 };
    const end = Date.now() + seconds * 1_000;
    let base = 0;
    let streams = 0;
    while (Date.now() < end) {
      for (let run = 0; run < ROUND; run++) fuzzOnce(random, count);
      streams += ROUND;
      // The first rounds fill caches and the heap's young half.
      if (streams === 10 * ROUND) base = memoryUsage().rss;
    }
    console.log(`${streams} streams, ${count.packets} packets, ${count.errors} errors`);
    expect(count.packets).toBeGreaterThan(0);
    if (base > 0) expect(memoryUsage().rss - base).toBeLessThan(256 * 1024 * 1024);
  },
  (seconds + 60) * 1_000,
);
