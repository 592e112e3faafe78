/**
 * Loads the product with one mutant in it: from here on, every patched module comes from its
 * patched source. Nothing of it is written anywhere, and it ends with the process.
 */

import { readFile } from 'node:fs/promises';
import { register } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { transformWithOxc } from 'vite';

import { applyMutant } from './mutant.ts';
import type { Mutant } from './mutant.ts';

/** `root`: of the repository, with the compiled product in `dist`. */
export async function mutate(mutant: Mutant, root: string): Promise<void> {
  const sources = new Map<string, string>();
  for (const file of new Set(mutant.changes.map((change) => change.file))) {
    const source = await readFile(join(root, file), 'utf8');
    const { code } = await transformWithOxc(applyMutant(mutant, file, source), file, {
      target: 'es2023',
    });
    const compiled = join(root, 'dist', file.replace(/\.ts$/, '.js'));
    sources.set(pathToFileURL(compiled).href, withCompiledImports(code));
  }
  register('./loader-hooks.js', { parentURL: import.meta.url, data: sources });
}

/** As the compiler writes them. */
function withCompiledImports(code: string): string {
  return code.replace(/(\bfrom\s*|\bimport\s*)(["'])(\.[^"']*)\.ts\2/g, '$1$2$3.js$2');
}
