/**
 * Clusters under faults and changes of their members, by seeds; by default also some whose clock
 * moves with its readings.
 * One again:  SEED=123 npx vitest run test/shard/cluster-schedules.test.ts
 */

import { describe } from 'vitest';
import { FIRST_MOVING } from '../../raft/simulation/moving-clock.ts';
import { seedsFrom } from '../support/by-seed.ts';
import { describeClusters } from './cluster-schedules.ts';

const FIRST = process.env['FIRST'];
const SCHEDULES = Number(process.env['SCHEDULES'] ?? 6);
const MOVING = 2;

const asked = seedsFrom(Number(FIRST ?? 0), SCHEDULES);

describe('clusters under faults', () => {
  describeClusters(
    FIRST === undefined ? [...asked, ...seedsFrom(FIRST_MOVING + 4, MOVING)] : asked,
  );
});
