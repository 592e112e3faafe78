/**
 * A broker under test as a process: started on loopback with its data on the real disk, stopped and
 * removed afterwards. `cpuSeconds` is what the kernel says of the process and of those that it
 * started, all threads, user and system.
 */

import { spawn, type ChildProcess, type SpawnOptions } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cpuSecondsOfTree, residentBytesOfTree } from './process-tree.ts';

export interface Peer {
  readonly name: string;
  readonly port: number;
  readonly directory: string;
  cpuSeconds(): Promise<number>;
  /** Resident memory in bytes. */
  residentBytes(): Promise<number>;
  /** `kill -9`; its data stays. */
  kill(): Promise<void>;
  /** Ends it and leaves its data. */
  halt(): Promise<void>;
  /** Ends it and removes its data. */
  stop(): Promise<void>;
}

/** dist/bench/peers is three levels below the repository's root. */
export const ROOT = fileURLToPath(new URL('../../../', import.meta.url));

const scratch = new Set<string>();
const running = new Set<number>();

/** On the repository's own disk, never on a file system in memory. */
export async function scratchDirectory(name: string): Promise<string> {
  const directory = await mkdtemp(join(ROOT, 'bench', 'results', `.${name}-`));
  scratch.add(directory);
  return directory;
}

/** However this process ends, nothing that it started runs on, and nothing of it stays. */
function clearUp(): void {
  for (const pid of running) signalGroup(pid, 'SIGKILL');
  // What was killed may still be writing.
  const how = { recursive: true, force: true, maxRetries: 20, retryDelay: 100 };
  for (const directory of scratch) rmSync(directory, how);
}

/** A shell that starts a broker is in one group with it. */
function signalGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** `child` leads a group of its own (`detached`), which Ctrl-C does not reach. */
export function endWithUs(child: ChildProcess): void {
  const pid = child.pid ?? 0;
  if (pid === 0) return;
  running.add(pid);
  child.once('close', () => running.delete(pid));
}

process.once('exit', clearUp);
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  // Again and again: a second one must not end it while it clears up.
  process.on(signal, () => process.exit(1));
}

/** On a machine that others use as well. */
const LISTENS_MAX_MS = 180_000;

export interface PeerProgram {
  readonly name: string;
  readonly port: number;
  readonly directory: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
}

function opens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port });
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

async function refusedToStart(child: ChildProcess, program: PeerProgram): Promise<never> {
  const [error] = (await once(child, 'error')) as [Error];
  const way = 'bash test/support/install-programs.sh bench';
  throw new Error(`${program.name} does not start (is it installed? ${way}): ${error.message}`);
}

async function untilListening(child: ChildProcess, program: PeerProgram): Promise<void> {
  const deadline = Date.now() + LISTENS_MAX_MS;
  while (!(await opens(program.port))) {
    const end = child.exitCode ?? child.signalCode;
    if (end !== null) throw new Error(`${program.name} ended with ${end} before it listened`);
    if (Date.now() > deadline) throw new Error(`${program.name} does not listen`);
    await new Promise((resolve) => {
      setTimeout(resolve, 50);
    });
  }
}

/** A broker of its own for each figure: what one run left behind is not carried into the next. */
export async function fresh<T>(
  start: () => Promise<Peer>,
  use: (peer: Peer) => Promise<T>,
): Promise<T> {
  const peer = await start();
  try {
    return await use(peer);
  } finally {
    await peer.stop();
  }
}

export async function startPeer(program: PeerProgram): Promise<Peer> {
  if (await opens(program.port)) throw new Error(`port ${program.port} is taken`);
  const options: SpawnOptions = {
    // An inspector tells there of each who asks it.
    stdio: ['ignore', 'ignore', program.env?.['NODE_OPTIONS'] ? 'ignore' : 'inherit'],
    env: { ...process.env, ...program.env },
    detached: true,
  };
  const child = spawn(program.command, program.args, options);
  const ended = new Promise<void>((resolve) => {
    child.once('close', () => resolve());
    child.once('error', () => resolve());
  });
  await Promise.race([once(child, 'spawn'), refusedToStart(child, program)]);
  const pid = child.pid ?? 0;
  endWithUs(child);
  try {
    await untilListening(child, program);
  } catch (error) {
    signalGroup(pid, 'SIGKILL');
    throw error;
  }
  const halt = async (): Promise<void> => {
    child.kill('SIGTERM');
    const force = setTimeout(() => signalGroup(pid, 'SIGKILL'), 20_000);
    await ended;
    clearTimeout(force);
  };
  return {
    name: program.name,
    port: program.port,
    directory: program.directory,
    cpuSeconds: () => cpuSecondsOfTree(pid),
    residentBytes: () => residentBytesOfTree(pid),
    async kill() {
      signalGroup(pid, 'SIGKILL');
      await ended;
    },
    halt,
    async stop() {
      await halt();
      await rm(program.directory, { recursive: true, force: true });
    },
  };
}
