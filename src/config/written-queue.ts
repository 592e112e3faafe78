/**
 * One queue from single values, as the command line has them, by the same table of keys, units,
 * ranges and rules as a queue of a configuration file. Pure.
 */

import { checkTree } from './config.ts';
import { type MapNode, type Node, emptyMap } from './document.ts';
import { KEYS, type QueueConfig } from './keys.ts';
import { ConfigError } from './problem.ts';
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

/** What is wrong, by the path of its key; the empty path is the name. */
export interface QueueProblem {
  readonly path: string;
  readonly text: string;
}

/** The queue, or everything that is wrong. */
export function readQueue(
  name: string,
  values: ReadonlyMap<string, string | readonly string[]>,
): { readonly value: QueueConfig } | { readonly problems: readonly QueueProblem[] } {
  const tree = emptyMap(HERE);
  const queue = emptyMap(HERE);
  put(queue, ['name'], textNode(name));
  for (const [path, value] of values) put(queue, path.split('.'), nodeOf(value));
  put(tree, ['queues'], { kind: 'list', at: HERE, items: [queue] });
  try {
    const [value] = checkTree(tree).queues;
    return value === undefined ? { problems: [] } : { value };
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const problems = error.problems.map(({ key, text }) => {
      const path = key.replace(/^queues\[0\]\.?/, '').replace(/\[\d+\]$/, '');
      return { path: path === 'name' ? '' : path, text };
    });
    return { problems };
  }
}

const HERE = { source: 'the command line', line: 0, column: 0 };

function put(map: MapNode, [first = '', ...rest]: readonly string[], node: Node): void {
  if (rest.length === 0) {
    map.entries.set(first, { keyAt: HERE, node });
    return;
  }
  const there = map.entries.get(first)?.node;
  const child = there?.kind === 'map' ? there : emptyMap(HERE);
  map.entries.set(first, { keyAt: HERE, node: child });
  put(child, rest, node);
}

function nodeOf(value: string | readonly string[]): Node {
  if (typeof value === 'string') return textNode(value);
  return { kind: 'list', at: HERE, items: value.map(textNode) };
}

/** What a plain scalar of YAML would be: a number, true or false; everything else is a text. */
function textNode(written: string): Node {
  const number = /^-?\d+(\.\d+)?$/.test(written) ? Number(written) : undefined;
  const word = written === 'true' || written === 'false' ? written === 'true' : undefined;
  return { kind: 'scalar', at: HERE, value: number ?? word ?? written, written };
}
