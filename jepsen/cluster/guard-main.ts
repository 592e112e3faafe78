/**
 * The guard of a run: a small process that outlives the harness and clears up when it crashed. It
 * reads from its standard input what the harness makes and takes away again; when that ends without
 * `done`, it kills what is left of the run's processes and removes its network.
 *
 *     + process PID START     a group of processes, and when its first one started
 *     + netns NAME | + link NAME
 *     - the same              it is gone
 *     done                    the harness has cleared up itself
 *
 * It touches nothing that it was not told of, and no process whose start is another.
 */

import { createInterface } from 'node:readline';
import { signalGroup, startTimeOf } from './process-state.ts';
import { runProgram } from './run-program.ts';

const made = new Set<string>();
let done = false;

async function remove(thing: string): Promise<void> {
  const [kind, name = '', start] = thing.split(' ');
  switch (kind) {
    case 'process':
      // A stopped process dies of SIGKILL too.
      if ((await startTimeOf(Number(name))) === start) signalGroup(Number(name), 'SIGKILL');
      break;
    case 'netns':
      await runProgram('ip', ['netns', 'del', name]);
      break;
    case 'link':
      await runProgram('ip', ['link', 'del', name]);
      break;
    default:
      break;
  }
}

// The harness ends it by closing its input, and not by a signal to the terminal's group.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => undefined);
}
for await (const line of createInterface({ input: process.stdin })) {
  if (line === 'done') done = true;
  else if (line.startsWith('+ ')) made.add(line.slice(2));
  else if (line.startsWith('- ')) made.delete(line.slice(2));
}
if (!done) {
  // Processes were told of last: they go first, and what they lived in after them.
  for (const thing of [...made].toReversed()) {
    await remove(thing).catch((error: unknown) => {
      process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    });
  }
}
