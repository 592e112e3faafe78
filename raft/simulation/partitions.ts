/**
 * Shapes of partitions: which directed links each of them cuts, out of a list of nodes.
 *
 * `bridge`: two halves that do not see one another, and one node that sees both. `ring`: each node
 * sees a majority, and no two the same one. `one-way`: one node is heard and hears nothing, or the
 * other way round.
 */

import type { Random } from './random.ts';

export const PARTITIONS = ['alone', 'halves', 'bridge', 'ring', 'one-way', 'one-link'] as const;
export type Partition = (typeof PARTITIONS)[number];

export type DirectedLink = readonly [from: string, to: string];

interface Choice {
  readonly random: Random;
  readonly first?: string | undefined;
}

/** The nodes in a drawn order decide who is where; `first` is put in front, if it is given. */
export function linksCutBy(
  shape: Partition,
  nodes: readonly string[],
  { random, first }: Choice,
): DirectedLink[] {
  const order = shuffled(nodes, random);
  if (first !== undefined && order.includes(first)) {
    order.splice(order.indexOf(first), 1);
    order.unshift(first);
  }
  const [one = '', ...others] = order;
  switch (shape) {
    case 'alone':
      return bothWays([one], others);
    case 'halves': {
      const half = Math.floor(order.length / 2);
      return bothWays(order.slice(0, half), order.slice(half));
    }
    case 'bridge': {
      const half = Math.floor(others.length / 2);
      return bothWays(others.slice(0, half), others.slice(half));
    }
    case 'ring':
      return ring(order);
    case 'one-way': {
      const outward = random.chance(0.5);
      return others.map((other) => (outward ? [one, other] : [other, one]));
    }
    case 'one-link':
      return others.length === 0 ? [] : [[one, random.pick(others)]];
  }
}

/** Each node keeps its nearest neighbours on the ring, as many as make a majority with it. */
function ring(order: readonly string[]): DirectedLink[] {
  const reach = Math.ceil((Math.floor(order.length / 2) + 1 - 1) / 2);
  const links: DirectedLink[] = [];
  for (const [at, from] of order.entries()) {
    for (const [otherAt, to] of order.entries()) {
      const steps = Math.abs(at - otherAt);
      if (Math.min(steps, order.length - steps) > reach) links.push([from, to]);
    }
  }
  return links;
}

function bothWays(left: readonly string[], right: readonly string[]): DirectedLink[] {
  const links: DirectedLink[] = [];
  for (const one of left) for (const other of right) links.push([one, other], [other, one]);
  return links;
}

export function shuffled<Item>(items: readonly Item[], random: Random): Item[] {
  const out = [...items];
  for (let at = out.length - 1; at > 0; at -= 1) {
    const other = random.below(at + 1);
    [out[at], out[other]] = [out[other] as Item, out[at] as Item];
  }
  return out;
}
