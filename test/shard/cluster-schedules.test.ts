/**
 * Three nodes with two shards under faults, by seeds.
 * One again:  SEED=123 npx vitest run test/shard/cluster-schedules.test.ts
 */

import { describe } from 'vitest';
import { describeClusters } from './cluster-schedules.ts';

const FIRST = Number(process.env['FIRST'] ?? 0);
const SCHEDULES = Number(process.env['SCHEDULES'] ?? 8);

describe('three nodes under faults', () => describeClusters(FIRST, SCHEDULES));
