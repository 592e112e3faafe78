/**
 * One queue from single values, as the command line has them, by the same table of keys, units,
 * ranges and rules as a queue of a configuration file. Pure.
 */

import { checkTree } from './config.ts';
import { type MapNode, type Node, emptyMap } from './document.ts';
import type { QueueConfig } from './keys.ts';
import { ConfigError } from './problem.ts';

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
