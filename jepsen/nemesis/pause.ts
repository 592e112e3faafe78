/**
 * SIGSTOP and SIGCONT: a process that stands still for seconds, as in a stalled virtual machine,
 * and then goes on with what it believed before.
 */

import type { FaultKind } from './fault-kind.ts';
import { VICTIMS, unfitVictims, victims } from './victims.ts';

export const pause: FaultKind = {
  name: 'pause',
  about: 'SIGSTOP, and SIGCONT seconds later',
  choices: VICTIMS,
  unfit: unfitVictims,
  async plan(choice, table) {
    const { cluster } = table;
    const hit = await victims(choice, table, (id) => cluster.node(id).state === 'up');
    if (typeof hit === 'string') return hit;
    const { nodes } = hit;
    return {
      nodes,
      detail: hit.detail('SIGSTOP'),
      async install() {
        await Promise.all(nodes.map((id) => cluster.node(id).pause()));
      },
      async heal() {
        // One that was killed in the meantime is not paused any more.
        const paused = nodes.filter((id) => cluster.node(id).state === 'paused');
        await Promise.all(paused.map((id) => cluster.node(id).resume()));
      },
    };
  },
};
