/**
 * Options of the command lines of the tests, read by the parser of Node.js: what it refuses is a
 * misuse in plain words, with the option that may have been meant.
 */

import { parseArgs } from 'node:util';

import { nearest } from '../../src/config/nearest.ts';

/** It was called wrongly: exit status 2, and no stack. */
export class Misuse extends Error {}

type Types = NonNullable<NonNullable<Parameters<typeof parseArgs>[0]>['options']>;

type Values<Options extends Types> = ReturnType<
  typeof parseArgs<{ args: string[]; options: Options }>
>['values'];

/** Throws `Misuse`. */
export function optionsOf<Options extends Types>(
  args: readonly string[],
  options: Options,
): Values<Options> {
  refuseUnknown(args, Object.keys(options));
  try {
    return parseArgs({ args: [...args], options }).values;
  } catch (error) {
    throw new Misuse(error instanceof Error ? error.message : String(error), { cause: error });
  }
}

function refuseUnknown(args: readonly string[], names: readonly string[]): void {
  const { tokens } = parseArgs({ args: [...args], options: {}, strict: false, tokens: true });
  for (const token of tokens) {
    if (token.kind !== 'option' || names.includes(token.name)) continue;
    const near = nearest(token.name, names);
    const all = names.map((name) => `--${name}`).join(', ');
    const hint = near === undefined ? `there are ${all}` : `did you mean --${near}?`;
    throw new Misuse(`unknown option '${token.rawName}': ${hint}`);
  }
}
