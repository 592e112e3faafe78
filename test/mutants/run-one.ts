/**
 * One mutant, or none (no name), in a process of its own: runs seeds until so many have caught it,
 * and prints one line of JSON for each seed that did, and one at the end.
 */

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

import type * as ofLedger from '../../raft/simulation/ledger.ts';
import type * as ofSeeds from '../../raft/simulation/run-seed.ts';
import type * as ofQueues from '../simulate/queue-machine.ts';
import { parseMutant } from './mutant.ts';

const [root = '', name = '', level = '', machine = '', ...numbers] = process.argv.slice(2);
const [first = 1, count = 1, catches = 1] = numbers.map(Number);

/** Behind the registration of the mutant, so from here on with it. */
function load(file: string): Promise<unknown> {
  return import(pathToFileURL(join(root, 'dist', file)).href);
}

const path = join(root, 'test/mutants/patches', `${name}.txt`);
if (name !== '') {
  // With a compiler behind it, that takes as long to load as a seed takes to run.
  const { mutate } = await import('./mutate.ts');
  await mutate(parseMutant(name, await readFile(path, 'utf8')), root);
}
const { runSeed } = (await load('raft/simulation/run-seed.js')) as typeof ofSeeds;
const { ledgers } = (await load('raft/simulation/ledger.js')) as typeof ofLedger;
const { queues } = (await load('test/simulate/queue-machine.js')) as typeof ofQueues;

let [ran, caught] = [0, 0];
for (let seed = first; ran < count && caught < catches; seed += 1) {
  const changes = { level: level === 'core' ? 'core' : 'host' } as const;
  const { violation } = await runSeed(seed, changes, machine === 'queues' ? queues : ledgers);
  ran += 1;
  if (violation === undefined) continue;
  caught += 1;
  say({ seed, check: violation.check, message: violation.message });
}
say({ ran, caught });

function say(line: object): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}
