/** For how long a node routes by what shards told it, with a clock that the test moves. */

import { describe, expect, it } from 'vitest';
import { AdminError } from '../../src/broker/ports.ts';
import { QueueTable } from '../../src/shard/queue-table.ts';
import { RouteFreshness } from '../../src/shard/route-freshness.ts';
import { ROUTE_STALE_MS } from '../../src/shard/route-lease.ts';

/** Lets everything that is resolved be heard. */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

class OneShard {
  readonly table = new QueueTable();
  readonly #asked: { answer(isComplete: boolean): void; fail(error: Error): void }[] = [];
  questions = 0;

  readonly barrier = (): Promise<boolean> => {
    this.questions++;
    return new Promise((resolve, reject) => {
      this.#asked.push({ answer: resolve, fail: reject });
    });
  };

  async answer(isComplete = true): Promise<void> {
    this.#asked.shift()?.answer(isComplete);
    await settled();
  }

  async fail(error: Error): Promise<void> {
    this.#asked.shift()?.fail(error);
    await settled();
  }
}

class World {
  now = 10_000;
  answers = 0;
  readonly freshness = new RouteFreshness({ timeoutMs: 10_000, now: () => this.now });
  readonly shards: OneShard[];

  constructor(count = 1) {
    this.shards = Array.from({ length: count }, () => new OneShard());
    for (const shard of this.shards) this.freshness.add(shard);
    this.freshness.onAnswer(() => void this.answers++);
  }

  /** Of a publish that comes now. */
  get isCurrent(): boolean {
    return this.freshness.covers(this.now, this.now);
  }

  get questions(): readonly number[] {
    return this.shards.map(({ questions }) => questions);
  }
}

function one(): { world: World; shard: OneShard } {
  const world = new World();
  return { world, shard: world.shards[0] as OneShard };
}

describe('the lease of a route', () => {
  it('begins when the question was asked, and not when it was answered', async () => {
    const { world, shard } = one();
    expect(world.isCurrent).toBe(false);
    world.now += 300;
    await shard.answer();
    world.now += ROUTE_STALE_MS - 300;
    expect(world.isCurrent).toBe(true);
    world.now += 1;
    expect(world.isCurrent).toBe(false);
  });

  it('asks nobody while nobody publishes, and one question at a time', async () => {
    const { world, shard } = one();
    expect(world.questions).toEqual([0]);
    for (let nth = 0; nth < 5; nth++) expect(world.isCurrent).toBe(false);
    expect(world.questions).toEqual([1]);
    await shard.answer();
    expect(world.answers).toBe(1);
    world.now += 10_000;
    await settled();
    expect(world.questions).toEqual([1]);
  });

  it('is renewed under load when the half of it is over, and nobody waits for that', async () => {
    const { world, shard } = one();
    expect(world.isCurrent).toBe(false);
    await shard.answer();
    for (let ms = 0; ms < 3 * ROUTE_STALE_MS; ms += 10) {
      expect(world.isCurrent).toBe(true);
      if (ms % 50 === 0) await shard.answer();
      world.now += 10;
    }
    expect(shard.questions).toBeLessThanOrEqual(7);
  });

  it('covers what came before it was asked, however long the answer took', async () => {
    const { world, shard } = one();
    const cameMs = world.now;
    expect(world.freshness.covers(cameMs, world.now)).toBe(false);
    world.now += 60_000;
    await shard.answer();
    expect(world.freshness.covers(cameMs, world.now)).toBe(true);
    expect(world.freshness.covers(cameMs + 1, world.now)).toBe(false);
  });

  it('is over when another session tells the queues, and an answer from before gives none', async () => {
    const { world, shard } = one();
    expect(world.isCurrent).toBe(false);
    await shard.answer();
    expect(world.isCurrent).toBe(true);
    shard.table.restart();
    expect(world.isCurrent).toBe(false);
    shard.table.restart();
    await shard.answer();
    expect(world.isCurrent).toBe(false);
    await shard.answer();
    expect(world.isCurrent).toBe(true);
  });

  it('is not given where nobody could be asked, or not everything is known; both are told', async () => {
    const { world, shard } = one();
    expect(world.isCurrent).toBe(false);
    await shard.fail(new AdminError('unavailable', 'nobody leads'));
    expect([world.isCurrent, world.answers]).toEqual([false, 1]);
    await shard.answer(false);
    expect([world.isCurrent, world.answers]).toEqual([false, 2]);
    await shard.answer();
    expect(world.isCurrent).toBe(true);
  });

  it('is needed of every shard, also of one that comes later', async () => {
    const world = new World(2);
    const [a, b] = world.shards as [OneShard, OneShard];
    expect(world.isCurrent).toBe(false);
    await a.answer();
    expect(world.isCurrent).toBe(false);
    world.now += 200;
    await b.answer();
    expect(world.isCurrent).toBe(true);
    const c = new OneShard();
    world.freshness.add(c);
    expect(world.isCurrent).toBe(false);
    await c.answer();
    expect(world.isCurrent).toBe(true);
    expect(world.questions).toEqual([1, 1]);
  });
});
