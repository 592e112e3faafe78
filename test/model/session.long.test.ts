/**
 * The property of session.test.ts on more and longer cases. `SESSION_RUNS=1000000` for a day when
 * more is wanted; `PROPERTY_SEED=random` looks at others.
 */

import { env } from 'node:process';
import { expect, test } from 'vitest';
import { seen } from './session-model.ts';
import { checkPairs } from './session-pair.ts';

const runs = Number(env['SESSION_RUNS'] ?? '2000');

test('sessions keep their promises over longer lives', { timeout: 3_600_000 }, async () => {
  await checkPairs({ runs: Math.ceil(runs / 2), steps: 80 });
  await checkPairs({ runs: Math.ceil(runs / 20), steps: 800 });
  await checkPairs({ runs: Math.ceil(runs / 1000), steps: 80, deliveriesBefore: 65_530 });
  for (const [what, count] of Object.entries(seen)) expect(count, what).toBeGreaterThan(50);
});
