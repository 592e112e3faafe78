/**
 * A mutant: a known bug as a named patch of the source. Text files `patches/NN-name.txt` hold them:
 *
 *   # What is wrong, in a sentence, with its section.
 *   file raft/core/some-file.ts
 *   find
 *     the text that stands there, once
 *   put
 *     what stands there instead
 *
 * Lines `by test/some.test.ts` name tests that have to fail instead of seeds of the simulator. Any
 * number of `file`, `find`, `put` may follow one another. Lines of text are indented by two
 * spaces that do not count. A patch whose text is not there exactly once does not apply, and that
 * is an error: the bug it stands for would not be looked for any more.
 */

import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

export interface Change {
  readonly file: string;
  readonly find: string;
  readonly put: string;
}

export interface Mutant {
  /** `NN-name`. */
  readonly name: string;
  readonly what: string;
  /** Test files that must fail with it; none: the simulator must catch it. */
  readonly by: readonly string[];
  readonly changes: readonly Change[];
}

export class MutantError extends Error {}

const NAME = /^\d\d[a-z]?-[a-z0-9-]+$/;

export function parseMutant(name: string, text: string): Mutant {
  if (!NAME.test(name)) throw new MutantError(`${name}: a mutant is named NN-name`);
  const what: string[] = [];
  const by: string[] = [];
  const changes: Change[] = [];
  let file: string | undefined;
  let part: string[] | undefined;
  let find: string[] | undefined;
  let put: string[] | undefined;
  const end = (): void => {
    if (find === undefined && put === undefined) return;
    if (file === undefined || find === undefined || put === undefined) {
      throw new MutantError(`${name}: file, find and put come in this order`);
    }
    changes.push({ file, find: find.join('\n'), put: put.join('\n') });
    find = undefined;
    put = undefined;
  };
  for (const [at, line] of text.split('\n').entries()) {
    if (line.startsWith('# ')) what.push(line.slice(2));
    else if (line.startsWith('by ')) by.push(line.slice('by '.length).trim());
    else if (line.startsWith('file ')) {
      end();
      file = line.slice('file '.length).trim();
    } else if (line === 'find') {
      end();
      part = find = [];
    } else if (line === 'put') part = put = [];
    else if (line.startsWith('  ') && part !== undefined) part.push(line.slice(2));
    else if (line === '' && part !== undefined) part.push('');
    else if (line !== '') throw new MutantError(`${name}: line ${at + 1} means nothing: ${line}`);
  }
  end();
  if (what.length === 0 || changes.length === 0) {
    throw new MutantError(`${name}: it has no description, or changes nothing`);
  }
  return { name, what: what.join(' '), by, changes: changes.map(trimmed) };
}

function trimmed({ file, find, put }: Change): Change {
  return { file, find: find.replace(/\n+$/, ''), put: put.replace(/\n+$/, '') };
}

/** The source of one file with every change of the mutant that is for it. */
export function applyMutant(mutant: Mutant, file: string, source: string): string {
  let text = source;
  for (const change of mutant.changes) {
    if (change.file !== file) continue;
    const parts = text.split(change.find);
    if (parts.length !== 2) {
      const times = parts.length - 1;
      const where = `${mutant.name} does not apply: in ${file} its text stands ${times} times`;
      throw new MutantError(`${where}:\n${change.find}`);
    }
    text = parts.join(change.put);
  }
  return text;
}

/** All of a folder, by name. */
export async function readMutants(folder: string): Promise<Mutant[]> {
  const names = (await readdir(folder)).filter((name) => name.endsWith('.txt')).toSorted();
  const texts = names.map(async (name) => {
    const text = await readFile(join(folder, name), 'utf8');
    return parseMutant(name.slice(0, -'.txt'.length), text);
  });
  return Promise.all(texts);
}
