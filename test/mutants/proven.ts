/**
 * Seeds that are known to catch a mutant, in `proven.json`: they are tried first, so that a run
 * over all mutants is short. A seed that catches nothing any more costs nothing but a search.
 */

import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

const FILE = 'test/mutants/proven.json';

export interface Proven {
  readonly seed: number;
  readonly check: string;
  /** So many had been tried when it was found. */
  readonly tried: number;
}

export type AllProven = Readonly<Record<string, Proven>>;

export async function readProven(root: string): Promise<AllProven> {
  return JSON.parse(await readFile(join(root, FILE), 'utf8')) as AllProven;
}

export async function writeProven(root: string, proven: AllProven): Promise<void> {
  const sorted = Object.entries(proven).toSorted(([one], [other]) => (one < other ? -1 : 1));
  const text = JSON.stringify(Object.fromEntries(sorted), undefined, 2);
  await writeFile(join(root, FILE), `${text}\n`);
}
