/** kill -9: the process ends in the middle of whatever it does; the heal starts it again. */

import type { FaultKind } from './fault-kind.ts';
import { VICTIMS, unfitVictims, victims } from './victims.ts';

export const kill: FaultKind = {
  name: 'kill',
  about: 'kill -9, and a start with the same data',
  choices: VICTIMS,
  unfit: unfitVictims,
  async plan(choice, table) {
    const { cluster } = table;
    const hit = await victims(choice, table, (id) => cluster.node(id).state === 'up');
    if (typeof hit === 'string') return hit;
    const { nodes } = hit;
    return {
      nodes,
      detail: hit.detail('SIGKILL'),
      async install() {
        await Promise.all(nodes.map((id) => cluster.node(id).kill()));
      },
      async heal() {
        const down = nodes.filter((id) => cluster.node(id).state === 'down');
        await Promise.all(down.map((id) => cluster.node(id).start()));
      },
    };
  },
};
