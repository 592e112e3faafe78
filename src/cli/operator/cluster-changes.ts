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
import { ShardHosting, shardsOf } from './shard-hosting.ts';
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
    const places = await this.#places();
    if (shard !== undefined) await this.#mustHaveMap(node, address);
    for (const place of places) {
      const isMeant = shard === undefined ? isShort(place, node) : place.shard === shard;
      if (isMeant) await this.hosting(place.shard).host(nodeOf(node));
    }
  }

  /**
   * Shard 0 is left last: a node that hears nothing of the map any more would go on in the others,
   * and lead them, by what it knew of it. So it is never left alone before them.
   */
  async remove(node: string, only?: number): Promise<void> {
    for (;;) {
      if (only === 0) await this.#mustBeInNoOther(node);
      else await this.#leaveOthers(node, only);
      // Where it was given one meanwhile: from the beginning.
      if ((only ?? 0) !== 0 || (await this.stepsOf(0).remove(node))) return;
    }
  }

  /**
   * The one that comes votes before the other one goes, which leaves shard 0 last: as long as it
   * may lead one of the others it needs their map, or it would remove the one that comes again.
   */
  async replace(old: string, node: string, address: string): Promise<void> {
    await this.#mustBeKnown(old, node);
    await this.stepsOf(0).add(node, address, true);
    do await this.#handOn(old, node);
    while (!(await this.stepsOf(0).remove(old)));
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

  /** The replicas of the other shards. */
  async #handOn(old: string, node: string): Promise<void> {
    const isSame = nodeOf(old) === nodeOf(node);
    for (const { shard, hosts } of await this.#places()) {
      if (hosts.includes(nodeOf(old))) {
        await this.hosting(shard).host(nodeOf(node), isSame ? node : undefined);
      }
      // Also where the map has it no more, and its replica is there still.
      if (!isSame) await this.hosting(shard).unhost(nodeOf(old), 'if-there');
    }
  }

  async #leaveOthers(id: string, only: number | undefined): Promise<void> {
    const places = await this.#places();
    const next = await this.#replacedBy(id);
    if (only !== undefined) {
      if (next !== undefined) throw refusedFor(id, next);
      return this.hosting(only).unhost(nodeOf(id));
    }
    if (next !== undefined) return;
    for (const { shard } of places) await this.hosting(shard).unhost(nodeOf(id), 'if-there');
  }

  /** Another replica of its node, which answers, and has taken over those of the other shards. */
  async #replacedBy(id: string): Promise<string | undefined> {
    const { members, leader } = await this.stepsOf(0).current();
    const ofNode = members.filter((each) => nodeOf(each.id) === nodeOf(id));
    const live = ofNode.filter((each) => each.progress?.active === true || each.id === leader);
    return live.some((each) => each.id === id) ? undefined : live[0]?.id;
  }

  async #mustBeInNoOther(id: string): Promise<void> {
    await this.#places();
    if ((await this.#replacedBy(id)) !== undefined) return;
    const others = shardsOf(await this.status(), nodeOf(id));
    if (others.length === 0) return;
    const name = visible(id);
    const text =
      `${name} has a replica of shard ${others.join(', ')}, and without shard 0, which has the ` +
      `map of the others, it would hear no more who is to have and to lead them; nothing was ` +
      `done. Whole it goes from the others first, and from shard 0 last: fluxmq cluster remove ` +
      `${name}, without --shard`;
    throw new CliError(ExitCode.refused, `${text} (has-shards)`);
  }

  /** Who is not in shard 0 never hears that it is to have a replica of another one. */
  async #mustHaveMap(id: string, address: string): Promise<void> {
    const { members } = await this.stepsOf(0).look();
    if (members.some((each) => nodeOf(each.id) === nodeOf(id))) return;
    const first = `fluxmq cluster add ${visible(id)} ${visible(address)}`;
    const text = `${visible(id)} is no member of shard 0, where every node has to be`;
    throw new CliError(ExitCode.refused, `${text}: first ${first} (not-member)`);
  }

  #of(shard: number): StepsOptions {
    const { say, ...options } = this.#options;
    return { ...options, shard, say: (step) => say(shard, step) };
  }
}

function refusedFor(id: string, next: string): CliError {
  const text = `${visible(id)} was replaced by ${visible(next)}, which has that replica: name that`;
  return new CliError(ExitCode.refused, `${text} (not-member)`);
}

/** It has lost a host. */
function isShort({ hosts, founders }: ShardPlace, node: string): boolean {
  return hosts.length < founders.length || hosts.includes(nodeOf(node));
}
