/**
 * Seeds in several processes: this one deals them out and hears what came of each, in whatever
 * order; a seed depends on nothing but its number. Each process has one seed at a time, and ends
 * with the channel to this one. One that ends by itself ends the run, with the seed that it had.
 */

import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';

import type { SeedReport, SeedTask } from '../../raft/simulation/seed-report.ts';

/** First argument of a process that is given seeds, before the name of its machine. */
export const WORKER = '--worker';

interface Waiting {
  resolve(report: SeedReport | undefined): void;
  reject(error: Error): void;
}

interface Worker {
  readonly child: ChildProcess;
  task: SeedTask | undefined;
}

export interface SeedProcessesOptions {
  readonly script: string;
  readonly machine: string;
  readonly jobs: number;
  readonly tasks: Iterator<SeedTask>;
}

export class SeedProcesses {
  readonly #tasks: Iterator<SeedTask>;
  readonly #workers: Worker[];
  readonly #reports: SeedReport[] = [];
  #waiting: Waiting | undefined;
  #failure: Error | undefined;

  constructor({ script, machine, jobs, tasks }: SeedProcessesOptions) {
    this.#tasks = tasks;
    this.#workers = Array.from({ length: jobs }, () => ({
      child: fork(script, [WORKER, machine], { execArgv: [] }),
      task: undefined,
    }));
    for (const worker of this.#workers) {
      const { child } = worker;
      child.on('message', (report: SeedReport) => {
        this.#reports.push(report);
        this.#deal(worker);
        this.#tell();
      });
      child.on('exit', (code, signal) => this.#ended(worker, String(code ?? signal)));
      this.#deal(worker);
    }
  }

  /** The next that comes; undefined: there is none left. */
  next(): Promise<SeedReport | undefined> {
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
      this.#tell();
    });
  }

  close(): void {
    for (const { child } of this.#workers) if (child.connected) child.disconnect();
  }

  #deal(worker: Worker): void {
    const { done, value } = this.#tasks.next();
    worker.task = done === true ? undefined : value;
    if (worker.task !== undefined) worker.child.send(worker.task);
  }

  #ended({ task }: Worker, how: string): void {
    if (task === undefined) return;
    this.#failure ??= new Error(`the process of seed ${task.seed} ended with ${how}`);
    this.#tell();
  }

  #tell(): void {
    const waiting = this.#waiting;
    if (waiting === undefined) return;
    const report = this.#reports.shift();
    const isOver = this.#workers.every(({ task }) => task === undefined);
    if (report === undefined && this.#failure === undefined && !isOver) return;
    this.#waiting = undefined;
    if (report !== undefined || this.#failure === undefined) waiting.resolve(report);
    else waiting.reject(this.#failure);
  }
}
