/** Rows of shard 0 for names whose queue is gone are given up, and no others. */

import { describe, expect, it } from 'vitest';
import type { NamesChunk } from '../../src/machine/names.ts';
import { NamesSweep, type NamesSweepOptions } from '../../src/shard/names-sweep.ts';
import { ShardError } from '../../src/shard/shard-error.ts';
import { queue, turn } from '../support/shard-world.ts';
import { TwoShards } from '../support/two-shards.ts';

const REST_MS = 10 * 60_000;

describe('shard 0 with another shard', () => {
  async function started(): Promise<TwoShards> {
    const shards = new TwoShards();
    await shards.start();
    return shards;
  }

  const where = (shards: TwoShards, name: string) => shards.zero.routed?.places.where(name);

  /** So many passes are over. */
  async function passes(shards: TwoShards, count: number): Promise<void> {
    for (let pass = 0; pass < count; pass += 1) {
      // Its rest, its one chunk, and that there is no further one.
      for (const ms of [REST_MS, 1_000]) {
        shards.zero.world.monotonicMs += ms;
        // A question is a turn of the shard, in which it sees how late it is.
        for (let turns = 0; turns < 4; turns += 1) {
          await shards.zero.routed?.places.barrier();
          for (let more = 0; more < 10; more += 1) await turn();
        }
      }
    }
  }

  it('forgets a name whose deletion was broken off, and keeps one whose queue is there', async () => {
    const shards = await started();
    await shards.declare('kept', 1);
    await shards.declare('gone', 1);
    const place = await where(shards, 'gone');
    await shards.one.routed?.admin.delete('gone', place?.version);
    await passes(shards, 1);
    expect(await where(shards, 'gone')).toEqual(place);
    await passes(shards, 2);
    expect(await where(shards, 'gone')).toBeUndefined();
    expect((await where(shards, 'kept'))?.shard).toBe(1);
    expect(shards.zero.world.lines.map(({ fields }) => fields)).toContainEqual({
      shard: 1,
      names: 1,
    });
  });

  it('makes whoever is late with a declaration place the name anew', async () => {
    const shards = await started();
    const place = await shards.zero.routed?.places.place('late', [1], '');
    await passes(shards, 3);
    expect(await where(shards, 'late')).toBeUndefined();
    const declare = (placed: number | undefined) =>
      shards.one.routed?.admin.declare({ ...queue('late'), placed });
    await expect(declare(place?.version)).rejects.toThrow(ShardError);
    const again = await shards.zero.routed?.places.place('late', [1], '');
    expect(await declare(again?.version)).toBe('created');
    await passes(shards, 3);
    expect(await where(shards, 'late')).toEqual(again);
  });
});

/** Rows by hand, and another shard that says which of them it has not. */
class Rows {
  readonly asked: [names: number, fence: number][] = [];
  readonly gone: string[] = [];
  readonly missing = new Set<string>();
  nowMs = 0;
  chunks: NamesChunk[] = [];
  answers = true;

  readonly options: NamesSweepOptions = {
    names: {
      size: 1,
      chunkBehind: (chunk) => this.chunks.find(({ number }) => number > chunk),
    },
    others: {
      missing: (_shard, names, fence) => {
        this.asked.push([names.length, fence]);
        if (!this.answers) return Promise.resolve({ kind: 'not-now', detail: 'nobody leads' });
        return Promise.resolve(names.filter((name) => this.missing.has(name)));
      },
    },
    unplace: (name, version) => {
      this.gone.push(`${name} ${version}`);
      return Promise.resolve();
    },
    now: () => this.nowMs,
    wake: () => undefined,
    logger: { info: () => undefined, warn: () => undefined, error: () => undefined },
  };
  readonly sweep = new NamesSweep(this.options);

  place(name: string, version: number): void {
    this.chunks = [{ number: 0, rows: [{ name, shard: 1, version }] }];
  }

  /** As if it had been woken when it wanted to be. */
  async looks(count: number): Promise<void> {
    for (let look = 0; look < count; look += 1) {
      this.nowMs = Math.max(this.nowMs, this.sweep.nextWake);
      this.sweep.look();
      await turn();
    }
  }
}

describe('a sweep', () => {
  it('gives up what two passes found, behind the fence of its version', async () => {
    const rows = new Rows();
    rows.place('a', 7);
    rows.missing.add('a');
    await rows.looks(2);
    expect(rows.asked).toEqual([[1, 0]]);
    await rows.looks(1);
    expect(rows.asked).toEqual([
      [1, 0],
      [1, 0],
      [1, 7],
    ]);
    expect(rows.gone).toEqual(['a 7']);
  });

  it('leaves what was placed again between two passes', async () => {
    const rows = new Rows();
    rows.missing.add('a');
    for (let version = 1; version < 6; version += 1) {
      rows.place('a', version);
      await rows.looks(2);
    }
    expect(rows.gone).toEqual([]);
  });

  it('leaves what is there when the fence is up', async () => {
    const rows = new Rows();
    rows.place('a', 7);
    rows.missing.add('a');
    await rows.looks(2);
    const { missing } = rows.options.others;
    rows.options.others.missing = (shard, names, fence) => {
      if (fence > 0) rows.missing.delete('a');
      return missing(shard, names, fence);
    };
    await rows.looks(1);
    expect(rows.asked.at(-1)).toEqual([1, 7]);
    expect(rows.gone).toEqual([]);
  });

  it('gives up nothing while the other shard does not answer', async () => {
    const rows = new Rows();
    rows.place('a', 7);
    rows.missing.add('a');
    rows.answers = false;
    await rows.looks(8);
    expect(rows.gone).toEqual([]);
  });

  it('rests ten minutes between passes, and a second between chunks', async () => {
    const rows = new Rows();
    const chunk = (number: number): NamesChunk => ({
      number,
      rows: Array.from({ length: 64 }, (_none, nth) => {
        return { name: `q${number}-${nth}`, shard: 1, version: nth + 1 };
      }),
    });
    rows.chunks = [chunk(0), chunk(3), chunk(4)];
    await rows.looks(1);
    expect(rows.nowMs).toBe(REST_MS);
    await rows.looks(3);
    expect(rows.nowMs).toBe(REST_MS + 3_000);
    expect(rows.asked).toEqual([
      [64, 0],
      [64, 0],
      [64, 0],
    ]);
    await rows.looks(1);
    expect(rows.nowMs).toBe(2 * REST_MS + 3_000);
  });
});
