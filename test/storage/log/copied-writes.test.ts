/** The sync beside the copies: what it covers, what it reports, and what a failure leaves. */
import { describe, expect, test } from 'vitest';

import { CopiedWrites } from '../../../storage/log/copied-writes.ts';
import type { Reach } from '../../../storage/log/copied-writes.ts';
import type { Deferred } from '../../../storage/log/deferred.ts';
import { deferred } from '../../../storage/log/deferred.ts';
import type { LogIndex } from '../../../storage/log/positions.ts';
import { WriteBuffer } from '../../../storage/log/write-buffer.ts';
import { at } from '../../support/small-log.ts';

class World {
  /** Syncs under way, each to be ended by the test. */
  readonly syncs: Deferred[] = [];
  readonly told: (string | number[])[] = [];
  readonly copied = new CopiedWrites(
    {
      syncing: () => this.told.push('syncing'),
      synced: (reaches) => this.told.push(reaches.map(({ lastIndex }) => lastIndex)),
      fail: (cause) => {
        this.told.push(String(cause));
        const error = new Error('the log has failed', { cause });
        this.copied.end(error);
        return error;
      },
    },
    1000,
  );
  readonly #file = {
    sync: () => {
      const sync = deferred();
      this.syncs.push(sync);
      return sync.promise;
    },
  };

  add(lastIndex: number, bytes = 100): void {
    this.copied.add(this.#file, reachTo(at(lastIndex)), bytes);
  }

  /** The sync that was called so many syncs after the first ends. */
  async end(nth: number): Promise<void> {
    this.syncs[nth]?.resolve();
    await turn();
  }
}

function reachTo(lastIndex: LogIndex): Reach {
  const item = { kind: 'write', buffer: new WriteBuffer(1), done: undefined, hardStates: [] };
  return { lastIndex, item } as unknown as Reach;
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

describe('copied writes', () => {
  test('are synced one sync at a time, each of what was copied before it began', async () => {
    const world = new World();
    expect(world.copied.isBusy).toBe(false);
    world.add(1);
    expect(world.copied.isBusy).toBe(true);
    world.add(2);
    world.add(3);
    await turn();
    expect(world.syncs).toHaveLength(1);
    await world.end(0);
    expect(world.told).toEqual(['syncing', [1], 'syncing']);
    world.add(4);
    await world.end(1);
    await world.end(2);
    expect(world.told.slice(3)).toEqual([[2, 3], 'syncing', [4]]);
    expect(world.copied.isBusy).toBe(false);
    expect(world.copied.last).toBeUndefined();
    expect(world.syncs).toHaveLength(3);
  });

  test('are bounded, but for one that is larger than the bound', async () => {
    const world = new World();
    expect(world.copied.hasRoom(5000)).toBe(true);
    world.add(1, 600);
    expect(world.copied.hasRoom(400)).toBe(true);
    expect(world.copied.hasRoom(401)).toBe(false);
    world.add(2, 400);
    expect(world.copied.hasRoom(1)).toBe(false);
    await world.end(0);
    expect(world.copied.hasRoom(600)).toBe(true);
    expect(world.copied.hasRoom(601)).toBe(false);
    await world.end(1);
    expect(world.copied.hasRoom(5000)).toBe(true);
  });

  test('are waited for by the first that holds the index', async () => {
    const world = new World();
    world.add(3);
    world.add(7);
    expect(world.copied.last?.lastIndex).toBe(7);
    const [third, fourth] = [world.copied.waitFor(at(3)), world.copied.waitFor(at(4))];
    expect(third).toBeDefined();
    expect(fourth).toBeDefined();
    expect(fourth).not.toBe(third);
    expect(world.copied.waitFor(at(7))).toBe(fourth);
    expect(world.copied.waitFor(at(8))).toBeUndefined();
    await world.end(0);
    await world.end(1);
    expect(world.copied.waitFor(at(7))).toBeUndefined();
  });

  test('settle when nothing is unsynced', async () => {
    const world = new World();
    await world.copied.settled();
    world.add(1);
    world.add(2);
    let settled = false;
    const waiting = world.copied.settled().then(() => (settled = true));
    await world.end(0);
    expect(settled).toBe(false);
    await world.end(1);
    await waiting;
  });

  test('whose sync failed are nobody’s any more: who waits gets the error, nothing is tried again', async () => {
    const world = new World();
    world.add(1);
    world.add(2);
    const refused = [1, 2].map((index) => {
      return expect(world.copied.waitFor(at(index))).rejects.toThrow('the log has failed');
    });
    world.syncs[0]?.reject(new Error('EIO'));
    await Promise.all(refused);
    await world.copied.settled();
    expect(world.told).toEqual(['syncing', 'Error: EIO']);
    expect(world.syncs).toHaveLength(1);
    expect(world.copied.last).toBeUndefined();
  });

  test('are not reported by a sync that ends well after the log has failed', async () => {
    const world = new World();
    world.add(1);
    world.add(2);
    const refused = expect(world.copied.waitFor(at(1))).rejects.toThrow('elsewhere');
    world.copied.end(new Error('elsewhere'));
    await world.end(0);
    await refused;
    expect(world.told).toEqual(['syncing']);
    expect(world.syncs).toHaveLength(1);
    expect(world.copied.isBusy).toBe(false);
    expect(() => world.add(3)).toThrow('failed');
  });
});
