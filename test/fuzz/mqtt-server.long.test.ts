import { env, memoryUsage } from 'node:process';

import { expect, test } from 'vitest';

import { randomOf } from './mqtt-decoder.ts';
import { FuzzedServer, type ServerFuzzCount } from './mqtt-server.ts';

const seconds = Number(env['FUZZ_SECONDS'] ?? '40');
const ROUND = 500;

test(
  'S3: broken packets for FUZZ_SECONDS at connections in any state: the right reason, nothing left, a pair beside them loses nothing',
  async () => {
    const seed = Number(env['FUZZ_SEED'] ?? Date.now() % 0xffff_ffff);
    console.log(`FUZZ_SEED=${seed}`);
    const random = randomOf(seed);
    const count: ServerFuzzCount = { cases: 0, errors: 0, ended: 0 };
    const end = Date.now() + seconds * 1_000;
    let base = 0;
    for (let rounds = 1; Date.now() < end; rounds++) {
      const server = new FuzzedServer();
      await server.start();
      for (let run = 0; run < ROUND; run++) await server.once(random, count);
      await server.nothingIsLeft();
      await server.stop();
      // The first rounds fill caches and the heap's young half.
      if (rounds === 5) base = memoryUsage().rss;
    }
    console.log(`${count.cases} cases, ${count.errors} errors, ${count.ended} ended`);
    expect(count.errors).toBeGreaterThan(0);
    expect(count.ended).toBeLessThan(count.cases);
    if (base > 0) expect(memoryUsage().rss - base).toBeLessThan(256 * 1024 * 1024);
  },
  (seconds + 60) * 1_000,
);
