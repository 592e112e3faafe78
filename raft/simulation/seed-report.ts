/**
 * What came of one seed, as plain data: it goes from a process that runs seeds to the one that
 * counts them.
 */

import { runSeed } from './run-seed.ts';
import type { MachineKind } from './state-machine.ts';
import type { PlanChanges } from './swarm.ts';

export interface SeedTask {
  readonly seed: number;
  readonly changes: PlanChanges;
  /** Runs it twice: another trace is a failure of the simulator itself. */
  readonly twice: boolean;
}

export interface SeedReport {
  readonly seed: number;
  readonly violation: string | undefined;
  /** It has one trace, as far as was looked. */
  readonly isOne: boolean;
  readonly counters: readonly (readonly [name: string, count: number])[];
  readonly simulatedUs: number;
  readonly events: number;
}

export async function carryOut(
  { seed, changes, twice }: SeedTask,
  machines: MachineKind,
): Promise<SeedReport> {
  const { violation, traceHash, counters, simulatedUs, events } = await runSeed(
    seed,
    changes,
    machines,
  );
  const again = twice ? (await runSeed(seed, changes, machines)).traceHash : traceHash;
  return {
    seed,
    violation: violation?.message,
    isOne: again === traceHash,
    counters: counters.entries(),
    simulatedUs,
    events,
  };
}
