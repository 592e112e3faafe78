/**
 * Runs the simulator against one mutant, in a process of its own, and tells in which seeds and by
 * which checks it was caught. A seed that fails without the mutant too has caught nothing.
 */

import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

import { MutantError } from './mutant.ts';
import type { Mutant } from './mutant.ts';
import type { Hunt, Level, Score } from './score.ts';

const ERRORS_SHOWN = 4000;

interface Catch {
  readonly seed: number;
  readonly check: string;
  readonly message: string;
}

/** How a mutant is looked for. */
interface World {
  readonly level: Level;
  readonly machine: 'ledger' | 'queues';
}

/** Seeds that fail without the mutant are passed over, and told: each is a finding. */
export async function huntBySeeds(mutant: Mutant, options: Hunt): Promise<Score> {
  const { proven } = options;
  if (proven === undefined) return huntFrom(mutant, options);
  const score = await huntFrom(mutant, { ...options, first: proven, seeds: 1, catches: 1 });
  return score.caught > 0 ? score : huntFrom(mutant, options);
}

async function huntFrom(mutant: Mutant, options: Hunt): Promise<Score> {
  const world = worldFor(mutant, options.level);
  const checks = new Map<string, number>();
  let [ran, caught, message, tried] = [0, 0, '', 0];
  let firstSeed: number | undefined;
  let wanted = options;
  for (;;) {
    const found = await huntOnce(mutant.name, wanted, world);
    ran += found.ran;
    for (const { seed, check, message: text } of found.catches) {
      if (!(await holdsWithout(mutant, { ...options, first: seed }, world))) continue;
      if (firstSeed === undefined) {
        firstSeed = seed;
        tried = seed - options.first + 1;
        message = text;
      }
      caught += 1;
      checks.set(check, (checks.get(check) ?? 0) + 1);
    }
    const [first, seeds] = [wanted.first + found.ran, wanted.seeds - found.ran];
    wanted = { ...wanted, first, seeds, catches: options.catches - caught };
    if (wanted.catches <= 0 || wanted.seeds <= 0) break;
  }
  return { mutant, unit: 'seeds', ran, caught, firstSeed, tried, checks, message };
}

interface Found {
  readonly ran: number;
  readonly catches: readonly Catch[];
}

/** Without a name: the product as it is. */
async function huntOnce(name: string, options: Hunt, world: World): Promise<Found> {
  const { root, first, seeds, catches } = options;
  const script = join(root, 'dist/test/mutants/run-one.js');
  const numbers = [first, seeds, catches].map(String);
  const args = [script, root, name, world.level, world.machine, ...numbers];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let errors = '';
  child.stderr.on('data', (chunk: Buffer) => {
    errors = (errors + chunk.toString()).slice(-ERRORS_SHOWN);
  });
  const ended = new Promise<number | null>((resolve) => {
    child.on('close', resolve);
  });
  const caught: Catch[] = [];
  let ran: number | undefined;
  for await (const text of createInterface({ input: child.stdout })) {
    const line = JSON.parse(text) as Catch | { readonly ran: number };
    if ('ran' in line) ran = line.ran;
    else caught.push(line);
  }
  const code = await ended;
  if (code !== 0 || ran === undefined) {
    throw new MutantError(`${name} could not be run (${code}):\n${errors}`);
  }
  return { ran, catches: caught };
}

async function holdsWithout({ name }: Mutant, options: Hunt, world: World): Promise<boolean> {
  const { catches } = await huntOnce('', { ...options, seeds: 1, catches: 1 }, world);
  const [found] = catches;
  if (found === undefined) return true;
  process.stderr.write(`seed ${found.seed} fails without ${name} too: ${found.message}\n`);
  return false;
}

function worldFor({ changes }: Mutant, level: Level | undefined): World {
  const within = (folder: string): boolean => changes.every(({ file }) => file.startsWith(folder));
  const isOfQueues = within('src/machine/');
  return {
    level: level ?? (isOfQueues || within('raft/core/') ? 'core' : 'host'),
    machine: isOfQueues ? 'queues' : 'ledger',
  };
}
