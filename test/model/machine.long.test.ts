/**
 * 100,000 random steps by default; `MODEL_STEPS=1000000 npm run test:long -- test/model` for a day
 * when more is wanted.
 */

import { describe, expect, it } from 'vitest';
import { counted, runModel } from './machine-steps.ts';

const EVERY = [
  'enqueued',
  'settled',
  'ranged',
  'requeued',
  'dropped drop-head',
  'dropped expired',
  'start-raised',
  'group-created',
  'group-deleted asked',
  'group-deleted expired',
  'group-check',
  'group-sought',
  'group-refused invalid',
  'group-refused filter-differs',
  'group-refused too-many',
  'group-refused not-back',
  'group-refused no-group',
  'group-refused no-queue',
  'queue-declared',
  'queue-updated',
  'queue-deleted',
  'queue-refused invalid',
  'queue-refused type-differs',
  'queue-refused no-queue',
  'confirmed accepted',
  'confirmed no-queue',
  'confirmed queue-full',
  'confirmed answered',
  'confirmed gap',
  'confirmed stale-boot',
  'confirmed unknown-boot',
  'confirmed duplicate',
  'confirmed producer-refused',
  'confirmed stale-owner',
  'intent-opened rejected',
  'intent-opened delivery-limit',
  'intent-opened moved',
  'intent-opened delayed',
  'intent-closed transferred',
  'intent-closed unreadable',
  'transfer-refused',
  'session-redefined',
  'session-chosen',
];

const STEPS = Number(process.env['MODEL_STEPS'] ?? 100_000);
const STEPS_PER_RUN = 420;
/** What a run does not take from its list, because it makes no sense where it stands. */
const SPARE = 1.05;

describe('the machine beside its model, at length', () => {
  it(
    `has the same effects and state over ${STEPS} steps, checkpoints and crashes`,
    { timeout: 5_400_000 },
    () => {
      counted.steps = 0;
      runModel(Math.ceil((STEPS / STEPS_PER_RUN) * SPARE), STEPS_PER_RUN, 5_000_000);
      expect(counted.steps).toBeGreaterThanOrEqual(STEPS);
      // A step that does nothing is no test: each of these must have come about.
      const unseen = EVERY.filter((name) => !counted.effects.has(name));
      expect(unseen).toEqual([]);
    },
  );
});
