/** Runs `fluxmq` as a user does, and gives what it said and its exit code. */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';

const LAUNCHER = join(import.meta.dirname, '../../src/cli/fluxmq.sh');

export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export class Running {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
  stdout = '';
  stderr = '';

  constructor(args: readonly string[], cwd?: string) {
    const child = spawn(LAUNCHER, args, {
      stdio: 'pipe',
      ...(cwd && { cwd }),
    });
    this.child = child;
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
    });
    this.ended = once(child, 'close').then(() => ({
      code: child.exitCode,
      stdout: this.stdout,
      stderr: this.stderr,
    }));
  }

  /** Resolves when standard output holds the text; rejects when the process ended before. */
  async says(text: string): Promise<void> {
    while (!this.stdout.includes(text)) {
      const next = await Promise.race([once(this.child.stdout ?? this.child, 'data'), this.ended]);
      if (!Array.isArray(next) && !this.stdout.includes(text)) {
        throw new Error(`ended with ${next.code}: ${next.stdout}${next.stderr}`);
      }
    }
  }
}

/** The commands of operators against one broker, whose data directory `data` tells. */
export class CommandLine {
  readonly #data: () => string;

  constructor(data: () => string) {
    this.#data = data;
  }

  run(...args: readonly string[]): Promise<Ended> {
    return fluxmq([...args, '--data', this.#data()]);
  }

  /** What it tells programs; rejects when the command fails. */
  async told(...args: readonly string[]): Promise<Record<string, unknown>[]> {
    const { code, stdout, stderr } = await this.run(...args, '--json');
    if (code !== 0) throw new Error(`ended with ${code}: ${stderr}`);
    const lines = stdout.split('\n').filter((line) => line !== '');
    return lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  }
}

export function fluxmq(args: readonly string[], input = ''): Promise<Ended> {
  const running = new Running(args);
  // It may have ended before it is written, by what is wrong with its arguments.
  running.child.stdin?.on('error', () => undefined);
  running.child.stdin?.end(input);
  return running.ended;
}
