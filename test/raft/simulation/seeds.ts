/** Seeds for tests: each must hold, and what fails says how to see it again. */

import { join } from 'node:path';

import { closingTable, neverInstalled } from '../../../raft/simulation/closing-table.ts';
import { Counters } from '../../../raft/simulation/counters.ts';
import { runSeed } from '../../../raft/simulation/run-seed.ts';
import type { SeedResult } from '../../../raft/simulation/run-seed.ts';
import type { SeedReport } from '../../../raft/simulation/seed-report.ts';
import { reproduction } from '../../../raft/simulation/shrink.ts';
import { ledgers } from '../../../raft/simulation/ledger.ts';
import type { MachineKind } from '../../../raft/simulation/state-machine.ts';
import type { PlanChanges } from '../../../raft/simulation/swarm.ts';
import { SeedProcesses } from '../../simulate/seed-processes.ts';

const LAST_EVENTS = 40;
const SCRIPT = join(import.meta.dirname, '../../../dist/test/simulate/main.js');

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

/** In this process. What was counted. */
export async function allHold(
  first: number,
  count: number,
  changes: PlanChanges = {},
  machines: MachineKind = ledgers,
): Promise<Counters> {
  const counters = new Counters();
  for (let seed = first; seed < first + count; seed += 1) {
    counters.addAll((await holds(seed, { changes, machines })).counters);
  }
  return counters;
}

interface Many {
  readonly first: number;
  readonly count: number;
  readonly level: 'host' | 'core';
  readonly machine: 'ledger' | 'queues';
  readonly jobs: number;
  /** The first so many run twice, and must have one trace. */
  readonly twice: number;
}

export interface ManySeeds {
  readonly failures: readonly string[];
  readonly counters: Counters;
  /** Faults that were asked for and came nowhere. */
  readonly missing: readonly string[];
  readonly table: string;
}

/** In processes of their own, from the compiled product. */
export async function manySeeds(many: Many): Promise<ManySeeds> {
  const { first, count, level, machine, jobs, twice } = many;
  const tasks = Array.from({ length: count }, (_none, nth) => ({
    seed: first + nth,
    changes: { level },
    twice: nth < twice,
  }));
  const processes = new SeedProcesses({ script: SCRIPT, machine, jobs, tasks: tasks.values() });
  const counters = new Counters();
  const failures: string[] = [];
  let [simulatedUs, events] = [0, 0];
  try {
    for (;;) {
      const report = await processes.next();
      if (report === undefined) break;
      for (const [name, times] of report.counters) counters.add(name, times);
      simulatedUs += report.simulatedUs;
      events += report.events;
      failures.push(...problemsOf(report, many));
    }
  } finally {
    processes.close();
  }
  const totals = { seeds: count, violations: failures.length, simulatedUs, events, counters };
  return { failures, counters, missing: neverInstalled(totals), table: closingTable(totals) };
}

function problemsOf({ seed, violation, isOne }: SeedReport, { level, machine }: Many): string[] {
  const again = reproduction(seed, { level }, machine);
  const problems: string[] = [];
  if (violation !== undefined) problems.push(`${violation}\nagain with: ${again}`);
  if (!isOne) problems.push(`two traces\nagain with: ${again}`);
  return problems;
}
