/**
 * What an operator does for a node that lost its disk: `fluxmq cluster replace` at the leader, from
 * the id that the cluster knows to the one under which the node waits now.
 *
 * Goes on beside load and further faults, any of which may break the command off or move the lead
 * elsewhere: it looks again and gives the command again, until the node votes, has everything, and
 * its former replica is gone, in every shard that lies there: in those behind shard 0 the brokers
 * do it by themselves. That the node serves in the end is judged by the checkers, not here.
 */

import { sleep } from '../sleep.ts';
import type { Cluster } from './cluster.ts';
import { addressText } from './network.ts';
import type { ShardPlace } from './replica-log.ts';
import type { Place, Roles } from './roles.ts';
import { runProgram } from './run-program.ts';

const LOOK_MS = 500;
/** Below what a program may take. */
const WITHIN = '20s';

export class Replacements {
  readonly #cluster: Cluster;
  readonly #roles: Pick<Roles, 'placeOf' | 'isWhole'>;
  readonly #places: readonly ShardPlace[];
  readonly #over = new AbortController();
  readonly #underWay = new Map<string, Promise<void>>();

  constructor(
    cluster: Cluster,
    roles: Pick<Roles, 'placeOf' | 'isWhole'>,
    places: readonly ShardPlace[],
  ) {
    this.#cluster = cluster;
    this.#roles = roles;
    this.#places = places;
  }

  isUnderWay(node: string): boolean {
    return this.#underWay.has(node);
  }

  /** `was`: the replica that is lost. */
  begin(node: string, was: string): void {
    const replaced = this.#replace(node, was).finally(() => this.#underWay.delete(node));
    this.#underWay.set(node, replaced);
  }

  /** Nothing of it runs any more. */
  async close(): Promise<void> {
    this.#over.abort();
    await Promise.allSettled(this.#underWay.values());
  }

  async #replace(node: string, was: string): Promise<void> {
    const { signal } = this.#over;
    const here = this.#places.filter(({ nodes }) => nodes.includes(node));
    const shards = here.map(({ shard }) => shard);
    while (!signal.aborted) {
      const place = await this.#roles.placeOf(node);
      // Until it hears of the cluster it may take itself for the one that is lost.
      if (place !== undefined && place.own !== was) {
        const isMember = place.votes && place.former.length === 0;
        if (isMember && (await this.#roles.isWhole(node, shards))) return;
        // A fault in the middle is no failure of the run.
        const former = place.former[0] ?? was;
        if (!isMember) await this.#command(node, former, place).catch(() => undefined);
      }
      await sleep(LOOK_MS, signal);
    }
  }

  async #command(node: string, former: string, { leader, own }: Place): Promise<void> {
    const { program, network } = this.#cluster;
    const address = addressText(network.addresses(node).peer);
    const at = ['--data', this.#cluster.node(leader).dataDirectory, '--within', WITHIN, '--yes'];
    await runProgram(program, ['cluster', 'replace', former, own, address, ...at]);
  }
}
