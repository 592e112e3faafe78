/**
 * One broker of the run: a real process, started by the program that users start, with its own
 * directory of data and its log in `nodes/<id>/`. Each step resolves when it was *seen* to have
 * happened, because a fault that only seems to be installed proves nothing.
 *
 * A process that ends without having been asked is told to `onDeath`; nobody starts it again here.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { rm, stat } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { BROKER_LOG_FILE } from '../history/lead-moves.ts';
import type { Guard, Made } from './guard.ts';
import type { NodeAddresses } from './network.ts';
import { cpuSecondsOf, isStopped, signalGroup, startTimeOf } from './process-state.ts';

const LOOK_MS = 20;
const STEP_MAX_MS = 15_000;
/** After it a process that was asked to stop is killed. */
const STOP_MAX_MS = 30_000;

export type NodeState = 'down' | 'up' | 'paused';

export interface NodeParts {
  readonly id: string;
  /** Its log, its configuration and, in `data`, its data. */
  readonly directory: string;
  readonly addresses: NodeAddresses;
  /** Program and arguments. */
  readonly command: readonly string[];
  readonly guard: Guard;
  /** What it said with its end. */
  readonly onDeath: (node: string, how: string) => void;
}

export class BrokerNode {
  readonly id: string;
  readonly addresses: NodeAddresses;
  readonly directory: string;
  readonly dataDirectory: string;
  readonly #parts: NodeParts;
  #child: ChildProcess | undefined;
  #told: Made | undefined;
  #state: NodeState = 'down';
  #cpuSeconds = 0;

  constructor(parts: NodeParts) {
    this.#parts = parts;
    this.id = parts.id;
    this.addresses = parts.addresses;
    this.directory = parts.directory;
    this.dataDirectory = join(parts.directory, 'data');
  }

  get state(): NodeState {
    return this.#state;
  }

  /** Resolves when the process is there; what it then needs to serve is another matter. */
  async start(): Promise<void> {
    if (this.#state !== 'down') throw new Error(`${this.id} runs already`);
    const log = openSync(join(this.#parts.directory, BROKER_LOG_FILE), 'a');
    const [program = '', ...args] = this.#parts.command;
    const child = spawn(program, args, { stdio: ['ignore', log, log], detached: true });
    closeSync(log);
    this.#child = child;
    this.#state = 'up';
    child.once('exit', (code, signal) => this.#ended(child, signal ?? `exit code ${code}`));
    await once(child, 'spawn');
    const start = await startTimeOf(this.#pid);
    if (start === undefined) throw new Error(`${this.id} ended at once`);
    this.#told = `process ${this.#pid} ${start}`;
    this.#parts.guard.made(this.#told);
  }

  async kill(): Promise<void> {
    await this.#end('SIGKILL');
  }

  /** In order, as an operator would; false when that took too long, and it was killed. */
  async stop(): Promise<boolean> {
    if (this.#state === 'paused') await this.resume();
    const pid = this.#child?.pid;
    let inTime = true;
    const force = setTimeout(() => {
      inTime = false;
      if (pid !== undefined) signalGroup(pid, 'SIGKILL');
    }, STOP_MAX_MS);
    try {
      await this.#end('SIGTERM');
    } finally {
      clearTimeout(force);
    }
    return inTime;
  }

  async pause(): Promise<void> {
    if (this.#state !== 'up') throw new Error(`${this.id} is ${this.#state}`);
    this.#state = 'paused';
    this.#signal('SIGSTOP');
    await this.#seen('stopped', () => isStopped(this.#pid));
  }

  async resume(): Promise<void> {
    if (this.#state !== 'paused') throw new Error(`${this.id} is ${this.#state}`);
    this.#signal('SIGCONT');
    await this.#seen('running', async () => !(await isStopped(this.#pid)));
    this.#state = 'up';
  }

  /** Its disk is gone. Only while it is down. */
  async wipe(): Promise<void> {
    if (this.#state !== 'down') throw new Error(`${this.id} is ${this.#state}`);
    await stat(this.dataDirectory);
    await rm(this.dataDirectory, { recursive: true });
    const left = await stat(this.dataDirectory).catch(() => undefined);
    if (left !== undefined) throw new Error(`${this.dataDirectory} is still there`);
  }

  /** Whether it takes connections of clients. */
  accepts(): Promise<boolean> {
    const { host, port } = this.addresses.mqtt;
    return new Promise((done) => {
      const socket = connect({ host, port, timeout: 1000 });
      const end = (value: boolean) => (): void => {
        socket.destroy();
        done(value);
      };
      socket.once('connect', end(true));
      socket.once('error', end(false));
      socket.once('timeout', end(false));
    });
  }

  /** Of all its processes so far. */
  async cpuSeconds(): Promise<number> {
    const now = this.#child === undefined ? 0 : await cpuSecondsOf(this.#pid);
    return this.#cpuSeconds + now;
  }

  get #pid(): number {
    const pid = this.#child?.pid;
    if (pid === undefined) throw new Error(`${this.id} does not run`);
    return pid;
  }

  #signal(signal: NodeJS.Signals): void {
    if (this.#child?.pid !== undefined) signalGroup(this.#child.pid, signal);
  }

  async #end(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    this.#cpuSeconds = await this.cpuSeconds();
    this.#child = undefined;
    this.#state = 'down';
    if (child.exitCode === null && child.signalCode === null) {
      const exit = once(child, 'exit');
      if (child.pid !== undefined) signalGroup(child.pid, signal);
      await exit;
    }
    this.#forget();
  }

  #ended(child: ChildProcess, how: string): void {
    if (this.#child !== child) return;
    this.#child = undefined;
    this.#state = 'down';
    this.#forget();
    this.#parts.onDeath(this.id, how);
  }

  #forget(): void {
    if (this.#told !== undefined) this.#parts.guard.gone(this.#told);
    this.#told = undefined;
  }

  async #seen(what: string, look: () => Promise<boolean>): Promise<void> {
    const deadline = performance.now() + STEP_MAX_MS;
    while (!(await look())) {
      if (performance.now() > deadline) throw new Error(`${this.id} is not ${what}`);
      await new Promise((done) => {
        setTimeout(done, LOOK_MS);
      });
    }
  }
}
