/**
 * A disk is gone: one node is killed, its data directory deleted, and it is started again; then the
 * command is given that replaces the lost replica by the new one. The first time it comes back with
 * the same configuration, and has to find out by itself that it is another one than before; then
 * with `cluster.join`, as the handbook wants it.
 *
 * Never two at a time, and not before the last one has its place again: two lost disks of three are
 * more than any quorum can make good.
 */

import type { FaultKind } from './fault-kind.ts';

export const wipe: FaultKind = {
  name: 'wipe',
  about: 'one node is killed, loses its data directory, and is replaced',
  choices: ['one', 'leader'],
  unfit: (_choice, nodes) => (nodes < 3 ? 'the only copy would be lost' : undefined),
  async plan(choice, table) {
    const { cluster, random, wiped } = table;
    if (cluster.ids.some((id) => cluster.node(id).state !== 'up')) return 'not all nodes run';
    if (!table.isWhole()) return 'a node has not got its place again yet';
    const leader = choice === 'leader' ? await table.leader() : undefined;
    const node = choice === 'leader' ? leader?.node : random.pick(cluster.ids);
    const was = node === undefined ? undefined : await table.memberOf(node);
    if (node === undefined || was === undefined) return 'nobody is known to lead';
    let isLost = false;
    return {
      nodes: [node],
      detail: `${choice}: data directory of ${was} deleted`,
      async install() {
        await cluster.node(node).kill();
        await cluster.node(node).wipe();
        isLost = true;
        if (wiped.has(node)) await cluster.joins(node);
        wiped.add(node);
      },
      async heal() {
        if (cluster.node(node).state === 'down') await cluster.node(node).start();
        if (isLost) table.replace(node, was);
      },
    };
  },
};
