/**
 * Makes a failing seed smaller: less time under faults, and fewer kinds of them, as long as the
 * same check fails. A bounded number of runs; the result reproduces, or it is what was given.
 */

import { runSeed } from './run-seed.ts';
import type { SeedResult } from './run-seed.ts';
import type { MachineKind } from './state-machine.ts';
import { LINK_KINDS, STEP_KINDS } from './swarm.ts';
import type { PlanChanges } from './swarm.ts';

const RUNS_MOST = 30;
const LEAST_US = 10_000;

export interface Shrunk {
  readonly changes: PlanChanges;
  readonly result: SeedResult;
}

export async function shrink(
  failed: SeedResult,
  changes: PlanChanges,
  machines: MachineKind,
): Promise<Shrunk> {
  let best: Shrunk = { changes, result: failed };
  let runs = 0;
  const better = async (candidate: PlanChanges): Promise<boolean> => {
    if (runs >= RUNS_MOST) return false;
    runs += 1;
    const result = await runSeed(failed.seed, candidate, machines);
    if (result.violation?.check !== failed.violation?.check) return false;
    best = { changes: candidate, result };
    return true;
  };
  for (const kind of [...STEP_KINDS, ...LINK_KINDS]) {
    const { without = [] } = best.changes;
    if (failed.counters.get(`requested: ${kind}`) === 0 || without.includes(kind)) continue;
    await better({ ...best.changes, without: [...without, kind] });
  }
  // The violation comes at the end of the phase at the latest, or behind it.
  let most = best.changes.safetyUs ?? failed.simulatedUs;
  for (let least = 0; most - least > LEAST_US;) {
    const middle = Math.floor((least + most) / 2);
    if (await better({ ...best.changes, safetyUs: middle })) most = middle;
    else if (runs >= RUNS_MOST) break;
    else least = middle;
  }
  return best;
}

/** What to type to see it again. */
export function reproduction(seed: number, changes: PlanChanges, machine = 'ledger'): string {
  const { without = [], safetyUs, level } = changes;
  const parts = [`npm run simulate -- --seed ${seed}`];
  if (without.length > 0) parts.push(`--without '${without.join(',')}'`);
  if (machine !== 'ledger') parts.push(`--machine ${machine}`);
  if (level !== undefined) parts.push(`--level ${level}`);
  if (safetyUs !== undefined) parts.push(`--safety-ms ${safetyUs / 1000}`);
  return parts.join(' ');
}
