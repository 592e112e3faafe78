/**
 * Who leads, as the nodes say themselves in their metrics. A node that leads no more may not know
 * it yet, so what is found is where to aim a fault, and nothing to judge by.
 */

import { sleep } from '../sleep.ts';
import type { Cluster } from './cluster.ts';
import type { BrokerNode } from './node.ts';
import { addressText } from './network.ts';

const ANSWER_MAX_MS = 1_000;
const LOOK_MS = 200;
const LOOKS_MAX = 25;
/** 1 on the node that leads the shard. */
const LEADS = /^fluxmq_raft_leads(?:\{[^}]*\})? 1$/m;
const VOTES = /^fluxmq_raft_voter(?:\{[^}]*\})? 1$/m;

export class Roles {
  readonly #cluster: Cluster;

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
  }

  /** Undefined when nobody says so for a while. */
  async leader(): Promise<string | undefined> {
    for (let look = 0; look < LOOKS_MAX; look += 1) {
      const up = this.#cluster.nodes.filter(({ state }) => state === 'up');
      const pages = await Promise.all(up.map(async (node) => [node.id, await page(node)] as const));
      const leader = pages.find(([, text]) => LEADS.test(text))?.[0];
      if (leader !== undefined) return leader;
      await sleep(LOOK_MS);
    }
    return undefined;
  }

  async isVoter(id: string): Promise<boolean> {
    const node = this.#cluster.node(id);
    return node.state === 'up' && VOTES.test(await page(node));
  }
}

/** Empty when the node does not answer. */
async function page(node: BrokerNode): Promise<string> {
  const url = `http://${addressText(node.addresses.ops)}/metrics`;
  try {
    const answer = await fetch(url, { signal: AbortSignal.timeout(ANSWER_MAX_MS) });
    return await answer.text();
  } catch {
    return '';
  }
}
