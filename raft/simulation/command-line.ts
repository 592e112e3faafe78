/**
 * The command line of the simulator: many seeds with a progress bar and a closing table, or one
 * seed with its trace.
 *
 * Exit status 0: no violation, and every kind of fault that was asked for was installed; 1: not so;
 * 2: it was called wrongly. A violation prints its seed, a reproduction made smaller, and the last
 * events before it.
 */

import { parseArgs } from 'node:util';
import { SingleBar } from 'cli-progress';

import { closingTable, neverInstalled } from './closing-table.ts';
import { Counters } from './counters.ts';
import { runSeed } from './run-seed.ts';
import type { SeedResult } from './run-seed.ts';
import { reproduction, shrink } from './shrink.ts';
import type { MachineKind } from './state-machine.ts';
import { LINK_KINDS, STEP_KINDS } from './swarm.ts';
import type { PlanChanges } from './swarm.ts';

const SEEDS_MOST = 10_000_000;
const MINUTES_MOST = 7 * 24 * 60;
const LAST_EVENTS = 60;
/** Each of these seeds runs twice: the trace must be the same. */
const GATE_EVERY = 50;
const VIOLATIONS_SHOWN = 3;

const USAGE = `npm run simulate -- [options]
  --seeds N        so many seeds (default 1000, or as many as --minutes allow)
  --first N        the first of them (default 1)
  --seed N         this one alone, with the last events of its trace
  --minutes M      stop after so many minutes
  --without KINDS  leave these kinds of faults out, separated by commas
  --level LEVEL    host (the whole of it, the default) or core (alone, over a store in memory)
  --machine KIND   what the entries are applied to: MACHINES
  --safety-ms MS   so much simulated time under faults
`;

export type Machines = Readonly<Record<string, MachineKind>>;

interface Asked {
  readonly machines: MachineKind;
  readonly first: number;
  readonly seeds: number;
  readonly only: boolean;
  readonly minutes: number;
  readonly changes: PlanChanges;
}

class Misuse extends Error {}

function asked(args: readonly string[], kinds: Machines): Asked {
  const text = { type: 'string' } as const;
  const options = {
    seeds: text,
    first: text,
    seed: text,
    minutes: text,
    without: text,
    'safety-ms': text,
    level: text,
    machine: text,
  };
  const { values } = parseArgs({ args: [...args], options });
  const minutes = numberOf('minutes', values.minutes, MINUTES_MOST) ?? 0;
  const seed = numberOf('seed', values.seed, Number.MAX_SAFE_INTEGER);
  const seeds = numberOf('seeds', values.seeds, SEEDS_MOST);
  const safetyMs = numberOf('safety-ms', values['safety-ms'], 3_600_000);
  const without = values.without?.split(',') ?? [];
  const known: readonly string[] = [...STEP_KINDS, ...LINK_KINDS];
  const { level } = values;
  if (level !== undefined && level !== 'host' && level !== 'core') {
    throw new Misuse(`--level is host or core, not '${level}'`);
  }
  const machines = kinds[values.machine ?? Object.keys(kinds)[0] ?? ''];
  if (machines === undefined) {
    throw new Misuse(`--machine is one of ${Object.keys(kinds).join(', ')}`);
  }
  for (const kind of without) {
    if (!known.includes(kind))
      throw new Misuse(`no fault '${kind}'; there are ${known.join(', ')}`);
  }
  return {
    machines,
    first: seed ?? numberOf('first', values.first, Number.MAX_SAFE_INTEGER) ?? 1,
    seeds: seed === undefined ? (seeds ?? (minutes > 0 ? SEEDS_MOST : 1000)) : 1,
    only: seed !== undefined,
    minutes,
    changes: {
      ...(without.length > 0 && { without }),
      ...(level !== undefined && { level }),
      ...(safetyMs !== undefined && { safetyUs: Math.round(safetyMs * 1000) }),
    },
  };
}

function numberOf(name: string, text: string | undefined, most: number): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  const whole = name === 'minutes' || name === 'safety-ms' || Number.isSafeInteger(value);
  if (!whole || !(value >= 0) || value > most || text.trim() === '') {
    throw new Misuse(`--${name} is a number from 0 to ${most}, not '${text}'`);
  }
  return value;
}

async function show(failed: SeedResult, { changes, machines }: Asked): Promise<void> {
  const shrunk = await shrink(failed, changes, machines);
  const { result } = shrunk;
  const lines = [
    '',
    `seed ${failed.seed}: ${failed.violation?.message}`,
    `again: ${reproduction(failed.seed, changes)}`,
    `smaller: ${reproduction(failed.seed, shrunk.changes)}`,
    `last events of the smaller one (${result.events}):`,
    ...result.trace.slice(-LAST_EVENTS).map((line) => `  ${line}`),
    `${result.violation?.stack ?? ''}`,
  ];
  const cause = result.violation?.cause;
  if (cause instanceof Error) lines.push(cause.stack ?? cause.message);
  process.stdout.write(`${lines.join('\n')}\n`);
}

/** The same seed again: another trace is a failure of the simulator itself. */
async function sameAgain(first: SeedResult, { changes, machines }: Asked): Promise<boolean> {
  const again = await runSeed(first.seed, changes, machines);
  if (again.traceHash === first.traceHash) return true;
  process.stdout.write(`\nseed ${first.seed} has two traces: the simulator is not deterministic\n`);
  return false;
}

async function run(wanted: Asked): Promise<number> {
  const { first, seeds, only, minutes, changes, machines } = wanted;
  const counters = new Counters();
  const end = minutes > 0 ? Date.now() + minutes * 60_000 : Number.POSITIVE_INFINITY;
  const format = 'seeds {bar} {value}/{total} | {violations} violations | {duration_formatted}';
  const bar = new SingleBar({ format, hideCursor: true, noTTYOutput: false });
  if (!only) bar.start(seeds, 0, { violations: 0 });
  let [done, violations, simulatedUs, events, wrong] = [0, 0, 0, 0, false];
  for (; done < seeds && Date.now() < end; done += 1) {
    const result = await runSeed(first + done, changes, machines);
    counters.addAll(result.counters);
    simulatedUs += result.simulatedUs;
    events += result.events;
    if (result.violation !== undefined) {
      violations += 1;
      if (violations <= VIOLATIONS_SHOWN) await show(result, wanted);
    }
    if (only || done % GATE_EVERY === 0) wrong = !(await sameAgain(result, wanted)) || wrong;
    bar.update(done + 1, { violations });
  }
  bar.stop();
  const totals = { seeds: done, violations, simulatedUs, events, counters };
  process.stdout.write(`\n${closingTable(totals)}\n`);
  return violations > 0 || wrong || neverInstalled(totals).length > 0 ? 1 : 0;
}

/** The exit status. The first machine is the default. */
export async function simulate(args: readonly string[], machines: Machines): Promise<number> {
  try {
    return await run(asked(args, machines));
  } catch (error) {
    if (!(error instanceof Misuse) && !isMisuse(error)) throw error;
    const usage = USAGE.replace('MACHINES', Object.keys(machines).join(', '));
    process.stderr.write(`${(error as Error).message}\n\n${usage}`);
    return 2;
  }
}

/** Of the parser of arguments. */
function isMisuse(error: unknown): boolean {
  return (
    error instanceof TypeError && 'code' in error && String(error.code).startsWith('ERR_PARSE')
  );
}
