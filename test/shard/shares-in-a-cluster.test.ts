/**
 * Members of shares that are durable sessions, on three nodes: all of them know who is a member,
 * and whether anybody has it. Three replicas, the client of the product on each.
 */

import { describe, expect, it } from 'vitest';
import type { DurableShare } from '../../src/broker/durable-shares.ts';
import type { QueueId, SessionHandle } from '../../src/broker/ports.ts';
import { QueueRoutes } from '../../src/broker/queue-routes.ts';
import { Owner, World, subscription } from '../support/session-cluster.ts';
import type { ShardNode } from '../support/shard-cluster.ts';

const SHARE = { ...subscription('$share/g/m/+'), isRouted: true };
const CHANGE = { subscribe: [SHARE], unsubscribe: [] };

class Shares {
  readonly world = new World();
  readonly #routes = new Map<string, QueueRoutes>();

  /** As the broker of that node would route now. */
  at(node: ShardNode, topic = 'm/1'): readonly DurableShare[] {
    const { queues } = this.world.client(node);
    const routes = this.#routes.get(node.id) ?? new QueueRoutes(queues);
    this.#routes.set(node.id, routes);
    routes.changed();
    return routes.capturing(topic).durableShares;
  }

  /** Of the one share on each of the nodes: members that are owned, and that are asleep. */
  members(nodes: readonly ShardNode[]): [owned: number, asleep: number][] {
    return nodes.map((node) => {
      const [share] = this.at(node);
      return [share?.count('owned') ?? 0, share?.count('asleep') ?? 0];
    });
  }

  async until(nodes: readonly ShardNode[], owned: number, asleep: number): Promise<void> {
    await this.world.cluster.until(() =>
      this.members(nodes).every((each) => each[0] === owned && each[1] === asleep),
    );
  }

  /** The member subscribes on that node; with what the nodes knew when it was told so. */
  async join(node: ShardNode, clientId: string) {
    const { world } = this;
    const { handle } = await world.claim(node, { clientId });
    const owner = new Owner(world.store(node), handle);
    await world.cluster.until(() => owner.attached);
    let known: readonly (readonly DurableShare[])[] = [];
    const told = world.store(node).change(handle, CHANGE);
    const look = (): void => {
      known = world.cluster.nodes.map((each) => this.at(each));
    };
    told.then(look, look);
    await world.cluster.done(told);
    const isMember = known.map((shares) => shares.some((share) => share.has(handle.queueId)));
    return { handle, owner, isMember };
  }

  async leave(node: ShardNode, handle: SessionHandle, owner: Owner): Promise<void> {
    owner.consumer.close('returned');
    const leaving = { expirySeconds: 60, isInPeace: true };
    await this.world.cluster.done(this.world.store(node).leave(handle, leaving));
  }
}

describe('a share of which a durable session is a member', () => {
  it('is known on every node behind SUBACK, asleep from when it is left, and awake where it is claimed', async () => {
    const shares = new Shares();
    const { leader, others } = await shares.world.start();
    const [a, b] = others;
    const all = [leader, a, b];
    const { handle, owner, isMember } = await shares.join(a, 'c');
    expect(isMember).toEqual([true, true, true]);
    expect(shares.members(all)).toEqual([
      [1, 0],
      [1, 0],
      [1, 0],
    ]);
    const objects = all.map((node) => shares.at(node)[0]);
    await shares.leave(a, handle, owner);
    await shares.until(all, 0, 1);
    expect(shares.at(b)[0]?.next('asleep')).toBe(handle.queueId);
    const next = await shares.world.claim(b);
    await shares.until(all, 1, 0);
    // Nobody had to look for another route meanwhile.
    expect(all.map((node) => shares.at(node)[0])).toEqual(objects);
    const gone = { subscribe: [], unsubscribe: [SHARE.filter] };
    await shares.world.cluster.done(shares.world.store(b).change(next.handle, gone));
    expect(all.map((node) => shares.at(node))).toEqual([[], [], []]);
  });

  it('has the only member asleep on a node that is killed: the others find out', async () => {
    const shares = new Shares();
    const { world } = shares;
    const { leader, others } = await world.start();
    const [a, b] = others;
    await shares.join(a, 'c');
    const alive = [leader, b];
    expect(shares.members(alive)).toEqual([
      [1, 0],
      [1, 0],
    ]);
    a.crash();
    await world.pass(20_000);
    expect(shares.members(alive)).toEqual([
      [1, 0],
      [1, 0],
    ]);
    await world.pass(25_000);
    await shares.until(alive, 0, 1);
    // Its client comes to another node.
    const { present } = await world.claim(b, { clientId: 'c' });
    expect(present).toBe(true);
    await shares.until(alive, 1, 0);
  });

  it('keeps its members when the leader is killed; one that ends is in it no longer', async () => {
    const shares = new Shares();
    const { world } = shares;
    const { leader, others } = await world.start();
    const [a, b] = others;
    const member = await shares.join(a, 'c');
    const other = await shares.join(b, 'd');
    await shares.leave(b, other.handle, other.owner);
    await shares.until([a, b], 1, 1);
    leader.crash();
    await world.cluster.leading(leader);
    await world.pass(1_000);
    expect(shares.members([a, b])).toEqual([
      [1, 1],
      [1, 1],
    ]);
    await world.pass(60_000);
    await shares.until([a, b], 1, 0);
    expect(shares.at(b)[0]?.has(member.handle.queueId)).toBe(true);
  });
});

describe('the member that a QoS 2 publish is given to', () => {
  it('is the first one on every node, also when the choice was made at a leader that is gone', async () => {
    const { world } = new Shares();
    const { leader, others } = await world.start();
    const [a, b] = others;
    const { handle } = await world.claim(a);
    const first = [{ share: 7, queueId: 3 as QueueId }];
    const choosing = { packetId: 9, choices: first, isInstead: false };
    const chosen = await world.cluster.done(world.store(a).choose(handle, choosing));
    expect(chosen).toEqual({ isNew: true, choices: first });
    leader.crash();
    await world.cluster.leading(leader);
    const next = await world.claim(b);
    const others2 = { ...choosing, choices: [{ share: 7, queueId: 4 as QueueId }] };
    const again = await world.cluster.done(world.store(b).choose(next.handle, others2));
    expect(again).toEqual({ isNew: false, choices: first });
  });

  it('is new to who chose, though the word of the leader was lost and another one is asked', async () => {
    const { world } = new Shares();
    const { leader, others } = await world.start();
    const [a] = others;
    const { handle } = await world.claim(a);
    const choosing = {
      packetId: 9,
      choices: [{ share: 7, queueId: 3 as QueueId }],
      isInstead: false,
    };
    const { applied } = leader;
    const asked = world.store(a).choose(handle, choosing);
    let isTold = false;
    void asked.then(() => void (isTold = true));
    // Committed by the leader, and its answer never arrives.
    await world.cluster.until(() => leader.applied > applied);
    expect(isTold).toBe(false);
    leader.crash();
    await world.cluster.leading(leader);
    expect(await world.cluster.done(asked)).toEqual({ isNew: true, choices: choosing.choices });
  });
});
