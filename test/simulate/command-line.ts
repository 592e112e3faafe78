/**
 * The command line of the simulator: many seeds with a progress bar and a closing table, or one
 * seed with its trace.
 *
 * Exit status 0: no violation, and every kind of fault that was asked for was installed; 1: not so;
 * 2: it was called wrongly. A violation prints its seed, a reproduction made smaller, and the last
 * events before it.
 */

import { SingleBar } from 'cli-progress';

import { closingTable, neverInstalled } from '../../raft/simulation/closing-table.ts';
import { Counters } from '../../raft/simulation/counters.ts';
import { runSeed } from '../../raft/simulation/run-seed.ts';
import { Misuse, optionsOf } from '../support/options.ts';
import { SeedProcesses, WORKER } from './seed-processes.ts';
import { carryOut } from '../../raft/simulation/seed-report.ts';
import type { SeedReport, SeedTask } from '../../raft/simulation/seed-report.ts';
import { reproduction, shrink } from '../../raft/simulation/shrink.ts';
import type { MachineKind } from '../../raft/simulation/state-machine.ts';
import { LINK_KINDS, STEP_KINDS } from '../../raft/simulation/swarm.ts';
import type { PlanChanges } from '../../raft/simulation/swarm.ts';

const SEEDS_MOST = 10_000_000;
const JOBS_MOST = 64;
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
  --jobs N         in so many processes (default 1)
  --without KINDS  leave these kinds of faults out, separated by commas
  --level LEVEL    host (the whole of it, the default) or core (alone, over a store in memory)
  --machine KIND   what the entries are applied to: MACHINES
  --safety-ms MS   so much simulated time under faults
`;

export type Machines = Readonly<Record<string, MachineKind>>;

interface Asked {
  readonly machine: string;
  readonly machines: MachineKind;
  readonly jobs: number;
  readonly first: number;
  readonly seeds: number;
  readonly only: boolean;
  readonly minutes: number;
  readonly changes: PlanChanges;
}

function asked(args: readonly string[], kinds: Machines): Asked {
  const text = { type: 'string' } as const;
  const options = {
    seeds: text,
    first: text,
    seed: text,
    minutes: text,
    jobs: text,
    without: text,
    'safety-ms': text,
    level: text,
    machine: text,
  };
  const values = optionsOf(args, options);
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
  const machine = values.machine ?? Object.keys(kinds)[0] ?? '';
  const machines = kinds[machine];
  if (machines === undefined) {
    throw new Misuse(`--machine is one of ${Object.keys(kinds).join(', ')}`);
  }
  for (const kind of without) {
    if (!known.includes(kind))
      throw new Misuse(`no fault '${kind}'; there are ${known.join(', ')}`);
  }
  return {
    machine,
    machines,
    jobs: Math.max(1, numberOf('jobs', values.jobs, JOBS_MOST) ?? 1),
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

async function show(seed: number, { changes, machines, machine }: Asked): Promise<void> {
  const failed = await runSeed(seed, changes, machines);
  const shrunk = await shrink(failed, changes, machines);
  const { result } = shrunk;
  const lines = [
    '',
    `seed ${seed}: ${failed.violation?.message}`,
    `again: ${reproduction(seed, changes, machine)}`,
    `smaller: ${reproduction(seed, shrunk.changes, machine)}`,
    `last events of the smaller one (${result.events}):`,
    ...result.trace.slice(-LAST_EVENTS).map((line) => `  ${line}`),
    `${result.violation?.stack ?? ''}`,
  ];
  const cause = result.violation?.cause;
  if (cause instanceof Error) lines.push(cause.stack ?? cause.message);
  process.stdout.write(`${lines.join('\n')}\n`);
}

/** Ends with the last seed, or with the time. */
function* tasksOf({ first, seeds, only, minutes, changes }: Asked): Generator<SeedTask> {
  const end = minutes > 0 ? Date.now() + minutes * 60_000 : Number.POSITIVE_INFINITY;
  for (let nth = 0; nth < seeds && Date.now() < end; nth += 1) {
    yield { seed: first + nth, changes, twice: only || nth % GATE_EVERY === 0 };
  }
}

/** In this process, or in several. */
async function* reportsOf(wanted: Asked): AsyncGenerator<SeedReport> {
  const { jobs, machine, machines } = wanted;
  const tasks = tasksOf(wanted);
  if (jobs === 1) {
    for (const task of tasks) yield await carryOut(task, machines);
    return;
  }
  const script = process.argv[1] ?? '';
  const processes = new SeedProcesses({ script, machine, jobs, tasks });
  try {
    for (;;) {
      const report = await processes.next();
      if (report === undefined) return;
      yield report;
    }
  } finally {
    processes.close();
  }
}

async function run(wanted: Asked): Promise<number> {
  const { seeds, only } = wanted;
  const counters = new Counters();
  const format = 'seeds {bar} {value}/{total} | {violations} violations | {duration_formatted}';
  const bar = new SingleBar({ format, hideCursor: true, noTTYOutput: false });
  if (!only) bar.start(seeds, 0, { violations: 0 });
  const failed: number[] = [];
  let [done, simulatedUs, events, wrong] = [0, 0, 0, false];
  for await (const report of reportsOf(wanted)) {
    for (const [name, count] of report.counters) counters.add(name, count);
    simulatedUs += report.simulatedUs;
    events += report.events;
    done += 1;
    if (report.violation !== undefined) {
      failed.push(report.seed);
      process.stdout.write(`\nseed ${report.seed}: ${report.violation}\n`);
    }
    if (!report.isOne) {
      wrong = true;
      const words = 'has two traces: the simulator is not deterministic';
      process.stdout.write(`\nseed ${report.seed} ${words}\n`);
    }
    bar.update(done, { violations: failed.length });
  }
  bar.stop();
  for (const seed of failed.slice(0, VIOLATIONS_SHOWN)) await show(seed, wanted);
  const totals = { seeds: done, violations: failed.length, simulatedUs, events, counters };
  process.stdout.write(`\n${closingTable(totals)}\n`);
  return failed.length > 0 || wrong || neverInstalled(totals).length > 0 ? 1 : 0;
}

/** A process that is given its seeds: until the one that deals them is gone. */
function work(machines: MachineKind): void {
  let before = Promise.resolve();
  process.on('message', (task: SeedTask) => {
    before = before.then(async () => {
      process.send?.(await carryOut(task, machines));
    });
  });
  process.on('disconnect', () => process.exit());
}

/** The exit status. The first machine is the default. */
export async function simulate(args: readonly string[], machines: Machines): Promise<number> {
  const [first, machine = ''] = args;
  const ofWorker = machines[machine];
  if (first === WORKER && ofWorker !== undefined) {
    work(ofWorker);
    return 0;
  }
  try {
    return await run(asked(args, machines));
  } catch (error) {
    if (!(error instanceof Misuse)) throw error;
    const usage = USAGE.replace('MACHINES', Object.keys(machines).join(', '));
    process.stderr.write(`${error.message}\n\n${usage}`);
    return 2;
  }
}
