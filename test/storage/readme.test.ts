/** The example of `storage/README.md` runs as it stands there. */
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { expect, test } from 'vitest';

const ROOT = join(import.meta.dirname, '../..');
const run = promisify(execFile);

test('the example of the README of the storage engine appends, syncs and reads', async () => {
  const readme = await readFile(join(ROOT, 'storage/README.md'), 'utf8');
  const example = /```ts\n([\s\S]+?)```/.exec(readme)?.[1] ?? '';
  const built = join(ROOT, 'dist/storage/storage.js');
  const folder = await mkdtemp(join(tmpdir(), 'fluxmq-readme-'));
  try {
    const program = join(folder, 'example.mjs');
    await writeFile(program, example.replace("'fluxmq/storage'", JSON.stringify(built)));
    await run('mkdir', ['data'], { cwd: folder });
    const first = await run(process.execPath, [program], { cwd: folder });
    expect(first.stdout).toBe('1 hello\n');
    const second = await run(process.execPath, [program], { cwd: folder });
    expect(second.stdout).toBe('1 hello\n2 hello\n');
    expect(first.stderr + second.stderr).toBe('');
  } finally {
    await rm(folder, { recursive: true });
  }
});
