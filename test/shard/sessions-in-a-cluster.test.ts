/**
 * Durable sessions on three nodes: any of them claims, consumes and changes, whoever leads. Three
 * shards as replicas, the client of the product on each.
 */

import { describe, expect, it } from 'vitest';
import type { Offset } from '../../src/broker/ports.ts';
import { ROUTE_STALE_MS } from '../../src/shard/route-lease.ts';
import { Owner, World, subscription } from '../support/session-cluster.ts';

const stale = expect.objectContaining({ name: 'SessionError', code: 'stale-owner' });

describe('a session in a cluster', () => {
  it('is claimed away from another node: what was in flight comes there, in order, marked', async () => {
    const world = new World();
    const { leader, others } = await world.start();
    const [a, b] = others;
    const first = await world.claim(a);
    const former = new Owner(world.store(a), first.handle, 3);
    await world.publish(leader, ['1', '2', '3', '4', '5']);
    await world.cluster.until(() => former.got.length === 3);
    former.settle(1);
    const second = await world.claim(b);
    expect(second).toMatchObject({ present: true, handle: { ownerEpoch: 2 } });
    const owner = new Owner(world.store(b), second.handle);
    await world.cluster.until(() => owner.got.length === 4 && former.cancelled !== undefined);
    expect(owner.texts).toEqual(['1', '3', '4', '5']);
    expect(owner.got.map(({ redelivered }) => redelivered)).toEqual([true, true, false, false]);
    expect(former.cancelled).toBe('taken-over');
    const late = world.store(a).halve(first.handle, 0 as Offset);
    await expect(world.cluster.done(late)).rejects.toEqual(stale);
    const left = world.store(a).leave(first.handle, { expirySeconds: 0, isInPeace: true });
    await expect(world.cluster.done(left)).rejects.toEqual(stale);
  });

  it('captures on every node by what it subscribes to, when that is told', async () => {
    const world = new World();
    const { others } = await world.start();
    const { handle } = await world.claim(others[0]);
    for (const [filter, unsubscribe] of [
      ['a/#', []],
      ['b', ['a/#']],
      ['c', ['b']],
    ] as const) {
      const change = { subscribe: [subscription(filter)], unsubscribe };
      const promise = world.store(others[0]).change(handle, change);
      let shown: unknown;
      const look = (): void => {
        shown = world.cluster.nodes.map((node) => world.topics(node));
      };
      promise.then(look, look);
      await world.cluster.done(promise);
      expect(shown).toEqual([[filter], [filter], [filter]]);
    }
  });

  it('is changed also while a node does not get on or is gone, when its lease is over', async () => {
    const world = new World();
    const { others } = await world.start();
    const [a, b] = others;
    const { handle } = await world.claim(a);
    await world.cluster.until(() => world.topics(b) !== undefined);
    world.cluster.links.stalled.add(b.id);
    const change = { subscribe: [subscription('a/#')], unsubscribe: [] };
    const begun = world.cluster.clock.monotonicMs();
    await world.cluster.done(world.store(a).change(handle, change));
    expect(world.cluster.clock.monotonicMs() - begun).toBeGreaterThan(ROUTE_STALE_MS);
    expect([world.topics(a), world.topics(b)]).toEqual([['a/#'], []]);
    world.cluster.links.stalled.clear();
    await world.cluster.until(() => world.topics(b)?.length === 1);
    world.cluster.links.isolate(b.id);
    const gone = world.cluster.clock.monotonicMs();
    const more = { subscribe: [subscription('b')], unsubscribe: [] };
    await world.cluster.done(world.store(a).change(handle, more));
    expect(world.cluster.clock.monotonicMs() - gone).toBeGreaterThan(ROUTE_STALE_MS);
    const later = world.cluster.clock.monotonicMs();
    await world.cluster.done(world.store(a).change(handle, change));
    expect(world.cluster.clock.monotonicMs() - later).toBeLessThan(400);
  });

  it('outlives its leader: owner, halves, fences and what is unsettled, in order', async () => {
    const world = new World();
    const { leader, others } = await world.start();
    const [a, b] = others;
    const former = await world.claim(b);
    const { handle } = await world.claim(a);
    const store = world.store(a);
    const owner = new Owner(store, handle, 4);
    const change = { subscribe: [subscription('a')], unsubscribe: [] };
    await world.cluster.done(store.change(handle, change));
    await world.publish(b, ['1', '2', '3', '4', '5']);
    await world.cluster.until(() => owner.got.length === 4);
    await world.cluster.done(store.halve(handle, 1 as Offset));
    owner.settle(0);
    leader.crash();
    await world.cluster.leading(leader);
    owner.consumer.grant(10);
    await world.cluster.until(() => owner.texts.includes('5'));
    // What it holds is still its own.
    expect(owner.texts).toEqual(['1', '2', '3', '4', '5']);
    expect(owner.cancelled).toBeUndefined();
    const late = world.store(b).halve(former.handle, 2 as Offset);
    await expect(world.cluster.done(late)).rejects.toEqual(stale);
    const next = await world.claim(b);
    expect(next).toMatchObject({ present: true, subscriptions: [{ filter: 'a' }], halves: [1] });
    const last = new Owner(world.store(b), next.handle);
    await world.cluster.until(() => last.got.length === 3);
    expect(last.texts).toEqual(['3', '4', '5']);
    expect(last.got.every(({ redelivered }) => redelivered)).toBe(true);
    expect(owner.cancelled).toBe('taken-over');
  });

  it('of a node that was not reached, and says late what it does: it is refused', async () => {
    const world = new World();
    const { others } = await world.start();
    const [a, b] = others;
    const { handle } = await world.claim(a);
    const owner = new Owner(world.store(a), handle);
    await world.publish(b, ['1', '2']);
    await world.cluster.until(() => owner.got.length === 2);
    world.cluster.links.isolate(a.id);
    const late = [
      world.store(a).halve(handle, 0 as Offset),
      world.store(a).change(handle, { subscribe: [subscription('x')], unsubscribe: [] }),
      world.store(a).leave(handle, { expirySeconds: 0, isInPeace: true }),
    ].map((each) => each.catch((error: unknown) => error));
    const next = await world.claim(b);
    const taken = new Owner(world.store(b), next.handle);
    world.cluster.heal();
    await world.cluster.until(() => owner.cancelled !== undefined);
    expect(owner.cancelled).toBe('taken-over');
    expect(await world.cluster.done(Promise.all(late))).toEqual([stale, stale, stale]);
    await world.cluster.until(() => taken.got.length === 2);
    expect(taken.texts).toEqual(['1', '2']);
  });

  it('of a node that is lost ends its time later, and not where somebody consumes', async () => {
    const world = new World();
    const { leader, others } = await world.start();
    const [a, b] = others;
    const { handle } = await world.claim(a, { expirySeconds: 20 });
    const kept = await world.claim(b, { clientId: 'kept', expirySeconds: 20 });
    const owners = [new Owner(world.store(a), handle), new Owner(world.store(b), kept.handle)];
    await world.cluster.until(() => owners.every(({ attached }) => attached));
    a.crash();
    await world.pass(45_000);
    expect(world.topics(leader)).toBeDefined();
    await world.pass(15_000);
    await world.cluster.until(() => world.topics(leader) === undefined);
    expect(world.client(b).queues.named('$session/kept')).toBeDefined();
    expect(owners[1]?.cancelled).toBeUndefined();
  });
});
