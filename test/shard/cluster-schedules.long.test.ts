/** Clusters under faults: schedules behind those that run on every change, and that each is one. */

import { describe } from 'vitest';
import { FIRST_MOVING } from '../../raft/simulation/moving-clock.ts';
import { seedsFrom } from '../support/by-seed.ts';
import { describeClusters, describeGate } from './cluster-schedules.ts';

const GATE_SEED = FIRST_MOVING + 11;

describe('clusters under faults', () => {
  describeClusters([...seedsFrom(6, 40), ...seedsFrom(FIRST_MOVING + 6, 10)]);
});

describe('the gate', () => describeGate(GATE_SEED));
