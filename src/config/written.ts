/**
 * A configuration in force, written out as a file that means the same: every key with its value,
 * the defaults too. Pure. No value here is a secret; a key that is one must be left out.
 */

import { stringify } from 'yaml';
import { type Config, KEYS } from './keys.ts';
import type { Address, Key } from './schema.ts';
import { writeAddress, writeDuration, writeSize } from './values.ts';

export function writeConfig(config: Config): string {
  return stringify(valueOf(KEYS, config), { lineWidth: 0, nullStr: '' });
}

/** What the checker made of a key, back to what a person writes; undefined is left out. */
function valueOf(key: Key, value: unknown): unknown {
  switch (key.kind) {
    case 'section': {
      const values = value as Record<string, unknown>;
      const entries = Object.entries(key.keys).map(([name, child]) => [
        name,
        valueOf(child, values[name]),
      ]);
      return Object.fromEntries(entries.filter(([, child]) => child !== undefined));
    }
    case 'sections':
      return (value as readonly unknown[]).map((each) => valueOf(key.each, each));
    case 'duration':
      return writeDuration(value as number);
    case 'number':
      return value ?? 'auto';
    case 'size':
      return value === undefined ? 'auto' : writeSize(value as number);
    case 'address':
      return value === undefined ? 'off' : writeAddress(value as Address);
    case 'text':
    case 'choice':
    case 'switch':
    case 'texts':
      return value;
    default:
      return key satisfies never;
  }
}
