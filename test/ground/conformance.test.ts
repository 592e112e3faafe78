/**
 * docs/conformance/mqtt.md is true: each statement that asks something of the server names where it
 * is implemented and which tests hold it, and those files and titles exist.
 *
 * Whether a test holds what the row says is for its reader; that it runs is for the other tests.
 */

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

const ROOT = join(import.meta.dirname, '../..');
const PAGE = 'docs/conformance/mqtt.md';

interface Row {
  readonly version: string;
  readonly number: string;
  readonly asks: string;
  readonly whom: string;
  readonly where: string;
  readonly heldBy: readonly string[];
}

/** The rows of all tables of statements, with the version of the heading above them. */
async function rows(): Promise<Row[]> {
  const page = await readFile(join(ROOT, PAGE), 'utf8');
  const found: Row[] = [];
  let version = '';
  for (const line of page.split('\n')) {
    version = /^### ([\d.]+): /.exec(line)?.[1] ?? version;
    if (!/^\| \d/.test(line) || version === '') continue;
    const cells = line.slice(1, -1).split(/(?<!\\)\|/);
    const [number = '', asks = '', whom = '', where = '', heldBy = ''] = cells.map((cell) =>
      cell.trim(),
    );
    const tests = heldBy === '-' ? [] : heldBy.split('<br>');
    found.push({ version, number, asks, whom, where, heldBy: tests });
  }
  return found;
}

/** In the folder that is meant where none is named. */
function pathOf(file: string, folder: string, root: string): string {
  return join(ROOT, file.includes('/') ? root : folder, file);
}

const texts = new Map<string, Promise<string>>();

/** '' of a file that is not there. */
function textOf(path: string): Promise<string> {
  const known = texts.get(path) ?? readFile(path, 'utf8').catch(() => '');
  texts.set(path, known);
  return known;
}

/** What is wrong with `file.test.ts`: title; undefined: it is there. */
async function testProblem(reference: string): Promise<string | undefined> {
  const parts = /^`([\w/-]+\.test\.ts)`: (.+)$/.exec(reference);
  if (parts === null) return 'is not written as `file.test.ts`: title';
  const [, file = '', title = ''] = parts;
  const text = await textOf(pathOf(file, 'test/protocol/mqtt', 'test'));
  if (text === '') return 'names a file that is not there';
  const quoted = ["'", '"', '`'].some((quote) => text.includes(`${quote}${title}${quote}`));
  return quoted ? undefined : 'names a title that is not in the file';
}

describe(PAGE, () => {
  it('has as many statements of each version as it says, each once', async () => {
    const page = await readFile(join(ROOT, PAGE), 'utf8');
    const all = await rows();
    for (const version of ['3.1.1', '5.0']) {
      const numbers = all.filter((row) => row.version === version).map(({ number }) => number);
      expect(new Set(numbers).size).toBe(numbers.length);
      for (const number of numbers) expect(number).toMatch(/^\d+\.\d+\.\d+-\d+$/);
      const said = page.split('\n').find((line) => line.startsWith(`| ${version}`));
      expect(Number(said?.split('|')[3])).toBe(numbers.length);
    }
  });

  it('says of each statement whom it asks, and of the server where it is implemented', async () => {
    for (const { version, number, asks, whom, where } of await rows()) {
      const row = `${version} ${number}`;
      expect(['server', 'client', 'both'], row).toContain(whom);
      expect(asks, row).toMatch(/\.$/);
      if (where === '-') {
        expect(whom, row).toBe('client');
        continue;
      }
      const file = where.replaceAll('`', '');
      expect(await textOf(pathOf(file, 'src/protocol/mqtt', '')), `${row}: ${file}`).not.toBe('');
    }
  });

  it('names tests for each statement of the server, and all that it names are there', async () => {
    const problems: string[] = [];
    for (const { version, number, whom, heldBy } of await rows()) {
      const row = `${version} ${number}`;
      if (whom !== 'client' && heldBy.length === 0) problems.push(`${row}: no test`);
      for (const reference of heldBy) {
        const problem = await testProblem(reference);
        if (problem !== undefined) problems.push(`${row}: ${reference} ${problem}`);
      }
    }
    expect(problems).toEqual([]);
  });
});
