/**
 * A configuration as written: YAML text, and `KEY=VALUE` from the command line on top of it, as one
 * tree of which every part knows its place. Nothing here knows which keys there are.
 *
 * YAML 1.2: an anchor may be used again, a tag or a merge key is refused, and so is a second
 * document. The tree is bounded, so that aliases of aliases cannot fill the memory.
 */

import {
  type Alias,
  type Document,
  LineCounter,
  type Node as YamlNode,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  parseDocument,
} from 'yaml';
import { ConfigError, type ConfigProblem, type Place } from './problem.ts';
import { quote } from './values.ts';

export interface MapNode {
  readonly kind: 'map';
  readonly at: Place;
  readonly entries: Map<string, { readonly keyAt: Place; readonly node: Node }>;
}

export interface ListNode {
  readonly kind: 'list';
  readonly at: Place;
  readonly items: readonly Node[];
}

export interface ScalarNode {
  readonly kind: 'scalar';
  readonly at: Place;
  readonly value: string | number | boolean | null;
  /** As it stands in the source, without quotes. */
  readonly written: string;
}

export type Node = MapNode | ListNode | ScalarNode;

const NODES_MAX = 100_000;
const LEVELS_MAX = 32;

export const NO_PLACE: Place = { source: 'defaults', line: 0, column: 0 };

export function emptyMap(at: Place): MapNode {
  return { kind: 'map', at, entries: new Map() };
}

/** Turns the nodes of one document into ours. */
class Reader {
  readonly #document: Document;
  readonly #source: string;
  readonly #lines: LineCounter | undefined;
  #nodes = 0;

  constructor(document: Document, source: string, lines: LineCounter | undefined) {
    this.#document = document;
    this.#source = source;
    this.#lines = lines;
  }

  place(node: { readonly range?: readonly number[] | null | undefined } | null): Place {
    const offset = node?.range?.[0];
    if (this.#lines === undefined) return { source: this.#source, line: 0, column: 0 };
    const { line, col } = this.#lines.linePos(offset ?? 0);
    return { source: this.#source, line, column: col };
  }

  fail(node: YamlNode | null, text: string): ConfigError {
    return new ConfigError([{ code: 'syntax', place: this.place(node), key: '', text }]);
  }

  read(node: YamlNode | null, level: number): Node {
    this.#nodes += 1;
    if (this.#nodes > NODES_MAX || level > LEVELS_MAX) {
      throw this.fail(node, 'the file is nested too deep or holds too much');
    }
    if (isAlias(node)) return this.read(this.#resolve(node), level + 1);
    if (node?.tag !== undefined)
      throw this.fail(node, `the tag ${quote(node.tag)} means nothing here`);
    if (isMap(node)) return this.#readMap(node, level);
    if (isSeq(node)) {
      const items = node.items.map((item) => this.read(item as YamlNode | null, level + 1));
      return { kind: 'list', at: this.place(node), items };
    }
    const value: unknown = isScalar(node) ? node.value : null;
    const written = isScalar(node) ? (node.source ?? String(value)) : '';
    const plain =
      typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean'
        ? value
        : null;
    return { kind: 'scalar', at: this.place(node), value: plain, written };
  }

  #resolve(alias: Alias): YamlNode {
    const target = alias.resolve(this.#document);
    if (target === undefined) throw this.fail(alias, `nothing is named ${quote(alias.source)}`);
    return target;
  }

  #readMap(node: { items: readonly { key: unknown; value: unknown }[] }, level: number): MapNode {
    const map = emptyMap(this.place(node as YamlNode));
    for (const { key, value } of node.items) {
      const keyNode = key as YamlNode | null;
      if (!isScalar(keyNode)) throw this.fail(keyNode, 'a key must be a plain word');
      const name = keyNode.source ?? String(keyNode.value);
      const keyAt = this.place(keyNode);
      const child = this.read(value as YamlNode | null, level + 1);
      // What has no value of its own has no place either: that of its key.
      const placed = value === null ? { ...child, at: keyAt } : child;
      map.entries.set(name, { keyAt, node: placed });
    }
    return map;
  }
}

function parse(yaml: string, source: string, lines: LineCounter | undefined): Node {
  const options = lines === undefined ? {} : { lineCounter: lines };
  const document = parseDocument(yaml, { ...options, prettyErrors: false, uniqueKeys: true });
  const reader = new Reader(document as Document, source, lines);
  const wrong = [...document.errors, ...document.warnings];
  if (wrong.length > 0) {
    throw new ConfigError(
      wrong.map(({ message, pos }): ConfigProblem => ({
        code: 'syntax',
        place: reader.place({ range: pos }),
        key: '',
        text: message.split('\n')[0] ?? message,
      })),
    );
  }
  return reader.read(document.contents as YamlNode | null, 0);
}

/** The tree of a file. An empty file says nothing, so every default holds. */
export function readYaml(yaml: string, source: string): MapNode {
  const node = parse(yaml, source, new LineCounter());
  if (node.kind === 'map') return node;
  if (node.kind === 'scalar' && node.value === null) return emptyMap(node.at);
  const text = 'a configuration is a list of keys with values, such as data_dir: data';
  throw new ConfigError([{ code: 'syntax', place: node.at, key: '', text }]);
}

/**
 * Puts `a.b.c=VALUE` into the tree, in place of what stood there; the value is read as YAML, so
 * that
 * `queues=[{name: orders}]` works.
 */
export function override(tree: MapNode, assignment: string): void {
  const source = `--set ${quote(assignment)}`;
  const at: Place = { source, line: 0, column: 0 };
  const cut = assignment.indexOf('=');
  const path = assignment.slice(0, Math.max(cut, 0)).trim();
  const names = path.split('.');
  if (cut < 0 || names.some((name) => name === '')) {
    const text = 'write --set KEY=VALUE, such as --set log.level=debug';
    throw new ConfigError([{ code: 'syntax', place: at, key: '', text }]);
  }
  const last = names.pop() ?? '';
  let map = tree;
  for (const name of names) {
    const child = map.entries.get(name)?.node;
    const next = child?.kind === 'map' ? child : emptyMap(at);
    if (next !== child) map.entries.set(name, { keyAt: at, node: next });
    map = next;
  }
  map.entries.set(last, { keyAt: at, node: readValue(assignment.slice(cut + 1), at) });
}

/** What is no YAML, such as `[::1]:1883`, is a text as it stands. */
function readValue(value: string, at: Place): Node {
  try {
    return parse(value, at.source, undefined);
  } catch (error) {
    if (error instanceof ConfigError) return { kind: 'scalar', at, value, written: value };
    throw error;
  }
}
