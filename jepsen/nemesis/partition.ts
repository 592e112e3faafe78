/**
 * Cuts between nodes. Clients reach every node all the time, which is the harder case: a node that
 * is cut off goes on to take requests.
 *
 *     one      one node alone                       leader   the leader alone
 *     halves   a minority and a majority            one-way  one node hears nobody, but is heard
 *     ring     each node reaches a majority, and no two nodes the same one (five nodes)
 *     bridge   two halves, and one node that both of them reach
 */

import type { FaultKind, Table } from './fault-kind.ts';

export type Cut = readonly [from: string, to: string];

const CHOICES = ['one', 'leader', 'halves', 'one-way', 'bridge', 'ring'] as const;

/** Both directions between every two of two sides. */
function between(one: readonly string[], other: readonly string[]): Cut[] {
  return one.flatMap((a) => other.flatMap((b) => [[a, b] as const, [b, a] as const]));
}

function alone(node: string, nodes: readonly string[]): Cut[] {
  return between(
    [node],
    nodes.filter((id) => id !== node),
  );
}

function ring(nodes: readonly string[]): Cut[] {
  const reach = Math.floor(nodes.length / 4);
  return nodes.flatMap((from, at) =>
    nodes.flatMap((to, other): Cut[] => {
      const apart = Math.abs(at - other);
      return Math.min(apart, nodes.length - apart) > reach ? [[from, to]] : [];
    }),
  );
}

/** The cuts of a choice, for nodes in a random order. */
export function cutsOf(choice: string, nodes: readonly string[], leader?: string): Cut[] {
  const [first = '', ...rest] = nodes;
  const half = Math.floor(nodes.length / 2);
  switch (choice) {
    case 'leader':
      return leader === undefined ? [] : alone(leader, nodes);
    case 'halves':
      return between(nodes.slice(0, half), nodes.slice(half));
    case 'one-way':
      return rest.map((from) => [from, first] as const);
    case 'bridge':
      return between(
        rest.slice(0, Math.floor(rest.length / 2)),
        rest.slice(Math.floor(rest.length / 2)),
      );
    case 'ring':
      return ring(nodes);
    default:
      return alone(first, nodes);
  }
}

interface Planned {
  readonly cuts: readonly Cut[];
  readonly whose: string;
}

async function planned(choice: string, table: Table): Promise<Planned | string> {
  const leader = choice === 'leader' ? await table.leader() : undefined;
  if (choice === 'leader' && leader === undefined) return 'nobody is known to lead';
  const cuts = cutsOf(choice, table.random.shuffled(table.cluster.ids), leader?.node);
  return { cuts, whose: leader === undefined ? '' : `of shard ${leader.shard}, ` };
}

export const partition: FaultKind = {
  name: 'partition',
  about: 'cuts between nodes; clients still reach all of them',
  choices: CHOICES,
  unfit(choice, nodes, canCut) {
    if (nodes === 1) return 'one node has no network to cut';
    if (!canCut) return 'the network of this run cannot be cut';
    if (choice === 'halves' && nodes < 4) return 'with three nodes the halves are "one"';
    if (choice === 'ring' && nodes < 5) return 'a ring of majorities needs five nodes';
    return undefined;
  },
  async plan(choice, table) {
    const plan = await planned(choice, table);
    if (typeof plan === 'string') return plan;
    const { cuts, whose } = plan;
    const { network } = table.cluster;
    return {
      nodes: [...new Set(cuts.flat())].toSorted(),
      detail: `${choice}: ${whose}${cuts.map(([from, to]) => `${from}>${to}`).join(' ')}`,
      async install() {
        await Promise.all(cuts.map(([from, to]) => network.cut(from, to)));
      },
      heal: () => network.heal(),
    };
  },
};
