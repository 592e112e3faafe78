/**
 * A process with all that it started, as the kernel sees them: a shell that starts the broker, or a
 * broker with helpers of its own, is measured as a whole. Those that have ended count where their
 * parent has waited for them.
 */

import { readdir, readFile } from 'node:fs/promises';

const CLOCK_TICKS = 100;
const PARENT = 1;
/** Own user and system time, and those of children that were waited for. */
const TIMES = [11, 12, 13, 14] as const;

interface ProcessState {
  readonly pid: number;
  readonly parent: number;
  readonly cpuSeconds: number;
}

/** Undefined: it has ended meanwhile. */
async function stateOf(pid: number): Promise<ProcessState | undefined> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined);
  // The name, which may hold spaces and brackets, stands before.
  const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ');
  if (fields === undefined) return undefined;
  const ticks = TIMES.reduce((sum, at) => sum + Number(fields[at]), 0);
  return { pid, parent: Number(fields[PARENT]), cpuSeconds: ticks / CLOCK_TICKS };
}

async function treeOf(root: number): Promise<readonly ProcessState[]> {
  const names = await readdir('/proc');
  const pids = names.map(Number).filter((pid) => Number.isSafeInteger(pid));
  const states = await Promise.all(pids.map((pid) => stateOf(pid)));
  const there = states.filter((state) => state !== undefined);
  const tree = there.filter(({ pid }) => pid === root);
  // Grows while it is walked.
  for (const { pid } of tree) tree.push(...there.filter(({ parent }) => parent === pid));
  return tree;
}

export async function cpuSecondsOfTree(root: number): Promise<number> {
  const tree = await treeOf(root);
  return tree.reduce((sum, { cpuSeconds }) => sum + cpuSeconds, 0);
}

export async function residentBytesOfTree(root: number): Promise<number> {
  let bytes = 0;
  for (const { pid } of await treeOf(root)) {
    const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
    bytes += Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) * 1024;
  }
  return bytes;
}

/** Seconds that all cores together have worked, and have been there, since the machine's start. */
export async function machineSeconds(): Promise<{ readonly busy: number; readonly all: number }> {
  const line = (await readFile('/proc/stat', 'utf8')).split('\n', 1)[0] ?? '';
  const ticks = line.trim().split(/\s+/).slice(1, 9).map(Number);
  const all = ticks.reduce((sum, each) => sum + each, 0);
  const [, , , idle = 0, waiting = 0] = ticks;
  return { busy: (all - idle - waiting) / CLOCK_TICKS, all: all / CLOCK_TICKS };
}
