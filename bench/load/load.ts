/** Runs one job of the load generator in a process of its own and hands back its result. */

import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { endWithUs } from '../peers/peer.ts';
import type { LoadJob } from './main.ts';
import type { RunResult } from './mqtt.ts';
import { BEGUN, type SteadyResult, type SteadyRun } from './steady.ts';
import type { StormResult, StormRun } from './storm.ts';

/** With what the generator itself took of the processor. */
export type Loaded<T extends RunResult> = T & { readonly cpuSeconds: number };

const MAIN = fileURLToPath(new URL('./main.js', import.meta.url));

export function runLoad(job: LoadJob): Promise<Loaded<RunResult>> {
  return inOwnProcess<RunResult>(job);
}

/**
 * Load beside what is measured: goes on until `until` says that it is enough. `begun` is called by
 * those that tell when they have begun.
 */
export async function loadBeside(
  job: LoadJob,
  until: AbortSignal,
  begun?: () => void,
): Promise<void> {
  try {
    await inOwnProcess(job, { until, ...(begun && { begun }) });
  } catch (error) {
    if (!until.aborted) throw error;
  }
}

/** `begun` is called when all connections are there and the first publish goes out. */
export function runSteadyLoad(
  run: SteadyRun,
  begun: () => void = () => undefined,
): Promise<Loaded<SteadyResult>> {
  return inOwnProcess<SteadyResult>({ kind: 'mqtt-steady', run }, { begun });
}

/** `begun` is called when all clients are there: the broker may go. */
export function runStorm(run: StormRun, begun: () => void): Promise<Loaded<StormResult>> {
  return inOwnProcess<StormResult>({ kind: 'mqtt-storm', run }, { begun });
}

interface Beside {
  readonly until?: AbortSignal;
  readonly begun?: () => void;
}

function inOwnProcess<T extends RunResult>(
  job: LoadJob,
  { until, begun }: Beside = {},
): Promise<Loaded<T>> {
  return new Promise((resolve, reject) => {
    // A group of its own to the scheduler, which it makes a nice one.
    const detached = job.kind === 'mqtt-harass';
    const child = spawn(process.execPath, [MAIN], {
      stdio: ['pipe', 'pipe', 'inherit'],
      detached,
      ...(until && { signal: until }),
    });
    if (detached) endWithUs(child);
    // By its standard input: ten thousand topics are too long for a command line.
    child.stdin.end(JSON.stringify(job));
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text;
      if (!output.startsWith(BEGUN)) return;
      output = output.slice(BEGUN.length);
      begun?.();
    });
    child.once('error', reject);
    child.once('close', (code) => {
      if (code === 0) resolve(JSON.parse(output) as Loaded<T>);
      else reject(new Error(`the load generator ended with ${String(code)}`));
    });
  });
}
