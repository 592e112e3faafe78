/**
 * The shards that there are beside shard 0, in which their map lies: who founded each, and which
 * nodes have a replica of it.
 *
 * A row is made once, in order of number, and never goes: a queue's id names its shard for good.
 * Its founders stay as they were; hosts come and go, but for the last one. The first founder is the
 * one that leads, where that can be chosen.
 *
 * One record, always in memory, absent where there is no shard but 0:
 *
 *   shards  [1, [number, [founder, ...], [host, ...]], ...]
 */

import { assert } from './assert.ts';
import { SHARDS_MAX } from './ids.ts';
import { type RecordData, type RecordKey, countOf, listOf, stringOf } from './record-data.ts';
import {
  type RecordContent,
  type RecordHolder,
  type RecordTable,
  Resident,
} from './record-table.ts';

export const SHARD_MAP_KEY = 'shards' as RecordKey;
const FOUNDERS_MAX = 5;
const HOSTS_MAX = 64;
/** The name of a node: what can be seen, in ASCII. */
const NODE = /^[!-~]{1,64}$/;

export interface ShardRow {
  /** From 1, without gaps. */
  readonly number: number;
  /** Node ids; the first voters. */
  readonly founders: readonly string[];
  /** Nodes that have a replica, or are to have one; at first the founders. */
  readonly hosts: readonly string[];
}

/** In order of number. */
export type ShardMap = readonly ShardRow[];

class MapRecord implements RecordContent {
  rows: ShardMap;

  constructor(rows: ShardMap) {
    this.rows = rows;
  }

  toData(): RecordData | undefined {
    if (this.rows.length === 0) return undefined;
    return [1, ...this.rows.map((row) => [row.number, [...row.founders], [...row.hosts]])];
  }
}

function rowsOf(data: RecordData): ShardMap {
  const [format, ...rows] = listOf(data);
  assert(format === 1, 'shards: unknown format');
  return rows.map((row) => {
    const [number, founders, hosts] = listOf(row);
    return {
      number: countOf(number),
      founders: listOf(founders).map(stringOf),
      hosts: listOf(hosts).map(stringOf),
    };
  });
}

/** What cannot be done, in words; undefined: it is done, or was so already. */
type Problem = string | undefined;

export class Shards implements RecordHolder {
  readonly #table: RecordTable;
  #record: Resident<MapRecord> | undefined;

  constructor(table: RecordTable) {
    this.#table = table;
  }

  get isLoaded(): boolean {
    return this.#record !== undefined;
  }

  load(data: RecordData | undefined): void {
    this.#record ??= new Resident(
      SHARD_MAP_KEY,
      new MapRecord(data === undefined ? [] : rowsOf(data)),
      this,
    );
  }

  /** Another object whenever it is another map. */
  get map(): ShardMap {
    assert(this.#record !== undefined, 'shards: not loaded');
    return this.#record.content.rows;
  }

  /** Shard 0 always is. */
  has(number: number): boolean {
    return number === 0 || this.map[number - 1] !== undefined;
  }

  /** The next one; one that is there is left as it is where it has these founders. */
  add(number: number, founders: readonly string[]): Problem {
    const there = this.map[number - 1];
    if (there !== undefined) {
      return isSame(there.founders, founders) ? undefined : `shard ${number} has other founders`;
    }
    const next = this.map.length + 1;
    if (next >= SHARDS_MAX) return `there are ${SHARDS_MAX} shards, and there can be no more`;
    if (number !== next) return `the next shard is ${next}, and not ${number}`;
    const wrong = founders.find((node) => !NODE.test(node));
    if (wrong !== undefined) return `no node has such a name: ${wrong}`;
    if (founders.length === 0 || founders.length > FOUNDERS_MAX) {
      return `a shard is founded by 1 to ${FOUNDERS_MAX} nodes`;
    }
    if (new Set(founders).size !== founders.length) return 'a founder is named twice';
    this.#set([...this.map, { number, founders: [...founders], hosts: [...founders] }]);
    return undefined;
  }

  host(number: number, node: string): Problem {
    const row = this.map[number - 1];
    if (row === undefined) return `there is no shard ${number} in the map`;
    if (row.hosts.includes(node)) return undefined;
    if (!NODE.test(node)) return `no node has such a name: ${node}`;
    if (row.hosts.length >= HOSTS_MAX) return `shard ${number} has ${HOSTS_MAX} hosts already`;
    this.#replace({ ...row, hosts: [...row.hosts, node] });
    return undefined;
  }

  unhost(number: number, node: string): Problem {
    const row = this.map[number - 1];
    if (row === undefined) return `there is no shard ${number} in the map`;
    if (!row.hosts.includes(node)) return undefined;
    if (row.hosts.length === 1) return `${node} is the last host of shard ${number}`;
    this.#replace({ ...row, hosts: row.hosts.filter((each) => each !== node) });
    return undefined;
  }

  evicted(): void {
    assert(false, 'shards: never evicted');
  }

  #replace(row: ShardRow): void {
    this.#set(this.map.map((each) => (each.number === row.number ? row : each)));
  }

  #set(rows: ShardMap): void {
    const record = this.#record;
    assert(record !== undefined, 'shards: not loaded');
    this.#table.touch(record);
    record.content.rows = rows;
  }
}

function isSame(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((each, at) => each === b[at]);
}
