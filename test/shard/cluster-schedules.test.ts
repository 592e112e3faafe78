/**
 * Clusters under faults and changes of their members, by seeds.
 * One again:  SEED=123 npx vitest run test/shard/cluster-schedules.test.ts
 */

import { describe } from 'vitest';
import { describeClusters } from './cluster-schedules.ts';

const FIRST = Number(process.env['FIRST'] ?? 0);
const SCHEDULES = Number(process.env['SCHEDULES'] ?? 8);

describe('clusters under faults', () => describeClusters(FIRST, SCHEDULES));
