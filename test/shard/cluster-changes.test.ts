/**
 * Changes of a cluster whose nodes do not all know the map of shards as it is: those who leave
 * shard 0 hear nothing of it any more, and still have replicas of the others.
 */

import { describe, expect, it, vi } from 'vitest';
import { Random } from '../../raft/simulation/random.ts';
import { ClusterChanges } from '../../src/cli/operator/cluster-changes.ts';
import { nodeOf } from '../../src/cluster/server-id.ts';
import type { ClusterNode } from '../support/cluster-node.ts';
import { NodeCluster, withFakeTime } from '../support/node-cluster.ts';

const LOOK_MS = 200;
/** Of the node that was removed, at the shards that it believes to have. */
const MANY_LOOKS_MS = 5_000;
const SHARD = 1;
const CLOCK_MS = 1_767_225_600_000;

withFakeTime();

class World {
  readonly cluster = new NodeCluster({
    random: new Random(1),
    nodes: ['a', 'b', 'c'],
    wishes: {},
    said: () => undefined,
  });

  /** As if given at this node; ends when the change has succeeded. */
  async give(node: ClusterNode, change: (changes: ClusterChanges) => Promise<void>): Promise<void> {
    const { cluster } = node;
    if (cluster === undefined) throw new Error(`${node.id} is down`);
    const pause = (): Promise<void> => new Promise((resolve) => void setTimeout(resolve, LOOK_MS));
    const say = (): Promise<void> => Promise.resolve();
    const changes = new ClusterChanges({ cluster, say, pause, isOver: () => false });
    await this.cluster.done(change(changes));
  }

  /** One more node, which waits. */
  async newNode(id: string): Promise<ClusterNode> {
    const node = await this.cluster.make(id);
    this.cluster.joins(id);
    await this.cluster.done(node.start());
    await this.cluster.until('it says its name', () => node.serverId(0) !== undefined);
    return node;
  }

  members(shard: number): readonly string[] {
    const status = this.cluster.leaderOf(shard)?.replica(shard);
    const members = status?.configuration.configuration.members ?? [];
    return members.map(({ id }) => nodeOf(id)).toSorted();
  }

  async pass(ms: number): Promise<void> {
    const end = performance.now() + ms;
    await this.cluster.until('time has passed', () => performance.now() >= end);
  }

  end(): void {
    for (const node of this.cluster.nodes) node.cut(1, true);
  }
}

