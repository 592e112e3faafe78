/**
 * Who leads and who votes, as the nodes themselves say it (`fluxmq cluster status --json`). A node
 * that leads no more may not know it yet, so what is found is where to aim a fault, and nothing to
 * judge by.
 */

import { sleep } from '../sleep.ts';
import type { Cluster } from './cluster.ts';
import { runProgram } from './run-program.ts';

const LOOK_MS = 300;
const LOOKS_MAX = 10;
const ANSWER_MAX = '2s';
/** The one shard that there is. */
const SHARD = 0;

interface Member {
  readonly id: string;
  readonly role: string;
  readonly progress: { readonly caught_up: boolean } | null;
}

interface Replica {
  readonly shard: number;
  readonly id: string;
  readonly role: string;
  readonly term: number;
  readonly members: readonly Member[];
}

/** Of a node that did not answer, `node` is null. */
interface NodeStatus {
  readonly node: string | null;
  readonly replicas?: readonly Replica[];
}

/** A replica that took the place of a lost one is `<node>+<number>`. */
function nodeOf(replicaId: string): string {
  return replicaId.split('+')[0] ?? replicaId;
}

export class Roles {
  readonly #cluster: Cluster;

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
  }

  /** Undefined when nobody says so for a while. */
  async leader(): Promise<string | undefined> {
    for (let look = 0; look < LOOKS_MAX; look += 1) {
      const leader = leading(await this.#replicas());
      if (leader !== undefined) return nodeOf(leader.id);
      await sleep(LOOK_MS);
    }
    return undefined;
  }

  /** Whether the leader takes the replica that the node has now for a voter that has everything. */
  async isWhole(node: string): Promise<boolean> {
    const replicas = await this.#replicas();
    const own = replicas.find(({ id }) => nodeOf(id) === node);
    const leader = leading(replicas);
    if (own === undefined || leader === undefined) return false;
    const member = leader.members.find(({ id }) => id === own.id);
    if (member?.role !== 'voter') return false;
    return own.id === leader.id || member.progress?.caught_up === true;
  }

  /** Of the nodes that run; none when nobody answers. */
  async #replicas(): Promise<Replica[]> {
    const running = this.#cluster.nodes.filter(({ state }) => state === 'up');
    const [first, ...others] = running.map(({ dataDirectory }) => dataDirectory);
    if (first === undefined) return [];
    const more = others.flatMap((directory) => ['--with', directory]);
    const args = ['cluster', 'status', '--json', '--timeout', ANSWER_MAX, '--data', first, ...more];
    const output = await runProgram(this.#cluster.program, args).catch(() => '');
    const lines = output.split('\n').filter((line) => line !== '');
    const all = lines.map((line) => JSON.parse(line) as NodeStatus);
    return all.flatMap(({ replicas = [] }) => replicas.filter(({ shard }) => shard === SHARD));
  }
}

/** Of several that say that they lead, the one of the newest term does. */
function leading(replicas: readonly Replica[]): Replica | undefined {
  return replicas
    .filter(({ role }) => role === 'leader')
    .toSorted((a, b) => b.term - a.term)
    .at(0);
}
