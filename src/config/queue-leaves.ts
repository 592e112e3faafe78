/**
 * The keys of one queue as a flat list of paths, from the same table as the configuration file.
 *
 * The options of the command line are made of them. Pure, and apart from what reads YAML, so that a
 * command need not load that.
 */

import { KEYS } from './keys.ts';
import type { Key, Leaf } from './schema.ts';

/** A key of a queue that takes values: its path below the queue, such as `retention.age`. */
export interface QueueKey {
  readonly path: string;
  readonly key: Leaf;
}

/** In the order of the table; without the name, and without lists of groups. */
export function queueKeys(): readonly QueueKey[] {
  return leaves(KEYS.keys.queues.each.keys, '').filter(({ path }) => path !== 'name');
}

function leaves(keys: Readonly<Record<string, Key>>, prefix: string): QueueKey[] {
  return Object.entries(keys).flatMap(([name, key]) => {
    const path = `${prefix}${name}`;
    if (key.kind === 'section') return leaves(key.keys, `${path}.`);
    return key.kind === 'sections' ? [] : [{ path, key }];
  });
}
