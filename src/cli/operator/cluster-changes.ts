/**
 * Changes of a cluster that concern several shards: a node that comes, goes, or takes the place of
 * another one. Shard 0 is on every node, and its members are changed by name; in the others a node
 * is a host or not, and its replica follows by itself.
 *
 * Nothing is remembered: a change that was interrupted anywhere is made again from its beginning,
 * at any member, and goes on from what is there.
 */

import type { ClusterAdmin, NodeStatus, ShardPlace } from '../../admin/cluster-port.ts';
import { nodeOf } from '../../cluster/server-id.ts';
import { CliError, ExitCode } from '../exit-codes.ts';
import { visible } from '../text/columns.ts';
import { ClusterSteps } from './cluster-steps.ts';
import { ShardHosting } from './shard-hosting.ts';
import type { Step, StepsOptions } from './step-talk.ts';

export interface ClusterChangesOptions extends Pick<StepsOptions, 'pause' | 'isOver'> {
  readonly cluster: ClusterAdmin;
  readonly say: (shard: number, step: Step) => Promise<void>;
}

export class ClusterChanges {
  readonly #options: ClusterChangesOptions;

  constructor(options: ClusterChangesOptions) {
    this.#options = options;
  }

  /** With `shard`: of that one alone. A learner has a copy of shard 0, and never votes. */
  async add(
    node: string,
    address: string,
    { shard, learner }: { readonly shard?: number; readonly learner?: boolean } = {},
  ): Promise<void> {
    if ((shard ?? 0) === 0) await this.stepsOf(0).add(node, address, learner !== true);
    if (learner === true || shard === 0) return;
    for (const place of await this.#places()) {
      const isMeant = shard === undefined ? isShort(place, node) : place.shard === shard;
      if (isMeant) await this.hosting(place.shard).host(nodeOf(node));
    }
  }

  async remove(node: string, only?: number): Promise<void> {
    for (const { shard } of await this.#hostedBy(node, only)) {
      await this.hosting(shard).unhost(nodeOf(node));
    }
    if ((only ?? 0) === 0) await this.stepsOf(0).remove(node);
  }

  /**
   * The one that comes votes before the other one goes, which leaves shard 0 last: as long as it
   * may lead one of the others it needs their map, or it would remove the one that comes again.
   */
  async replace(old: string, node: string, address: string): Promise<void> {
    await this.#mustBeKnown(old, node);
    await this.stepsOf(0).add(node, address, true);
    for (const { shard, hosts } of await this.#places()) {
      if (!hosts.includes(nodeOf(old))) continue;
      const isSame = nodeOf(old) === nodeOf(node);
      await this.hosting(shard).host(nodeOf(node), isSame ? node : undefined);
      if (!isSame) await this.hosting(shard).unhost(nodeOf(old));
    }
    await this.stepsOf(0).remove(old);
  }

  stepsOf(shard: number): ClusterSteps {
    return new ClusterSteps(this.#of(shard));
  }

  hosting(shard: number): ShardHosting {
    return new ShardHosting(this.#of(shard));
  }

  status(): Promise<NodeStatus> {
    return this.#options.cluster.status();
  }

  /** Neither is `old` there nor has `node` taken its place already: the name is wrong. */
  async #mustBeKnown(old: string, node: string): Promise<void> {
    const isHost = (await this.#places()).some(({ hosts }) => hosts.includes(nodeOf(old)));
    const members = (await this.stepsOf(0).look()).members.map(({ id }) => id);
    if (isHost || members.includes(old) || members.includes(node)) return;
    const text = `${visible(old)} is no member, so there is nothing to replace`;
    const known = `members are ${members.map(visible).join(', ')}`;
    const next = `to add ${visible(node)} all the same: fluxmq cluster add`;
    throw new CliError(ExitCode.refused, `${text}: ${known}; ${next} (not-member)`);
  }

  /** As of now or later, also at a node that was cut off and comes back. */
  async #places(): Promise<readonly ShardPlace[]> {
    await this.stepsOf(0).current();
    return (await this.status()).shards;
  }

  /** Shards that lose a host with this member: another replica of its node may have taken over. */
  async #hostedBy(id: string, only: number | undefined): Promise<readonly ShardPlace[]> {
    const shards = await this.#places();
    const { replicas } = await this.status();
    const members = replicas.find(({ shard }) => shard === 0)?.members ?? [];
    const isReplaced = members.some((other) => other.id !== id && nodeOf(other.id) === nodeOf(id));
    return shards.filter(({ shard, hosts }) => {
      return !isReplaced && hosts.includes(nodeOf(id)) && (only === undefined || shard === only);
    });
  }

  #of(shard: number): StepsOptions {
    const { say, ...options } = this.#options;
    return { ...options, shard, say: (step) => say(shard, step) };
  }
}

/** It has lost a host. */
function isShort({ hosts, founders }: ShardPlace, node: string): boolean {
  return hosts.length < founders.length || hosts.includes(nodeOf(node));
}
