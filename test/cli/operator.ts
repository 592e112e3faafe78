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
import type { FakeClusterAdmin } from '../support/fake-cluster-admin.ts';
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

  get cluster(): FakeClusterAdmin {
    return this.#broker.cluster;
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

  /** By its socket: who names a folder waits for the reader of configurations too. */
  run(...args: readonly string[]): Promise<Ended> {
    if (args.includes('--socket')) return fluxmq(args);
    return fluxmq([...args, '--socket', join(this.folder, 'admin.sock')]);
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

/**
 * On a terminal of so many columns (util-linux `script`), both outputs in one. The shell of
 * `script` makes room for the program: Ctrl-C goes to all of them, and a dash that waits would die
 * of it.
 */
export function onTerminal(
  command: string,
  columns: number,
  how: OnTerminal = {},
): Promise<Output> {
  const line = `stty cols ${columns} rows 24; exec '${LAUNCHER}' ${command}`;
  return output('script', ['-qec', line, '/dev/null'], how);
}

interface OnTerminal {
  readonly input?: string;
  /** Once it printed so much, the user's Ctrl-C. */
  readonly interruptAfter?: (printed: string) => boolean;
}

interface Output {
  readonly stdout: string;
  readonly stderr: string;
  readonly status: number | null;
}

export async function output(
  program: string,
  args: readonly string[],
  { input = '', interruptAfter }: OnTerminal = {},
): Promise<Output> {
  const child = spawn(program, args, { stdio: 'pipe' });
  const ended = once(child, 'close');
  // Who reads nothing may have ended before it is written.
  child.stdin.on('error', () => undefined);
  if (interruptAfter === undefined) child.stdin.end(input);
  let printed = '';
  child.stdout.setEncoding('utf8').on('data', (more: string) => {
    printed += more;
    if (interruptAfter?.(printed) === true && child.stdin.writable) child.stdin.end('\x03');
  });
  const stderr = await text(child.stderr);
  await ended;
  return { stdout: printed, stderr, status: child.exitCode };
}
