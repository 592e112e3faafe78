import { describe, expect, it } from 'vitest';
import { counted, runModel } from './machine-steps.ts';

describe('the machine beside its model', () => {
  it(
    'has the same effects and state over 10,000 steps, checkpoints and crashes',
    { timeout: 300_000 },
    () => {
      counted.steps = 0;
      runModel(25, 420, 240_000);
      expect(counted.steps).toBeGreaterThanOrEqual(10_000);
    },
  );
});
