import { afterEach, describe, expect, it, vi } from 'vitest';
import { AdminError } from '../../src/broker/ports.ts';
import type { ShardMap } from '../../src/machine/shard-map.ts';
import { ReachedShards } from '../../src/shard/reached-shards.ts';
import { until } from '../support/shard-world.ts';

const TIMEOUT_MS = 1000;

function mapOf(...numbers: readonly number[]): ShardMap {
  return numbers.map((number) => ({ number, founders: ['n'], hosts: ['n'] }));
}

interface Asked {
  resolve(map: ShardMap): void;
  reject(error: Error): void;
}

/** Shard 0 answers when the test says so. */
class World {
  readonly asked: Asked[] = [];
  readonly shards = new ReachedShards({
    map: () => new Promise((resolve, reject) => this.asked.push({ resolve, reject })),
    isClosed: () => false,
    isShared: true,
    timeoutMs: TIMEOUT_MS,
  });

  async answer(nth: number, map: ShardMap): Promise<void> {
    await until(() => this.asked.length > nth);
    this.asked[nth]?.resolve(map);
  }
}

afterEach(() => vi.useRealTimers());

describe('shards that are missing', () => {
  it('are those of a map that was asked for behind the question, one at a time', async () => {
    const { asked, shards } = new World();
    const early = [shards.missing(), shards.missing()];
    await until(() => asked.length === 1);
    const late = [shards.missing(), shards.missing()];
    await new Promise((resolve) => setImmediate(resolve));
    expect(asked).toHaveLength(1);
    asked[0]?.resolve(mapOf());
    expect(await Promise.all(early)).toEqual([[], []]);
    await until(() => asked.length === 2);
    shards.add(1);
    asked[1]?.resolve(mapOf(1));
    expect(await Promise.all(late)).toEqual([[], []]);
  });

  it('are waited for, so long and no longer; the next question begins anew', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const world = new World();
    const missing = world.shards.missing();
    await world.answer(0, mapOf(1, 2));
    world.shards.add(2);
    await until(() => vi.getTimerCount() > 0);
    vi.advanceTimersByTime(TIMEOUT_MS);
    expect(await missing).toEqual([1]);
    const next = world.shards.missing();
    await world.answer(1, mapOf(1, 2));
    await until(() => vi.getTimerCount() > 0);
    world.shards.add(1);
    expect(await next).toEqual([]);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('are not known while shard 0 has no leader, and asked for again', async () => {
    const { asked, shards } = new World();
    const unknown = shards.missing();
    await until(() => asked.length === 1);
    asked[0]?.reject(new AdminError('unavailable', 'no leader'));
    await expect(unknown).rejects.toThrow('no leader');
    const next = shards.missing();
    await until(() => asked.length === 2);
    asked[1]?.resolve(mapOf());
    expect(await next).toEqual([]);
  });

  it('are those at once that a start went on without, until they are reached', async () => {
    const world = new World();
    const complete = world.shards.complete(0);
    await world.answer(0, mapOf(1));
    expect(await complete).toEqual([1]);
    expect(await world.shards.missing()).toEqual([1]);
    expect(world.asked).toHaveLength(1);
    expect(world.shards.add(1)).toBe(true);
    expect(world.shards.add(2)).toBe(false);
    expect([...world.shards.doneWithout]).toEqual([]);
  });

  it('are waited for by nobody when all is closed', async () => {
    const world = new World();
    const missing = world.shards.missing();
    await world.answer(0, mapOf(1));
    await new Promise((resolve) => setImmediate(resolve));
    world.shards.close();
    expect(await missing).toEqual([1]);
  });
});
