/**
 * What the kernel says of a process, read from /proc: whether it is the one that was started, and
 * whether all of its threads are stopped. A number of a process may be used again by another one;
 * with the time of its start it is one for good.
 */

import { readFile, readdir } from 'node:fs/promises';

/** Fields of /proc/PID/stat behind the name, which may hold spaces and brackets. */
async function fieldsOf(path: string): Promise<readonly string[] | undefined> {
  // The process may be gone.
  const stat = await readFile(path, 'utf8').catch(() => undefined);
  return stat?.slice(stat.lastIndexOf(')') + 2).split(' ');
}

const STATE = 0;
const START_TIME = 19;
const USER_TICKS = 11;
const SYSTEM_TICKS = 12;
const TICKS_PER_SECOND = 100;

/** In ticks since the machine's start; undefined when there is no such process. */
export async function startTimeOf(pid: number): Promise<string | undefined> {
  const fields = await fieldsOf(`/proc/${pid}/stat`);
  // A zombie has ended, and waits only for its parent to hear of it.
  return fields?.[STATE] === 'Z' ? undefined : fields?.[START_TIME];
}

/** Every thread, because a signal takes its time to reach each of them. */
export async function isStopped(pid: number): Promise<boolean> {
  const threads = await readdir(`/proc/${pid}/task`).catch(() => []);
  const states = await Promise.all(
    threads.map((thread) => fieldsOf(`/proc/${pid}/task/${thread}/stat`)),
  );
  const there = states.filter((fields) => fields !== undefined);
  return there.length > 0 && there.every((fields) => fields[STATE] === 'T');
}

export async function cpuSecondsOf(pid: number): Promise<number> {
  const fields = await fieldsOf(`/proc/${pid}/stat`);
  return (
    (Number(fields?.[USER_TICKS] ?? 0) + Number(fields?.[SYSTEM_TICKS] ?? 0)) / TICKS_PER_SECOND
  );
}

/** Ends a whole group of processes; one that is gone already is no error. */
export function signalGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
