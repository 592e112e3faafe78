/** Wrong words on the command lines of simulator and mutants are told, and what was meant. */

import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

import { Misuse } from '../support/options.ts';
import { asked } from './command-line.ts';

const ROOT = join(import.meta.dirname, '../..');

function refused(args: readonly string[]): string {
  try {
    asked(args);
  } catch (error) {
    if (error instanceof Misuse) return error.message;
    throw error;
  }
  return 'taken';
}

describe('the command line of the mutants', () => {
  it.each([
    [['--sedes', '9'], "unknown option '--sedes': did you mean --seeds?"],
    [['--seeds', '9', '--leval=core'], "unknown option '--leval': did you mean --level?"],
    [['--seeds', '0'], "--seeds is a number from 1 to 1000000, not '0'"],
    [['--level', 'disk'], "--level is host or core, not 'disk'"],
  ])('refuses %j', (args, message) => {
    expect(refused(args)).toBe(message);
  });

  it('names all options where none is near', () => {
    const message = refused(['--nonsense']);
    expect(message).toMatch(
      /^unknown option '--nonsense': there are --seeds, --first, .*--record$/,
    );
  });

  it.each([[['stray']], [['--seeds']], [['--proven=yes']]])('refuses %j', (args) => {
    expect(refused(args)).not.toBe('taken');
  });

  it('takes what is right', () => {
    const wanted = asked(['--only', '06,24', '--seeds=1000', '--proven']);
    expect(wanted).toMatchObject({ only: ['06', '24'], seeds: 1000, proven: true, first: 1 });
  });
});

describe('a program that is called wrongly', () => {
  it.each(['mutants', 'simulate'])('npm run %s: tells it without a stack, status 2', (name) => {
    const script = join(ROOT, 'dist/test', name, 'main.js');
    const args = [script, '--levle', 'core'];
    const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
    expect(stderr).toMatch(/^unknown option '--levle': did you mean --level\?\n\nnpm run /);
    expect(stderr).not.toMatch(/\n\s+at /);
  });
});
