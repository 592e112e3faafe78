/** Seeds for tests: each must hold, and what fails says how to see it again. */

import { closingTable, neverInstalled } from '../../../raft/simulation/closing-table.ts';
import { Counters } from '../../../raft/simulation/counters.ts';
import { runSeed } from '../../../raft/simulation/run-seed.ts';
import type { SeedResult } from '../../../raft/simulation/run-seed.ts';
import { reproduction } from '../../../raft/simulation/shrink.ts';
import { ledgers } from '../../../raft/simulation/ledger.ts';
import type { MachineKind } from '../../../raft/simulation/state-machine.ts';
import type { PlanChanges } from '../../../raft/simulation/swarm.ts';

const LAST_EVENTS = 40;

interface How {
  readonly changes: PlanChanges;
  readonly machines: MachineKind;
}

/** Throws on a violation. */
async function holds(seed: number, { changes, machines }: How): Promise<SeedResult> {
  const result = await runSeed(seed, changes, machines);
  const { violation, trace } = result;
  if (violation === undefined) return result;
  const lines = [
    `seed ${seed}: ${violation.message}`,
    `again with: ${reproduction(seed, changes)}`,
    ...trace.slice(-LAST_EVENTS),
  ];
  throw new Error(lines.join('\n'), { cause: violation.cause ?? violation });
}

export interface ManySeeds {
  readonly counters: Counters;
  /** Faults that were asked for and came nowhere. */
  readonly missing: readonly string[];
  readonly table: string;
}

export async function allHold(
  first: number,
  count: number,
  changes: PlanChanges = {},
  machines: MachineKind = ledgers,
): Promise<ManySeeds> {
  const counters = new Counters();
  let [simulatedUs, events] = [0, 0];
  for (let seed = first; seed < first + count; seed += 1) {
    const result = await holds(seed, { changes, machines });
    counters.addAll(result.counters);
    simulatedUs += result.simulatedUs;
    events += result.events;
  }
  const totals = { seeds: count, violations: 0, simulatedUs, events, counters };
  return { counters, missing: neverInstalled(totals), table: closingTable(totals) };
}