describe('a change of the cluster', () => {
  it('a node is replaced that leads a shard of which the new one has no replica', async () => {
    const world = new World();
    const { cluster } = world;
    await cluster.start();
    const [a, b] = cluster.nodes as [ClusterNode, ClusterNode];
    await world.give(a, (changes) => changes.stepsOf(SHARD).transfer('b'));
    await cluster.until('b leads', () => b.leads(SHARD));
    const d = await world.newNode('d');
    const id = d.serverId(0) as string;
    await world.give(a, (changes) => changes.replace('b', id, d.address));
    await cluster.until('somebody leads', () => cluster.leaderOf(SHARD) !== undefined);
    expect([world.members(0), world.members(SHARD)]).toEqual([
      ['a', 'c', 'd'],
      ['a', 'c', 'd'],
    ]);
    world.end();
  });

  it('a node that never heard that it has no replica any more does not come back', async () => {
    const world = new World();
    const { cluster } = world;
    await cluster.start();
    const [a, , c] = cluster.nodes as [ClusterNode, ClusterNode, ClusterNode];
    await world.give(a, (changes) => changes.stepsOf(SHARD).transfer('a'));
    await world.give(a, (changes) => changes.stepsOf(0).transfer('a'));
    cluster.peers.isolate('c');
    await world.give(a, (changes) => changes.remove('c'));
    expect(c.part(SHARD)?.row?.hosts).toContain('c');
    cluster.peers.heal();
    const { index } = a.replica(SHARD)?.configuration ?? { index: 0 };
    await world.pass(MANY_LOOKS_MS);
    expect(a.replica(SHARD)?.configuration.index).toBe(index);
    expect([world.members(0), world.members(SHARD)]).toEqual([
      ['a', 'b'],
      ['a', 'b'],
    ]);
    world.end();
  });

  it('a command at a node that was cut off goes by the map as it is when that is reached', async () => {
    const world = new World();
    const { cluster } = world;
    await cluster.start();
    const [a, b, c] = cluster.nodes as [ClusterNode, ClusterNode, ClusterNode];
    await world.give(a, (changes) => changes.stepsOf(0).transfer('a'));
    cluster.peers.isolate('c');
    // Its founders are all nodes, and begin when all are there.
    const made = world.give(a, (changes) => changes.hosting(2).make());
    await cluster.until('the shard is in the map', () => a.part(2) !== undefined);
    expect(c.part(2)).toBeUndefined();
    const removed = world.give(c, (changes) => changes.remove('b'));
    await world.pass(1_000);
    cluster.peers.heal();
    await Promise.all([made, removed]);
    expect([0, SHARD, 2].map((shard) => world.members(shard))).toEqual([
      ['a', 'c'],
      ['a', 'c'],
      ['a', 'c'],
    ]);
    expect(b.leads(2)).toBe(false);
    world.end();
  });

  it('nobody is taken out of shard 0 alone whose node is to have a replica of another one', async () => {
    const world = new World();
    const { cluster } = world;
    await cluster.start();
    const [a, b] = cluster.nodes as [ClusterNode, ClusterNode];
    const alone = world.give(a, (changes) => changes.remove('c', 0));
    await expect(alone).rejects.toThrow('c has a replica of shard 1, and without shard 0');
    // Nor by one that would ask whoever leads all the same.
    const asked = b.cluster?.change(0, { kind: 'remove', id: 'c' }) ?? expect.fail('b is down');
    expect(await cluster.done(asked)).toMatchObject({ kind: 'refused', code: 'has-shards' });
    expect([world.members(0), world.members(SHARD)]).toEqual([
      ['a', 'b', 'c'],
      ['a', 'b', 'c'],
    ]);
    await world.give(a, (changes) => changes.remove('c', SHARD));
    await world.give(a, (changes) => changes.remove('c', 0));
    expect(world.members(0)).toEqual(['a', 'b']);
    world.end();
  });

  it('a node that leads by an old map hands over, and is removed', async () => {
    const world = new World();
    const { cluster } = world;
    await cluster.start();
    const [a, , c] = cluster.nodes as [ClusterNode, ClusterNode, ClusterNode];
    await world.give(a, (changes) => changes.stepsOf(0).transfer('a'));
    await world.give(a, (changes) => changes.stepsOf(SHARD).transfer('c'));
    await cluster.until('they lead', () => a.leads(0) && c.leads(SHARD));
    // As `remove --shard 0` did before.
    expect(a.raft(0)?.changeMembership({ kind: 'remove', id: 'c' }).kind).toBe('accepted');
    await cluster.until('it has left', () => world.members(0).join() === 'a,b');
    expect(world.members(SHARD)).toEqual(['a', 'b', 'c']);
    await world.give(a, (changes) => changes.remove('c'));
    await cluster.until('another one leads', () => cluster.leaderOf(SHARD) !== undefined);
    expect(world.members(SHARD)).toEqual(['a', 'b']);
    world.end();
  });

  it('a command at a node that a shard has left goes by the word of its leader', async () => {
    const world = new World();
    const { cluster } = world;
    await cluster.start();
    const [a, , c] = cluster.nodes as [ClusterNode, ClusterNode, ClusterNode];
    await world.give(a, (changes) => changes.stepsOf(SHARD).transfer('a'));
    await world.give(a, (changes) => changes.remove('c', SHARD));
    await cluster.until('it hears nobody', () => c.replica(SHARD)?.leader === undefined);
    await world.give(c, (changes) => changes.remove('b'));
    expect([world.members(0), world.members(SHARD)]).toEqual([['a', 'c'], ['a']]);
    world.end();
  });

  it('a disk that is lost twice in a second is two servers, and the second is no member', async () => {
    const world = new World();
    const { cluster } = world;
    await cluster.start();
    const [a] = cluster.nodes as [ClusterNode];
    vi.setSystemTime(CLOCK_MS);
    const d = await world.newNode('d');
    const first = d.serverId(0) as string;
    await world.give(a, (changes) => changes.stepsOf(0).add(first, d.address, true));
    d.cut(0, false);
    d.wipe();
    vi.setSystemTime(CLOCK_MS);
    await cluster.done(d.start());
    await cluster.until('it says its name', () => d.serverId(0) !== undefined);
    await world.pass(MANY_LOOKS_MS);
    expect(d.serverId(0)).not.toBe(first);
    // Under the name that is a member it would have got everything, and have voted.
    expect(d.replica(0)?.accepted).toBe(0);
    world.end();
  });
});
