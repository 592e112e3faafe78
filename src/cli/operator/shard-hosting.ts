/**
 * Which nodes have a replica of a shard other than 0, as steps: a word in the map of shards, and
 * waiting until the replica that follows it votes, or is gone. As in cluster-steps.ts each step
 * begins with a look, and may be interrupted and given again.
 */

import type { NodeStatus, ReplicaStatus, ShardPlace } from '../../admin/cluster-port.ts';
import { isBeside, nodeOf } from '../../cluster/server-id.ts';
import { CliError, ExitCode } from '../exit-codes.ts';
import { visible } from '../text/columns.ts';
import { StepTalk, type StepsOptions } from './step-talk.ts';

interface Look {
  readonly status: NodeStatus;
  readonly place: ShardPlace;
  /** Undefined: nobody told of it. */
  readonly view: ReplicaStatus | undefined;
}

export class ShardHosting {
  readonly #options: StepsOptions;
  readonly #talk: StepTalk;

  constructor(options: StepsOptions) {
    this.#options = options;
    this.#talk = new StepTalk(options);
  }

  /**
   * Ends when one replica of the node is a member, and votes. `since`: its disk was lost before it
   * got this name in shard 0; what was a member before may still seem to answer.
   */
  async host(node: string, since = node): Promise<void> {
    for (;;) {
      const look = await this.#look();
      const { place, view } = look;
      if (!place.hosts.includes(node)) {
        await this.#wish(node, true, 'is to have a replica');
      } else if (!(await this.#handsOver(look)) && (await this.#isSettled(node, since, view))) {
        return this.#talk.say(node, 'voter', 'is a voter');
      }
      await this.#talk.pause(node);
    }
  }

  /**
   * Ends when no replica of the node is a member. `if-there`: says nothing where it was none from
   * the beginning.
   */
  async unhost(node: string, which: 'named' | 'if-there' = 'named'): Promise<void> {
    let isTold = which === 'named';
    for (;;) {
      const look = await this.#look();
      if (!isThere(look, node)) {
        if (isTold) await this.#talk.say(node, 'gone', 'is no member');
        return;
      }
      isTold = true;
      if (look.place.hosts.includes(node)) {
        mustStay(look.place, node);
        await this.#wish(node, false, 'is to have no replica any more');
      } else if (look.view === undefined) {
        await this.#talk.say(node, 'waiting', 'waits for a leader that is reached');
      } else if (!(await this.#handsOver(look))) {
        await this.#talk.say(node, 'waiting', 'is removed while a majority of the others answers');
      }
      await this.#talk.pause(node);
    }
  }

  /** The next shard; ends when it has a leader. */
  async make(): Promise<void> {
    const { cluster, shard } = this.#options;
    for (;;) {
      const status = await cluster.status();
      const place = placeOf(status, shard);
      if (place === undefined) {
        const made = await this.#talk.asked(await cluster.addShard(shard), status.node);
        if (made) await this.#talk.say(status.node, 'add-shard-asked', 'is made');
      } else {
        const leader = viewIn(status, shard)?.leader;
        if (leader !== undefined) return this.#talk.say(leader, 'leads', 'leads');
        const hosts = place.hosts.map((each) => visible(each)).join(', ');
        await this.#talk.say(status.node, 'waiting', `waits for a first leader among ${hosts}`);
      }
      await this.#talk.pause(status.node);
    }
  }

  async #wish(node: string, isHost: boolean, done: string): Promise<void> {
    const { cluster, shard } = this.#options;
    const made = await this.#talk.asked(await cluster.host(shard, node, isHost), node);
    if (made) await this.#talk.say(node, isHost ? 'host-asked' : 'unhost-asked', done);
  }

  /**
   * Whoever leads is not in shard 0 any more, so it goes by an old map: another one, which is, is
   * to lead. False: nothing of that.
   */
  async #handsOver({ status, place, view }: Look): Promise<boolean> {
    const known = (viewIn(status, 0)?.members ?? []).map(({ id }) => nodeOf(id));
    const leader = view?.leader;
    if (leader === undefined || known.includes(nodeOf(leader))) return false;
    const next = view?.members.find(({ id, role, progress }) => {
      const isMeant = place.hosts.includes(nodeOf(id)) && known.includes(nodeOf(id));
      return isMeant && role === 'voter' && progress?.active === true;
    });
    if (next === undefined) return false;
    const { cluster, shard } = this.#options;
    const begun = await this.#talk.asked(await cluster.transfer(shard, next.id), next.id);
    const text = `${visible(leader)}, which is not in shard 0 any more, hands over to it`;
    if (begun) await this.#talk.say(next.id, 'begun', text);
    return true;
  }

  async #isSettled(node: string, since: string, view: ReplicaStatus | undefined): Promise<boolean> {
    const members = view?.members.filter(({ id }) => nodeOf(id) === node) ?? [];
    const member = members.find(({ id }) => isBeside(id, since));
    // In the others a replica gets its name behind the one in shard 0, which has their map.
    if (view === undefined || member === undefined) {
      await this.#talk.say(node, 'waiting', 'waits until its replica asks to be a member');
      return false;
    }
    const answers = member.progress?.active === true || member.id === view.leader;
    if (member.role === 'voter' && members.length === 1 && answers) return true;
    const match = member.progress?.match;
    const fields = match === undefined ? {} : { match, last: view.last };
    const has = match === undefined ? '' : `: has entry ${match} of ${view.last}`;
    const text = answers ? `catches up${has}` : 'does not answer yet';
    await this.#talk.tell({ node, step: answers ? 'catching-up' : 'away', text, fields });
    return false;
  }

  async #look(): Promise<Look> {
    const { cluster, shard } = this.#options;
    const status = await cluster.status();
    const place = placeOf(status, shard);
    if (place !== undefined) return { status, place, view: viewIn(status, shard) };
    const text = `${visible(status.node)} knows no shard ${shard} (no-shard)`;
    throw new CliError(ExitCode.refused, text);
  }
}

/** Other than 0, of which the node has or may have a replica. */
export function shardsOf(status: NodeStatus, node: string): readonly number[] {
  return status.shards.flatMap((place) => {
    const { shard } = place;
    return isThere({ status, place, view: viewIn(status, shard) }, node) ? [shard] : [];
  });
}

/** It is to have a replica, or one of its is a member still, or nobody tells. */
function isThere({ place, view }: Look, node: string): boolean {
  if (place.hosts.includes(node) || view === undefined) return true;
  return view.members.some(({ id }) => nodeOf(id) === node);
}

function placeOf({ shards }: NodeStatus, shard: number): ShardPlace | undefined {
  return shards.find((each) => each.shard === shard);
}

/** The leader's word before that of a replica, which may be there no more and hear nothing. */
function viewIn(status: NodeStatus, shard: number): ReplicaStatus | undefined {
  const { node, replicas, elsewhere } = status;
  const isHost = placeOf(status, shard)?.hosts.includes(node) !== false;
  const own = replicas.filter(({ role }) => isHost || role === 'leader');
  return [...elsewhere, ...own].find((each) => each.shard === shard);
}

function mustStay({ shard, hosts }: ShardPlace, node: string): void {
  if (hosts.length > 1) return;
  const text = `shard ${shard} lies on ${visible(node)} alone: give it another host first`;
  throw new CliError(ExitCode.refused, `${text} (last-voter)`);
}
