/**
 * What the faults of a seed leave behind: who fails of one that it met before all was healed starts
 * again, and an end that was lost counts among the disks that are gone, until it is there again.
 */

import { describe, expect, it } from 'vitest';

import { Cluster, ELECTION_US } from '../../../raft/simulation/cluster.ts';
import { FaultInjector } from '../../../raft/simulation/fault-injector.ts';
import { ledgers } from '../../../raft/simulation/ledger.ts';
import type { SimulatedNode } from '../../../raft/simulation/node.ts';
import { Operator } from '../../../raft/simulation/operator.ts';
import { Random } from '../../../raft/simulation/random.ts';
import type { Plan } from '../../../raft/simulation/swarm.ts';

const MILLISECOND_US = 1000;
const BEGUN_US = 20 * ELECTION_US;
const ENTRIES = 8;
const STRIKES = 6;

/** One that has begun, without a fault of its own. */
async function begun(seed: number, changes: Pick<Plan, 'level' | 'nodes'>) {
  const links = { loss: 0, duplication: 0, replay: 0, reorders: false };
  const calm = { ...changes, stepKinds: [], linkKinds: [], tiny: false };
  const cluster = new Cluster(seed, {
    machines: ledgers,
    change: (plan) => ({ ...plan, ...calm, links: { ...plan.links, ...links } }),
  });
  cluster.start();
  const operator = new Operator(cluster);
  const injector = new FaultInjector(cluster, operator);
  const hasBegun = (): boolean => (cluster.leader()?.view()?.committed ?? 0) > 0;
  expect(await cluster.run(hasBegun, BEGUN_US)).toBe(true);
  return { cluster, operator, injector, leader: cluster.leader() as SimulatedNode };
}

function runFor(cluster: Cluster, us: number): Promise<boolean> {
  return cluster.run(() => false, cluster.kernel.nowUs + us);
}

function propose(node: SimulatedNode, number: number): void {
  node.propose('c1', [number], () => undefined);
}

/** Its disk hangs, then is full, and it hears of that with the healing: it was paused. */
async function healedLate() {
  const made = await begun(1, { level: 'host', nodes: 1 });
  const { cluster, injector, leader } = made;
  const mend = leader.breakDisk('hung');
  leader.breakDisk('full');
  propose(leader, 1);
  await runFor(cluster, 10 * MILLISECOND_US);
  propose(leader, 2);
  await runFor(cluster, 10 * MILLISECOND_US);
  leader.pause();
  mend?.();
  await runFor(cluster, 100 * MILLISECOND_US);
  expect(leader.state).toBe('paused');
  injector.heal();
  return made;
}

describe('after all is healed', () => {
  it('who fails of what it met before starts again', async () => {
    const { cluster, leader } = await healedLate();
    const { kernel } = cluster;
    expect(await cluster.run(() => leader.state === 'failed', kernel.nowUs + ELECTION_US)).toBe(
      true,
    );
    const leads = (): boolean => cluster.leader() !== undefined;
    expect(await cluster.run(leads, kernel.nowUs + 4 * ELECTION_US)).toBe(true);
  });

  it('and once only: its disk is whole then', async () => {
    const { cluster, leader } = await healedLate();
    const leads = (): boolean => cluster.leader() !== undefined;
    await runFor(cluster, ELECTION_US);
    expect(await cluster.run(leads, cluster.kernel.nowUs + 4 * ELECTION_US)).toBe(true);
    leader.breakDisk('full');
    propose(leader, 3);
    await runFor(cluster, 4 * ELECTION_US);
    expect(leader.state).toBe('failed');
  });
});

/** One that follows is struck while it is down; where its log ends when another disk is lost. */
async function struck(seed: number) {
  const { cluster, operator, leader } = await begun(seed, { level: 'core', nodes: 4 });
  for (let number = 1; number <= ENTRIES; number += 1) propose(leader, number);
  const follower = cluster.nodes.find((node) => node !== leader) as SimulatedNode;
  await runFor(cluster, ELECTION_US);
  const last = follower.view()?.last ?? 0;
  expect(last).toBeGreaterThan(ENTRIES);
  follower.crash();
  if (follower.damage(new Random(seed)) === undefined) return undefined;
  cluster.startNode(follower.id);
  let [least, end] = [last, last];
  const hasLost = (): boolean => {
    const view = follower.view();
    if (view === undefined) return false;
    end = view.last;
    least = Math.min(least, end);
    return operator.act('disk lost') !== undefined;
  };
  const isLost = await cluster.run(hasLost, cluster.kernel.nowUs + 4 * ELECTION_US);
  expect(isLost).toBe(true);
  return { last, least, end };
}

describe('a disk is lost', () => {
  it('only after an end that was lost elsewhere is there again', async () => {
    let lostEnds = 0;
    for (let seed = 1; seed <= STRIKES; seed += 1) {
      const found = await struck(seed);
      if (found === undefined) continue;
      const { last, least, end } = found;
      if (least < last) lostEnds += 1;
      expect(end, `seed ${seed}`).toBeGreaterThanOrEqual(last);
    }
    expect(lostEnds).toBeGreaterThan(0);
  });
});
