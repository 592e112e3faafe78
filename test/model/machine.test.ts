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
];

describe('the machine beside its model', () => {
  it(
    'has the same effects and state over 100,000 steps, checkpoints and crashes',
    { timeout: 600_000 },
    () => {
      counted.steps = 0;
      runModel(250, 420, 540_000);
      expect(counted.steps).toBeGreaterThanOrEqual(100_000);
      // A step that does nothing is no test: each of these must have come about.
      const unseen = EVERY.filter((name) => !counted.effects.has(name));
      expect(unseen).toEqual([]);
    },
  );
});
