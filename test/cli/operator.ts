/**
 * An operator at a scripted broker: runs commands against it, and gives what they said. The broker
 * is in this process, so nothing here may block it.
 */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { expect } from 'vitest';
import { ExitCode } from '../../src/cli/exit-codes.ts';
import { ScriptedBroker } from '../support/admin-server.ts';
import type { FakeQueueAdmin } from '../support/fake-queue-admin.ts';
import { type Ended, fluxmq } from './run-cli.ts';

export const LAUNCHER = join(import.meta.dirname, '../../src/cli/fluxmq.sh');

export class Operator {
  readonly #broker: ScriptedBroker;

  private constructor(broker: ScriptedBroker) {
    this.#broker = broker;
  }

  static async started(): Promise<Operator> {
    return new Operator(await ScriptedBroker.started('operator'));
  }

  get admin(): FakeQueueAdmin {
    return this.#broker.admin;
  }

  get folder(): string {
    return this.#broker.folder;
  }

  remove(): Promise<void> {
    return this.#broker.remove();
  }

  /** No queues, nothing asked, every answer at once. */
  reset(): void {
    this.admin.queues.clear();
    this.admin.asked.length = 0;
    this.admin.gate = () => Promise.resolve();
  }

  run(...args: readonly string[]): Promise<Ended> {
    return fluxmq([...args, '--data', this.folder]);
  }

  /** What a command that must succeed printed. */
  async told(...args: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await this.run(...args);
    expect(stderr).toBe('');
    expect(code).toBe(ExitCode.ok);
    return stdout;
  }

  async objects(...args: readonly string[]): Promise<unknown[]> {
    const lines = (await this.told(...args, '--json')).trimEnd().split('\n');
    return lines.filter((line) => line !== '').map((line) => JSON.parse(line) as unknown);
  }
}

/** On a terminal of so many columns (util-linux `script`), both outputs in one. */
export function onTerminal(
  command: string,
  columns: number,
  how: OnTerminal = {},
): Promise<Output> {
  const program = `${how.prefix ?? ''} '${LAUNCHER}' ${command}`;
  const line = `stty cols ${columns} rows 24; ${program}`;
  return output('script', ['-qec', line, '/dev/null'], how.input);
}

interface OnTerminal {
  readonly prefix?: string;
  readonly input?: string;
}

interface Output {
  readonly stdout: string;
  readonly stderr: string;
  readonly status: number | null;
}

export async function output(
  program: string,
  args: readonly string[],
  input = '',
): Promise<Output> {
  const child = spawn(program, args, { stdio: 'pipe' });
  const ended = once(child, 'close');
  child.stdin.end(input);
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)]);
  await ended;
  return { stdout, stderr, status: child.exitCode };
}
