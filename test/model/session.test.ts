/**
 * Any packets of a publisher and a subscriber with persistent sessions, cut into any pieces, with
 * connections that are lost, left and taken over at any byte, beside a naive model of both sessions
 * (MQTT 5.0 sections 3.3.4, 4.1, 4.3, 4.4, 4.6, 4.9).
 */

import { expect, test } from 'vitest';
import { seen } from './session-model.ts';
import { checkPairs } from './session-pair.ts';

test('QoS 1 at least once, QoS 2 exactly once, in order, over any drops and reconnects', async () => {
  await checkPairs({ runs: 250, steps: 100 });
  for (const [what, count] of Object.entries(seen)) expect(count, what).toBeGreaterThan(5);
});
