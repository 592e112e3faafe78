/**
 * A broker under test as a process: started on loopback with its data on the real disk, stopped and
 * removed afterwards. `cpuSeconds` is what the kernel says of the process and of those that it
 * started, all threads, user and system.
 */

import { spawn, type ChildProcess, type SpawnOptions } from 'node:child_process';
import { once } from 'node:events';
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

/** On the repository's own disk, never on a file system in memory. */
export function scratchDirectory(name: string): Promise<string> {
  return mkdtemp(join(ROOT, 'bench', 'results', `.${name}-`));
}

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
  const deadline = Date.now() + 60_000;
  while (!(await opens(program.port))) {
    if (child.exitCode !== null) {
      throw new Error(`${program.name} ended with ${child.exitCode} before it listened`);
    }
    if (Date.now() > deadline) throw new Error(`${program.name} does not listen`);
    await new Promise((resolve) => {
      setTimeout(resolve, 50);
    });
  }
}

export async function startPeer(program: PeerProgram): Promise<Peer> {
  if (await opens(program.port)) throw new Error(`port ${program.port} is taken`);
  const options: SpawnOptions = {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...process.env, ...program.env },
  };
  const child = spawn(program.command, program.args, options);
  const ended = new Promise<void>((resolve) => {
    child.once('close', () => resolve());
    child.once('error', () => resolve());
  });
  await Promise.race([once(child, 'spawn'), refusedToStart(child, program)]);
  try {
    await untilListening(child, program);
  } catch (error) {
    child.kill('SIGKILL');
    throw error;
  }
  const pid = child.pid ?? 0;
  const halt = async (): Promise<void> => {
    child.kill('SIGTERM');
    const force = setTimeout(() => child.kill('SIGKILL'), 20_000);
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
      child.kill('SIGKILL');
      await ended;
    },
    halt,
    async stop() {
      await halt();
      await rm(program.directory, { recursive: true, force: true });
    },
  };
}
