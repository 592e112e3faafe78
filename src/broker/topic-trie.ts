/**
 * Topic filters in a tree of levels, and which values lie under the filters that match a topic.
 *
 * Iterative everywhere: neither a topic nor a filter from the wire chooses the depth of our stack
 * (S4). The work of a match is bounded by the nodes whose filters match a beginning of the topic;
 * that of an add or a remove by the levels of the filter. Level names are keys of maps, never
 * property names (S11).
 *
 * MQTT 5.0 section 4.7: `+` is one level, `#` the rest and its parent; a wildcard in the first
 * level does not match a topic that begins with `$` ([MQTT-4.7.2-1]). Filters must have been
 * checked: `#` last, wildcards alone in their level.
 */

interface Node<T> {
  readonly parent: Node<T> | undefined;
  /** The key in the parent. */
  readonly level: string;
  children: Map<string, Node<T>> | undefined;
  values: Set<T> | undefined;
}

export class TopicTrie<T> {
  readonly #root: Node<T> = {
    parent: undefined,
    level: '',
    children: undefined,
    values: undefined,
  };
  #size = 0;

  /** Values held, over all filters. */
  get size(): number {
    return this.#size;
  }

  /** False when the value was there. */
  add(filter: string, value: T): boolean {
    let node = this.#root;
    for (const level of filter.split('/')) {
      node.children ??= new Map();
      let child = node.children.get(level);
      if (child === undefined) {
        child = { parent: node, level, children: undefined, values: undefined };
        node.children.set(level, child);
      }
      node = child;
    }
    node.values ??= new Set();
    if (node.values.has(value)) return false;
    node.values.add(value);
    this.#size++;
    return true;
  }

  /** False when the value was not there. Nodes that hold nothing any more are removed. */
  remove(filter: string, value: T): boolean {
    let node: Node<T> | undefined = this.#root;
    for (const level of filter.split('/')) {
      node = node.children?.get(level);
      if (node === undefined) return false;
    }
    if (node.values?.delete(value) !== true) return false;
    this.#size--;
    if (node.values.size === 0) node.values = undefined;
    while (node.parent !== undefined && node.values === undefined && node.children === undefined) {
      const parent: Node<T> = node.parent;
      parent.children?.delete(node.level);
      if (parent.children?.size === 0) parent.children = undefined;
      node = parent;
    }
    return true;
  }

  /**
   * Appends to `found` each value under a matching filter; a value under two filters is there
   * twice.
   */
  match(topic: string, found: T[]): void {
    const levels = topic.split('/');
    const last = levels.length;
    const wildcardsFrom = topic.startsWith('$') ? 1 : 0;
    const nodes: Node<T>[] = [this.#root];
    const depths: number[] = [0];
    for (;;) {
      const node = nodes.pop();
      const depth = depths.pop();
      if (node === undefined || depth === undefined) return;
      const children = node.children;
      if (depth === last) collect(node, found);
      if (children === undefined) continue;
      if (depth >= wildcardsFrom) {
        const rest = children.get('#');
        if (rest !== undefined) collect(rest, found);
      }
      if (depth === last) continue;
      if (depth >= wildcardsFrom) {
        const any = children.get('+');
        if (any !== undefined) {
          nodes.push(any);
          depths.push(depth + 1);
        }
      }
      const level = levels[depth];
      // A level of a topic name is never a wildcard, so this cannot find the nodes above again.
      const exact = level === undefined ? undefined : children.get(level);
      if (exact !== undefined) {
        nodes.push(exact);
        depths.push(depth + 1);
      }
    }
  }
}

function collect<T>(node: Node<T>, found: T[]): void {
  if (node.values === undefined) return;
  for (const value of node.values) found.push(value);
}

export function hasWildcard(filter: string): boolean {
  return filter.includes('+') || filter.includes('#');
}

/** Levels of a topic name or filter, at least 1; counts no further than `limit + 1`. */
export function countLevels(topic: string, limit: number): number {
  let levels = 1;
  let at = topic.indexOf('/');
  while (at !== -1 && levels <= limit) {
    levels++;
    at = topic.indexOf('/', at + 1);
  }
  return levels;
}
