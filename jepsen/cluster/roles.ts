/**
 * Who leads and who votes, as the nodes themselves say it (`fluxmq cluster status --json`). A node
 * that leads no more may not know it yet, so what is found is where to aim a fault, and nothing to
 * judge by.
 */

import { sleep } from '../sleep.ts';
import type { Cluster } from './cluster.ts';
import type { ShardPlace } from './replica-log.ts';
import { runProgram } from './run-program.ts';

const LOOK_MS = 300;
const LOOKS_MAX = 10;
const ANSWER_MAX = '2s';

interface Member {
  readonly id: string;
  readonly role: string;
  readonly progress: { readonly caught_up: boolean } | null;
}

export interface Replica {
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
  /** Those beside shard 0. */
  readonly shards?: readonly { readonly shard: number; readonly hosts: readonly string[] }[];
}

/** A node in a shard, by its own word and the leader's. */
export interface Place {
  /** The node that leads. */
  readonly leader: string;
  /** The replica that the node has now. */
  readonly own: string;
  /** Members that are other replicas of the node: those whose disk is lost. */
  readonly former: readonly string[];
  /** The leader takes its own for a voter that has everything. */
  readonly votes: boolean;
}

/** A replica that took the place of a lost one is `<node>+<mark>`. */
function nodeOf(replicaId: string): string {
  return replicaId.split('+')[0] ?? replicaId;
}

export class Roles {
  readonly #cluster: Cluster;

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
  }

  /** Of the shard; undefined when nobody says so for a while. */
  async leader(shard: number): Promise<string | undefined> {
    for (let look = 0; look < LOOKS_MAX; look += 1) {
      const leader = leading(replicasOf(await this.#answers(), shard));
      if (leader !== undefined) return nodeOf(leader.id);
      await sleep(LOOK_MS);
    }
    return undefined;
  }

  /** In shard 0; undefined when nobody leads, or the node does not answer. */
  async placeOf(node: string): Promise<Place | undefined> {
    return placeIn(replicasOf(await this.#answers(), 0), node);
  }

  /** Whether the node votes in these shards with all that there is, and no former one does. */
  async isWhole(node: string, shards: readonly number[]): Promise<boolean> {
    const answers = await this.#answers();
    return shards.every((shard) => isWholeIn(replicasOf(answers, shard), node));
  }

  /** Each shard that there is and is led; fewer while they are being made. */
  async places(): Promise<ShardPlace[]> {
    const answers = await this.#answers();
    const maps = answers.map(({ shards = [] }) => shards);
    const longest = maps.toSorted((a, b) => b.length - a.length).at(0) ?? [];
    const all = longest.map(({ shard, hosts }) => ({ shard, nodes: hosts }));
    return [{ shard: 0, nodes: this.#cluster.ids }, ...all].filter(({ shard }) => {
      return leading(replicasOf(answers, shard)) !== undefined;
    });
  }

  /** Of the nodes that run; none when nobody answers. */
  async #answers(): Promise<NodeStatus[]> {
    const running = this.#cluster.nodes.filter(({ state }) => state === 'up');
    const [first, ...others] = running.map(({ dataDirectory }) => dataDirectory);
    if (first === undefined) return [];
    const more = others.flatMap((directory) => ['--with', directory]);
    const args = ['cluster', 'status', '--json', '--timeout', ANSWER_MAX, '--data', first, ...more];
    const output = await runProgram(this.#cluster.program, args).catch(() => '');
    const lines = output.split('\n').filter((line) => line !== '');
    return lines.map((line) => JSON.parse(line) as NodeStatus);
  }
}

function replicasOf(answers: readonly NodeStatus[], wanted: number): Replica[] {
  return answers.flatMap(({ replicas = [] }) => replicas.filter(({ shard }) => shard === wanted));
}

export function isWholeIn(replicas: readonly Replica[], node: string): boolean {
  const place = placeIn(replicas, node);
  return place !== undefined && place.votes && place.former.length === 0;
}

/** Of several that say that they lead, the one of the newest term does. */
function leading(replicas: readonly Replica[]): Replica | undefined {
  return replicas
    .filter(({ role }) => role === 'leader')
    .toSorted((a, b) => b.term - a.term)
    .at(0);
}

export function placeIn(replicas: readonly Replica[], node: string): Place | undefined {
  const own = replicas.find(({ id }) => nodeOf(id) === node)?.id;
  const leader = leading(replicas);
  if (own === undefined || leader === undefined) return undefined;
  const members = leader.members.filter(({ id }) => nodeOf(id) === node);
  const member = members.find(({ id }) => id === own);
  const isCurrent = own === leader.id || member?.progress?.caught_up === true;
  return {
    leader: nodeOf(leader.id),
    own,
    former: members.map(({ id }) => id).filter((id) => id !== own),
    votes: member?.role === 'voter' && isCurrent,
  };
}
