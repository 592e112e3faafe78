/**
 * Checks a tree against the table of keys and gives the values that hold, defaults filled in.
 *
 * Goes on after a problem, so that all of them are told at once; what comes back is of use only
 * when there are none.
 */

import { type MapNode, type Node, type ScalarNode, NO_PLACE, emptyMap } from './document.ts';
import { type ScalarKey, readLeaf } from './leaf.ts';
import { nearest } from './nearest.ts';
import type { ConfigProblem, Place } from './problem.ts';
import type { Key, SectionKey, SectionsKey, TextsKey } from './schema.ts';
import { type Read, quote } from './values.ts';

/** Keys that are not there and known all the same, so that the answer is no guess. */
export interface KnownElsewhere {
  /** A key of a later version. */
  later(key: string): boolean;
  /** What a key is called here. */
  nameHere(key: string): string | undefined;
}

/** Where the values of a configuration come from, by key. */
export type Places = Map<string, Place>;

type Located = Pick<ConfigProblem, 'place' | 'key'>;

const KINDS = { map: 'a group of keys', list: 'a list' } as const;

export class Checker {
  readonly problems: ConfigProblem[] = [];
  readonly places: Places = new Map();
  readonly #known: KnownElsewhere;

  constructor(known: KnownElsewhere) {
    this.#known = known;
  }

  #wrong(place: Place, key: string, text: string): undefined {
    this.problems.push({ code: 'wrong-value', place, key, text });
  }

  section(schema: SectionKey, node: Node | undefined, key: string): Record<string, unknown> {
    const map = node === undefined ? undefined : this.#map(node, key);
    for (const [name, { keyAt }] of map?.entries ?? []) {
      if (Object.hasOwn(schema.keys, name)) continue;
      this.#unknown(schema, name, { place: keyAt, key: join(key, name) });
    }
    const values: Record<string, unknown> = {};
    for (const [name, child] of Object.entries(schema.keys)) {
      const written = map?.entries.get(name)?.node;
      if (written !== undefined) this.places.set(join(key, name), written.at);
      // A default stands where its section does: a queue without a name is told by its line.
      const assumed = scalar(child, map?.at ?? NO_PLACE);
      values[name] = this.#value(child, written ?? assumed, join(key, name));
    }
    return values;
  }

  #value(schema: Key, node: Node | undefined, key: string): unknown {
    if (schema.kind === 'section') return this.section(schema, node, key);
    if (schema.kind === 'sections') return this.#sections(schema, node, key);
    if (node === undefined) return undefined;
    if (schema.kind === 'texts') return this.#texts(schema, node, key);
    return this.#leaf(schema, node, key);
  }

  #map(node: Node, key: string): MapNode | undefined {
    if (node.kind === 'map') return node;
    // `log:` with nothing below it says nothing.
    if (node.kind === 'scalar' && node.value === null) return undefined;
    const text = `a group of keys belongs here, not ${what(node)}`;
    return this.#wrong(node.at, key, text);
  }

  #unknown(schema: SectionKey, name: string, { place, key }: Located): void {
    if (this.#known.later(key)) {
      const text = 'not available in this version; take the key out';
      this.problems.push({ code: 'not-available', place, key, text });
      return;
    }
    const here = this.#known.nameHere(key);
    if (here !== undefined) {
      const text = `unknown key: here it is called ${here}`;
      this.problems.push({ code: 'unknown-key', place, key, text });
      return;
    }
    const names = Object.keys(schema.keys);
    const near = nearest(name, names);
    const hint = near === undefined ? `there are ${names.join(', ')}` : `did you mean ${near}?`;
    this.problems.push({ code: 'unknown-key', place, key, text: `unknown key: ${hint}` });
  }

  #sections(schema: SectionsKey, node: Node | undefined, key: string): unknown {
    if (node === undefined) {
      return schema.fallback.map((entry, index) => {
        const map = emptyMap(NO_PLACE);
        for (const [name, value] of Object.entries(entry)) {
          const node: ScalarNode = { kind: 'scalar', at: NO_PLACE, value, written: value };
          map.entries.set(name, { keyAt: NO_PLACE, node });
        }
        return this.section(schema.each, map, `${key}[${index}]`);
      });
    }
    const items = this.#items(node, key, schema.most);
    return items.map((item, index) => {
      this.places.set(`${key}[${index}]`, item.at);
      return this.section(schema.each, item, `${key}[${index}]`);
    });
  }

  #items(node: Node, key: string, most: number): readonly Node[] {
    if (node.kind !== 'list') {
      this.#wrong(node.at, key, `a list belongs here, not ${what(node)}`);
      return [];
    }
    if (node.items.length > most) {
      const text = `${node.items.length} entries are too many: at most ${most}`;
      this.#wrong(node.at, key, text);
    }
    return node.items.slice(0, most);
  }

  #texts(schema: TextsKey, node: Node, key: string): unknown {
    const items = this.#items(node, key, schema.most);
    // Where a list may be empty, an empty one says what none says.
    if (items.length === 0 && schema.least === 0) return undefined;
    if (items.length === 0) this.#wrong(node.at, key, 'the list is empty');
    return items.map((item, index) => {
      const name = `${key}[${index}]`;
      const one = this.#scalar(item, name);
      const wrong = one === undefined ? undefined : schema.check(one.written);
      if (wrong !== undefined) this.#wrong(item.at, name, wrong);
      return one?.written;
    });
  }

  #leaf(schema: ScalarKey, node: Node, key: string): unknown {
    const one = this.#scalar(node, key);
    return one && this.#read(readLeaf(schema, one), one.at, key);
  }

  #scalar(node: Node, key: string): ScalarNode | undefined {
    if (node.kind === 'scalar') return node;
    const text = `one value belongs here, not ${KINDS[node.kind]}`;
    return this.#wrong(node.at, key, text);
  }

  #read<T>(read: Read<T>, at: Place, key: string): T | undefined {
    if ('value' in read) return read.value;
    return this.#wrong(at, key, read.problem);
  }
}

/** The default of a key as if it were written at `at`; lists and groups have none of this kind. */
function scalar(schema: Key, at: Place): ScalarNode | undefined {
  if (schema.kind === 'section' || schema.kind === 'sections' || schema.kind === 'texts') {
    return undefined;
  }
  return { kind: 'scalar', at, value: schema.fallback, written: String(schema.fallback) };
}

function what(node: Node): string {
  if (node.kind !== 'scalar') return KINDS[node.kind];
  return node.value === null ? 'nothing' : quote(node.written);
}

function join(key: string, name: string): string {
  return key === '' ? name : `${key}.${name}`;
}
