/** Clusters under faults: schedules behind those that run on every change. */

import { describe } from 'vitest';
import { describeClusters } from './cluster-schedules.ts';

describe('clusters under faults', () => describeClusters(8, 50));
