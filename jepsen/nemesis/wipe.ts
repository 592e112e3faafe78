/**
 * A disk is gone: one node is killed, its data directory deleted, and it is started again with the
 * same configuration. Never two at a time, and not before the last one holds everything again: two
 * lost disks of three are more than any quorum can make good.
 */

import type { FaultKind } from './fault-kind.ts';

export const wipe: FaultKind = {
  name: 'wipe',
  about: 'one node is killed and loses its data directory',
  choices: ['one', 'leader'],
  unfit: (_choice, nodes) => (nodes < 3 ? 'the only copy would be lost' : undefined),
  async plan(choice, table) {
    const { cluster, random, wiped } = table;
    if (cluster.ids.some((id) => cluster.node(id).state !== 'up')) return 'not all nodes run';
    for (const id of wiped) {
      if (!(await table.isWhole(id))) return `${id} does not hold everything again yet`;
    }
    const node = choice === 'leader' ? await table.leader() : random.pick(cluster.ids);
    if (node === undefined) return 'nobody is known to lead';
    return {
      nodes: [node],
      detail: `${choice}: data directory deleted`,
      async install() {
        wiped.add(node);
        await cluster.node(node).kill();
        await cluster.node(node).wipe();
      },
      async heal() {
        if (cluster.node(node).state === 'down') await cluster.node(node).start();
      },
    };
  },
};
