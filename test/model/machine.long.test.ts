import { describe, expect, it } from 'vitest';
import { counted, runModel } from './machine-steps.ts';

describe('the machine beside its model, at length', () => {
  it('has the same effects and state over 1,000,000 random steps', { timeout: 5_400_000 }, () => {
    counted.steps = 0;
    runModel(2_400, 420, 5_000_000);
    expect(counted.steps).toBeGreaterThanOrEqual(1_000_000);
  });
});
