/**
 * The log on a disk that fails: the first schedules of `fault-schedules.ts`, on every change.
 *
 * One again:  SEED=123 npx vitest run test/storage/log/crash-schedules-faults.test.ts
 */
import { describeFaults } from './fault-schedules.ts';

describeFaults(0, 40);
