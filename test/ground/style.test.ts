/**
 * Watches the rules of style that no formatter holds: size of files and functions, depth,
 * parameters, columns, banned names and words. `style-exceptions.json` lists how many breaches each
 * file still has; the list only shrinks: a breach more fails, and so does a number that is higher
 * than what is there.
 */

import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';

const ROOT = join(import.meta.dirname, '../..');
const FOLDERS = ['storage', 'raft', 'src', 'bench', 'examples', 'test', 'jepsen'];
const run = promisify(execFile);
const MAX_BUFFER = 64 * 1024 * 1024;

/** Rule -> file -> breaches. */
type Breaches = Record<string, Record<string, number>>;

async function exceptions(): Promise<Breaches> {
  const path = join(import.meta.dirname, 'style-exceptions.json');
  return JSON.parse(await readFile(path, 'utf8')) as Breaches;
}

/** Tracked and new files, without what git ignores. */
async function sources(): Promise<string[]> {
  const args = ['ls-files', '--cached', '--others', '--exclude-standard', '--deduplicate', '--'];
  const { stdout } = await run('git', [...args, ...FOLDERS], { cwd: ROOT, maxBuffer: MAX_BUFFER });
  const deleted = await run('git', ['ls-files', '--deleted', '--', ...FOLDERS], { cwd: ROOT });
  const gone = new Set(deleted.stdout.split('\n'));
  const names = stdout.split('\n').filter((name) => /\.[cm]?ts$/.test(name) && !gone.has(name));
  expect(names.length).toBeGreaterThan(20);
  return names;
}

function count(into: Record<string, number>, file: string): void {
  into[file] = (into[file] ?? 0) + 1;
}

interface Report {
  readonly diagnostics: readonly { readonly code?: string; readonly filename: string }[];
}

/** oxlint ends with 1 where it finds something: its report is the answer either way. */
async function lint(): Promise<Report> {
  const args = ['-c', '.oxlintrc.style.json', '-f', 'json', '.'];
  const binary = join(ROOT, 'node_modules/.bin/oxlint');
  const stdout = await run(binary, args, { cwd: ROOT, maxBuffer: MAX_BUFFER }).then(
    (done) => done.stdout,
    (error: { stdout: string }) => error.stdout,
  );
  return JSON.parse(stdout) as Report;
}

/** Lines of each file that match, as `file:line: text`. */
async function grep(pattern: RegExp, names: readonly string[]): Promise<string[]> {
  const found: string[] = [];
  for (const name of names) {
    const lines = (await readFile(join(ROOT, name), 'utf8')).split('\n');
    for (const [index, line] of lines.entries()) {
      if (pattern.test(line)) found.push(`${name}:${index + 1}: ${line.trim()}`);
    }
  }
  return found;
}

describe('style', () => {
  it('files, functions, depth and parameters stay within their limits', async () => {
    const found: Breaches = {
      'max-lines': {},
      'max-lines-per-function': {},
      'max-depth': {},
      'max-params': {},
    };
    for (const { code, filename } of (await lint()).diagnostics) {
      const rule = /^eslint\((.+)\)$/.exec(code ?? '')?.[1] ?? `no rule in ${filename}`;
      count((found[rule] ??= {}), filename);
    }
    const others = { columns: {}, buffers: {} };
    expect({ ...found, ...others }).toEqual({ ...(await exceptions()), ...others });
  });

  it('lines have at most 100 columns, but for the titles of tests', async () => {
    const found: Record<string, number> = {};
    // A title is a sentence: the formatter breaks no text, and neither do we.
    const title = /^test\/[^:]+:\d+: ((test|it|describe)\(|'[^']*',$)/;
    for (const line of await grep(/^.{101,}$/u, await sources())) {
      if (title.test(line)) continue;
      count(found, line.slice(0, line.indexOf(':')));
    }
    expect(found).toEqual((await exceptions())['columns']);
  });

  it('files have kebab-case names, none of them a lumber room', async () => {
    const lumber = /(^|-)(util|utils|helper|helpers|manager|common|misc)(-|\.|$)/;
    const kebab = /^[a-z0-9]+(-[a-z0-9]+)*(\.[a-z0-9-]+)*\.[cm]?ts$/;
    const names = await sources();
    expect(names.filter((name) => !kebab.test(basename(name)))).toEqual([]);
    expect(names.filter((name) => name.split('/').some((part) => lumber.test(part)))).toEqual([]);
  });

  it('no identifier speaks of flushing: data is appended, synced, sealed', async () => {
    const names = (await sources()).filter((name) => !name.startsWith('test/ground/'));
    expect(await grep(/\bflush|[a-z]Flush/, names)).toEqual([]);
  });

  it('what is read into and stored is plain memory: the slice of a Buffer is a view (finding 0022)', async () => {
    const names = (await sources()).filter((name) =>
      /^(storage|src\/(shard|machine))\//.test(name),
    );
    const found: Record<string, number> = {};
    for (const line of await grep(/\bBuffer\.alloc/, names)) {
      count(found, line.slice(0, line.indexOf(':')));
    }
    expect(found).toEqual((await exceptions())['buffers']);
  });

  it('nothing is loaded by a dynamic import, but by the command line and what composes the shards', async () => {
    const names = (await sources()).filter((name) => /^(storage|raft|src)\//.test(name));
    // These may import everything, so that no rule of a layer is passed by.
    const loading = /^src\/(cli\/.*|shard-threads\.ts|shard-host\.ts)$/;
    const product = names.filter((name) => !loading.test(name));
    expect(await grep(/\bimport\(|getBuiltinModule|createRequire/, product)).toEqual([]);
  });

  it('properties are looked at with the seed of the run', async () => {
    const names = (await sources()).filter((name) => name !== 'test/support/properties.ts');
    expect(await grep(/from ['"]fast-check/, names)).toEqual([]);
  });

  it('no mark of unfinished work and no rule switched off in a file', async () => {
    const names = (await sources()).filter((name) => !name.startsWith('test/ground/'));
    const marks = /\b(TODO|FIXME|XXX|HACK)\b|(oxlint|eslint)-disable|@ts-(ignore|nocheck|expect)/;
    expect(await grep(marks, names)).toEqual([]);
  });

  it('every file says in its first lines what it is', async () => {
    const names = (await sources()).filter((name) => /^(storage|src|raft)\//.test(name));
    const silent: string[] = [];
    for (const name of names) {
      const text = await readFile(join(ROOT, name), 'utf8');
      if (!/^(#!.*\n)?\/\*\*/.test(text)) silent.push(name);
    }
    expect(silent).toEqual([]);
  });
});
