/**
 * The figures of a node from those of its shards: amounts are added up, of times the longest
 * counts, and what makes sense for one shard alone stays apart, by its number. What is counted by
 * queue and by message in memory comes beside. Pure.
 */

import { SEPARATOR, figureOfShard } from './ops/figures.ts';

export interface FiguresOfShard {
  readonly shard: number;
  readonly figures: ReadonlyMap<string, number>;
}

/** Of a replica, and places in a log. */
const APART = [
  /^raft/,
  /^log\/(start|last|committed)$/,
  /^apply\/(index|term)$/,
  /^checkpoint\/index$/,
];
const LONGEST = /\/(last-ms|due-ms|last-bytes)$/;

export function sumOfShards(
  durable: readonly FiguresOfShard[],
  inMemory: ReadonlyMap<string, number>,
): Map<string, number> {
  const sum = new Map<string, number>();
  const add = (name: string, value: number): void => {
    sum.set(name, (sum.get(name) ?? 0) + value);
  };
  for (const { shard, figures } of durable) {
    for (const [name, value] of figures) {
      if (APART.some((each) => each.test(name))) sum.set(figureOfShard(shard, name), value);
      else if (LONGEST.test(name)) sum.set(name, Math.max(sum.get(name) ?? 0, value));
      else add(name, value);
    }
  }
  for (const [name, value] of inMemory) {
    if (name.includes(SEPARATOR)) sum.set(name, value);
    else if (name.startsWith('messages/')) add(name, value);
    else if (name === 'log/bytes') sum.set('memory/bytes', value);
  }
  return sum;
}
