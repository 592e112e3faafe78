/** Who is hit: one, a minority, a majority, all, or the leader, of the nodes that can be. */

import type { Table } from './fault-kind.ts';

export const VICTIMS = ['one', 'minority', 'majority', 'all', 'leader'] as const;

/** Why a choice makes no sense with so many nodes. */
export function unfitVictims(choice: string, nodes: number): string | undefined {
  if (nodes === 1 && choice !== 'all') return 'with one node there is only "all"';
  if (nodes < 5 && choice === 'minority') return 'with three nodes a minority is "one"';
  return undefined;
}

function numberOf(choice: string, nodes: number, { random }: Table): number {
  const half = Math.floor(nodes / 2);
  switch (choice) {
    case 'minority':
      return random.whole(2, Math.ceil(nodes / 2) - 1);
    case 'majority':
      return random.whole(half + 1, nodes - 1);
    case 'all':
      return nodes;
    default:
      return 1;
  }
}

export interface Victims {
  readonly nodes: readonly string[];
  /** `leader: of shard 2, SIGKILL`. */
  detail(what: string): string;
}

/** Of those that `fits`; fewer than wished is none. */
export async function victims(
  choice: string,
  table: Table,
  fits: (node: string) => boolean,
): Promise<Victims | string> {
  const { cluster, random } = table;
  const able = cluster.ids.filter(fits);
  if (choice === 'leader') {
    const leader = await table.leader();
    if (leader === undefined) return 'nobody is known to lead';
    const { node, shard } = leader;
    if (!able.includes(node)) return `the leader ${node} is hit already`;
    return { nodes: [node], detail: (what) => `${choice}: of shard ${shard}, ${what}` };
  }
  const wished = numberOf(choice, cluster.ids.length, table);
  if (able.length < wished) return 'too many are hit already';
  const nodes = random.shuffled(able).slice(0, wished).toSorted();
  return { nodes, detail: (what) => `${choice}: ${what}` };
}
