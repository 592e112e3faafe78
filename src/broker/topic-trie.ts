/**
 * Topic filters, and which values lie under the filters that match a topic.
 *
 * A filter without a wildcard matches one topic, by which it is found. Those with wildcards lie in
 * a tree of levels. Most filters are of the first kind, most nodes have one child, and most filters
 * one value, so none of these has a collection of its own: there may be millions.
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

import { SteadyMap } from './steady-map.ts';

/** More than one value of the same filter. */
class Several<T> {
  readonly all: Set<T>;

  constructor(one: T, other: T) {
    this.all = new Set([one, other]);
  }
}

type Values<T> = T | Several<T>;

interface Node<T> {
  readonly parent: Node<T> | undefined;
  /** The key in the parent. */
  readonly level: string;
  children: Node<T> | SteadyMap<Node<T>> | undefined;
  values: Values<T> | undefined;
}

export class TopicTrie<T> {
  readonly #exact = new SteadyMap<Values<T>>();
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

  /** The value of a filter that has one; of several, the first. */
  first(filter: string): T | undefined {
    const values = hasWildcard(filter) ? this.#find(filter)?.values : this.#exact.get(filter);
    if (!(values instanceof Several)) return values;
    for (const value of values.all) return value;
    return undefined;
  }

  /** False when the value was there. */
  add(filter: string, value: T): boolean {
    if (!hasWildcard(filter)) {
      const values = this.#exact.get(filter);
      if (holds(values, value)) return false;
      this.#exact.set(filter, withValue(values, value));
    } else {
      const node = this.#make(filter);
      if (holds(node.values, value)) return false;
      node.values = withValue(node.values, value);
    }
    this.#size++;
    return true;
  }

  /** False when the value was not there. Nodes that hold nothing any more are removed. */
  remove(filter: string, value: T): boolean {
    if (!hasWildcard(filter)) {
      const values = this.#exact.get(filter);
      if (!holds(values, value)) return false;
      const left = withoutValue(values, value);
      if (left === undefined) this.#exact.delete(filter);
      else this.#exact.set(filter, left);
    } else {
      const node = this.#find(filter);
      if (node === undefined || !holds(node.values, value)) return false;
      node.values = withoutValue(node.values, value);
      removeEmpty(node);
    }
    this.#size--;
    return true;
  }

  #find(filter: string): Node<T> | undefined {
    let node: Node<T> | undefined = this.#root;
    for (let at = 0; node !== undefined && at <= filter.length;) {
      const end = levelEnd(filter, at);
      node = childOf(node, filter.slice(at, end));
      at = end + 1;
    }
    return node;
  }

  #make(filter: string): Node<T> {
    let node = this.#root;
    for (let at = 0; at <= filter.length;) {
      const end = levelEnd(filter, at);
      const level = filter.slice(at, end);
      node = childOf(node, level) ?? addChild(node, level);
      at = end + 1;
    }
    return node;
  }

  /**
   * Appends to `found` each value under a matching filter; a value under two filters is there
   * twice.
   */
  match(topic: string, found: T[]): void {
    collect(this.#exact.get(topic), found);
    if (this.#root.children === undefined) return;
    const levels = topic.split('/');
    const last = levels.length;
    const wildcardsFrom = topic.startsWith('$') ? 1 : 0;
    const nodes: Node<T>[] = [this.#root];
    const depths: number[] = [0];
    for (;;) {
      const node = nodes.pop();
      const depth = depths.pop();
      if (node === undefined || depth === undefined) return;
      if (depth === last) collect(node.values, found);
      if (node.children === undefined) continue;
      if (depth >= wildcardsFrom) collect(childOf(node, '#')?.values, found);
      if (depth === last) continue;
      if (depth >= wildcardsFrom) {
        const any = childOf(node, '+');
        if (any !== undefined) {
          nodes.push(any);
          depths.push(depth + 1);
        }
      }
      const level = levels[depth];
      // A level of a topic name is never a wildcard, so this cannot find the nodes above again.
      const exact = level === undefined ? undefined : childOf(node, level);
      if (exact !== undefined) {
        nodes.push(exact);
        depths.push(depth + 1);
      }
    }
  }
}

/** Where the level that begins at `at` ends. An array of all of them would be garbage at once. */
function levelEnd(filter: string, at: number): number {
  const slash = filter.indexOf('/', at);
  return slash === -1 ? filter.length : slash;
}

function childOf<T>({ children }: Node<T>, level: string): Node<T> | undefined {
  if (children instanceof SteadyMap) return children.get(level);
  return children?.level === level ? children : undefined;
}

function addChild<T>(parent: Node<T>, level: string): Node<T> {
  const child: Node<T> = { parent, level, children: undefined, values: undefined };
  const { children } = parent;
  if (children === undefined) parent.children = child;
  else if (children instanceof SteadyMap) children.set(level, child);
  else {
    parent.children = new SteadyMap();
    parent.children.set(children.level, children);
    parent.children.set(level, child);
  }
  return child;
}

/** The node, if it holds nothing, and above it each that then holds nothing. */
function removeEmpty<T>(from: Node<T>): void {
  let node = from;
  while (node.parent !== undefined && node.values === undefined && node.children === undefined) {
    const { parent } = node;
    const { children } = parent;
    if (!(children instanceof SteadyMap)) parent.children = undefined;
    else if (children.delete(node.level) && children.size === 0) parent.children = undefined;
    node = parent;
  }
}

function holds<T>(values: Values<T> | undefined, value: T): boolean {
  return values instanceof Several ? values.all.has(value) : values === value;
}

function withValue<T>(values: Values<T> | undefined, value: T): Values<T> {
  if (values === undefined) return value;
  if (!(values instanceof Several)) return new Several(values, value);
  values.all.add(value);
  return values;
}

/** `values` hold it. */
function withoutValue<T>(values: Values<T> | undefined, value: T): Values<T> | undefined {
  if (!(values instanceof Several)) return undefined;
  values.all.delete(value);
  return values.all.size === 0 ? undefined : values;
}

function collect<T>(values: Values<T> | undefined, found: T[]): void {
  if (values === undefined) return;
  if (!(values instanceof Several)) found.push(values);
  else for (const value of values.all) found.push(value);
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
