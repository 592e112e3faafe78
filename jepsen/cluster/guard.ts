/**
 * The harness's side of the guard (guard-main.ts): what is made is told before it can be left
 * behind, and what is gone afterwards. The guard has no part in a run that ends in order.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const PROGRAM = fileURLToPath(new URL('./guard-main.js', import.meta.url));

export type Made = `process ${number} ${string}` | `netns ${string}` | `link ${string}`;

export class Guard {
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  /** Its words, if it ever has any, go to `guard.log` in the directory. */
  static async start(directory: string, program = PROGRAM): Promise<Guard> {
    const log = openSync(join(directory, 'guard.log'), 'a');
    const child = spawn(process.execPath, [program], {
      stdio: ['pipe', log, log],
      // A group of its own: Ctrl-C must not reach it.
      detached: true,
    });
    closeSync(log);
    await once(child, 'spawn');
    // When the guard is gone, the run goes on without it.
    child.stdin?.on('error', () => undefined);
    return new Guard(child);
  }

  made(thing: Made): void {
    this.#child.stdin?.write(`+ ${thing}\n`);
  }

  gone(thing: Made): void {
    this.#child.stdin?.write(`- ${thing}\n`);
  }

  /** Everything is cleared up. */
  async close(): Promise<void> {
    this.#child.stdin?.end('done\n');
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      await once(this.#child, 'exit');
    }
  }
}
