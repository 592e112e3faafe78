/** Mutants are read, applied, and refused where they do not apply any more. */

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

import { applyMutant, parseMutant, readMutants } from './mutant.ts';

const ROOT = join(import.meta.dirname, '../..');

const TEXT = `# A bug (Raft 5.4.2)
by test/a.test.ts
file a.ts
find
  if (right) {
    go();
put
  {
    go();
find
  one
put
  two
`;

describe('a mutant', () => {
  it('is read with all its changes, and the indent of its text', () => {
    const { what, by, changes } = parseMutant('01-bug', TEXT);
    expect(by).toEqual(['test/a.test.ts']);
    expect(what).toBe('A bug (Raft 5.4.2)');
    expect(changes).toEqual([
      { file: 'a.ts', find: 'if (right) {\n  go();', put: '{\n  go();' },
      { file: 'a.ts', find: 'one', put: 'two' },
    ]);
  });

  it('applies where its text stands once', () => {
    const mutant = parseMutant('01-bug', TEXT);
    const source = 'x\nif (right) {\n  go();\n}\none';
    expect(applyMutant(mutant, 'a.ts', source)).toBe('x\n{\n  go();\n}\ntwo');
    expect(applyMutant(mutant, 'b.ts', source)).toBe(source);
  });

  it('is refused where its text is gone or stands twice', () => {
    const mutant = parseMutant('01-bug', TEXT);
    expect(() => applyMutant(mutant, 'a.ts', 'one')).toThrow(/stands 0 times/);
    expect(() => applyMutant(mutant, 'a.ts', 'if (right) {\n  go();\none one')).toThrow(/2 times/);
  });

  it.each([
    ['without a name', 'bug', TEXT],
    ['without a description', '01-bug', TEXT.replace('# ', '  ')],
    ['that changes nothing', '01-bug', '# A bug\n'],
    ['without a put', '01-bug', '# A bug\nfile a.ts\nfind\n  x\n'],
    ['with a line that means nothing', '01-bug', `${TEXT}nothing\n`],
  ])('%s is refused', (_title, name, text) => {
    expect(() => parseMutant(name, text)).toThrow();
  });
});

describe('the mutants', () => {
  it('all apply to the source as it stands', async () => {
    const refused: string[] = [];
    for (const mutant of await readMutants(join(ROOT, 'test/mutants/patches'))) {
      for (const { file } of mutant.changes) {
        const source = await readFile(join(ROOT, file), 'utf8').catch(() => '');
        try {
          applyMutant(mutant, file, source);
        } catch (error) {
          refused.push(String(error));
        }
      }
    }
    expect(refused).toEqual([]);
  });
});
