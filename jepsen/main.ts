/**
 * `npm run jepsen -- [options]`: real brokers under load and faults, a history of everything that
 * the clients saw, and checkers that say whether the brokers kept their word. The evidence is in
 * `jepsen/runs/<time>-<process>/`.
 *
 * Exit status 0: valid; 1: a checker found something, or a fault that was asked for was not
 * installed; 2: called wrongly; 3: the run could not be made. Ctrl-C ends the load early and still
 * heals, drains and judges; a second one stops at once, and the guard clears up.
 */

import { existsSync } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { ROOT } from './cluster/cluster.ts';
import { judge } from './judge.ts';
import { Misuse, type RunOptions, USAGE, listText, requestOf } from './options.ts';
import { showProgress } from './progress.ts';
import { RUN_FILE, run } from './run.ts';

async function runDirectory(): Promise<string> {
  const name = new Date().toISOString().replaceAll(':', '-').replace(/\..*/, '');
  // With its number: several may begin in one second.
  const directory = join(ROOT, 'jepsen', 'runs', `${name}-${process.pid}`);
  await mkdir(join(ROOT, 'jepsen', 'runs'), { recursive: true });
  // Not recursive: two runs must not share it.
  await mkdir(directory);
  return directory;
}

async function whole(options: RunOptions): Promise<number> {
  const directory = await runDirectory();
  process.stdout.write(`evidence: ${directory}\n`);
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      if (stop.signal.aborted) process.exit(130);
      process.stdout.write(`\n${signal}: healing and draining\n`);
      stop.abort();
    });
  }
  await run({
    directory,
    options,
    stop: stop.signal,
    progress: (now) => showProgress(options.minutes, now),
  });
  const { valid, text } = await judge(directory);
  process.stdout.write(`\n${text}report: ${join(directory, 'report.html')}\n`);
  // Of a valid run the data proves nothing more.
  if (valid) await removeData(directory, options.nodes);
  return valid ? 0 : 1;
}

async function removeData(directory: string, nodes: number): Promise<void> {
  for (let node = 1; node <= nodes; node += 1) {
    await rm(join(directory, 'nodes', `n${node}`, 'data'), { recursive: true, force: true });
  }
}

async function main(): Promise<number> {
  const request = requestOf(process.argv.slice(2));
  switch (request.kind) {
    case 'list':
      process.stdout.write(listText());
      return 0;
    case 'check': {
      const directory = resolve(request.directory);
      if (!existsSync(join(directory, RUN_FILE))) throw new Misuse(`no run in ${directory}`);
      const { valid, text } = await judge(directory);
      process.stdout.write(text);
      return valid ? 0 : 1;
    }
    case 'run':
      return whole(request.options);
  }
}

try {
  process.exitCode = await main();
} catch (error) {
  const wrong = error instanceof Misuse;
  const text = wrong
    ? `${error.message}\n\n${USAGE}`
    : `${error instanceof Error ? error.stack : String(error)}\n`;
  process.stderr.write(text);
  process.exitCode = wrong ? 2 : 3;
}
