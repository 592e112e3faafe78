/**
 * The log over damaged files: the first schedules of `damage-schedules.ts`, on every change.
 *
 * One again:  SEED=123 npx vitest run test/storage/log/crash-schedules-damage.test.ts
 */
import { describeDamage } from './damage-schedules.ts';

describeDamage(0, 40);
