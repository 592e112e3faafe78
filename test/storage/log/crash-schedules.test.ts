/**
 * The log under power cuts: the first schedules of `power-cuts.ts`, on every change.
 *
 * ```
 * SEED=123 npx vitest run test/storage/log/crash-schedules.test.ts     one again, with a trace
 * FIRST=2000 SCHEDULES=100000 npx vitest run test/storage/log/crash-schedules.test.ts
 * ```
 */
import { describePowerCuts } from './power-cuts.ts';

const FIRST = Number(process.env['FIRST'] ?? 0);
const SCHEDULES = Number(process.env['SCHEDULES'] ?? 500);

describePowerCuts(FIRST, SCHEDULES);
