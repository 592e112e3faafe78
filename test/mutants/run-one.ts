/**
 * One mutant, in a process of its own: runs seeds until so many have caught it, and prints one line
 * of JSON for each seed that did, and one at the end.
 */

import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

import type * as seeds from '../../raft/simulation/run-seed.ts';
import { parseMutant } from './mutant.ts';
import { mutate } from './mutate.ts';
import { readFile } from 'node:fs/promises';

const [root = '', name = '', level = '', ...numbers] = process.argv.slice(2);
const [first = 1, count = 1, catches = 1] = numbers.map(Number);

const path = join(root, 'test/mutants/patches', `${name}.txt`);
await mutate(parseMutant(name, await readFile(path, 'utf8')), root);
const simulation = join(root, 'dist/raft/simulation/run-seed.js');
const { runSeed } = (await import(pathToFileURL(simulation).href)) as typeof seeds;

let [ran, caught] = [0, 0];
for (let seed = first; ran < count && caught < catches; seed += 1) {
  const { violation } = await runSeed(seed, { level: level === 'core' ? 'core' : 'host' });
  ran += 1;
  if (violation === undefined) continue;
  caught += 1;
  say({ seed, check: violation.check, message: violation.message });
}
say({ ran, caught });

function say(line: object): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}
