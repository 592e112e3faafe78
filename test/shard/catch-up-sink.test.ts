/** Attempts to build a replica beside the current one: there is one place, and one at a time. */

import { beforeEach, describe, expect, it } from 'vitest';
import { Log, MemoryRecords, Runs } from '#storage';
import type { CheckpointName } from '#raft';
import { encodeQuestion, encodeRecords } from '../../src/shard/catch-up-codec.ts';
import { ShardCatchUpSink } from '../../src/shard/catch-up-sink.ts';
import type { MadeReplica, ReplicaMaker } from '../../src/shard/catch-up-sink.ts';
import { decodeNote } from '../../src/shard/checkpoint.ts';
import { decodeMembers } from '../../src/shard/members.ts';
import type { CopyLog } from '../../src/shard/housekeeping.ts';
import type { KeptRuns } from '../../src/shard/kept-runs.ts';
import type { RunRecord } from '../../src/shard/run-records.ts';
import type { LogIndex, Offset, QueueId } from '../../src/machine/ids.ts';
import { RunSet } from '../../src/shard/run-set.ts';
import { MemoryFiles } from '../support/memory-files.ts';
import { runsIn } from '../support/small-run.ts';
import { turn } from '../support/shard-world.ts';

const RUN: RunRecord = {
  runId: 1,
  bytes: 100,
  values: 1,
  lost: undefined,
  pieces: [{ queueId: 7 as QueueId, first: 0 as Offset, last: 0 as Offset, values: 1 }],
};
const VOTE = { term: 7, vote: 'node-2', tailLost: false };
const RECORDS = encodeQuestion({ kind: 'records', page: 0 });
const NO_RECORDS = encodeRecords({ isLast: true, keys: [], values: [] });

function checkpoint(index: number): CheckpointName {
  const members = [{ id: 'node-1', address: '', role: 'voter' as const }];
  return { index, term: 7, configuration: { index: 1, configuration: { members } } };
}

/** With one directory for all attempts, as a shard has. */
class Place implements ReplicaMaker {
  readonly files = new MemoryFiles();
  records = new MemoryRecords();
  /** Replicas that are open, one that is being made among them. */
  open = 0;
  mostOpen = 0;
  current = 0;
  cleared = 0;
  readonly keptRuns: boolean[] = [];
  /** Waited for by each write of records. */
  writing: Promise<void> = Promise.resolve();

  async make({ index, term }: CheckpointName, keepsRuns: boolean): Promise<MadeReplica> {
    this.keptRuns.push(keepsRuns);
    this.mostOpen = Math.max(this.mostOpen, ++this.open);
    for (const path of this.files.paths()) this.files.take(path);
    await turn();
    const { log } = await Log.open({
      files: this.files,
      directory: '/log',
      now: () => 0,
      segmentBytes: 16_384,
      prewriteBytes: 4096,
      beginsBehind: { index, epoch: term },
      onFailure: () => undefined,
    });
    this.records = new MemoryRecords(() => this.writing);
    const records = await this.records.open();
    const runs = new Runs({
      files: this.files,
      directory: '/runs',
      owner: log.logId,
      blockBytes: 4096,
      indexCacheBytes: 4096,
      now: () => 0,
    });
    const close = log.close.bind(log);
    log.close = async () => {
      await close();
      this.open--;
    };
    const makeCurrent = (): Promise<void> => {
      this.current = index;
      return Promise.resolve();
    };
    return { log, records, runs, makeCurrent };
  }

  async clear(): Promise<void> {
    this.cleared++;
    this.mostOpen = Math.max(this.mostOpen, this.open + 1);
    for (const path of this.files.paths()) this.files.take(path);
  }

  /** Where log and records of what lies there end. */
  async ends(): Promise<readonly [log: number, records: number | undefined]> {
    const { log } = await Log.open({
      files: this.files,
      directory: '/log',
      now: () => 0,
      onFailure: () => undefined,
    });
    const { last } = log;
    await log.close();
    return [last, (await this.records.open()).checkpoint?.index];
  }
}

interface Kept {
  readonly error?: Error;
  readonly copies?: RunRecord[];
  readonly copying?: Promise<void>;
}

/** Of a replica without runs; what is copied of its log, or why it cannot be. */
function keptRuns({ error, copies = [], copying }: Kept = {}): KeptRuns {
  const copied = { boundary: 41 as LogIndex, records: copies, messages: 0, bytes: 0 };
  const keeping = {
    runSet: new RunSet(),
    withoutSpill: <Result>(work: (copyLog: CopyLog) => Promise<Result>) =>
      work(async () => {
        if (error !== undefined) throw error;
        await copying;
        return { ...copied, queues: new Map<never, never>() };
      }),
  };
  return { runs: runsIn(new MemoryFiles()), keeping, serveFrom: 40 as LogIndex };
}

/** What waits for `opened` goes on behind `open`. */
function gate(): { readonly opened: Promise<void>; readonly open: () => void } {
  let open = (): void => undefined;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}

let place: Place;
let sink: ShardCatchUpSink;

beforeEach(() => {
  place = new Place();
  sink = new ShardCatchUpSink(place, () => undefined);
});

describe('an attempt to build a replica', () => {
  it('waits for one that is still being made: its log and its records are of one checkpoint', async () => {
    const first = sink.begin(checkpoint(10));
    const second = sink.begin(checkpoint(16));
    (await first).close();
    const building = await second;
    await building.take(RECORDS, NO_RECORDS);
    expect(building.next()).toBe('complete');
    await building.makeCurrent(VOTE);
    expect([place.mostOpen, place.current]).toEqual([1, 16]);
    expect(await place.ends()).toEqual([16, 16]);
  });

  it('ends one that nobody has closed', async () => {
    await sink.begin(checkpoint(10));
    await sink.begin(checkpoint(16));
    expect(place.mostOpen).toBe(1);
  });

  it('waits for an answer that one before is taking', async () => {
    let written = (): void => undefined;
    place.writing = new Promise((resolve) => {
      written = resolve;
    });
    const first = await sink.begin(checkpoint(10));
    const taken = first.take(RECORDS, NO_RECORDS);
    await turn();
    first.close();
    const second = sink.begin(checkpoint(16));
    await turn();
    expect([place.open, place.mostOpen]).toEqual([1, 1]);
    written();
    await taken;
    await second;
    expect(place.mostOpen).toBe(1);
  });

  it('serves not before the replica whose runs it takes over would have', async () => {
    sink = new ShardCatchUpSink(place, () => keptRuns());
    const building = await sink.begin(checkpoint(16));
    await building.take(RECORDS, NO_RECORDS);
    expect(building.serveFrom).toBe(40);
    await building.makeCurrent(VOTE);
    const { data } = (await place.records.open()).checkpoint ?? {};
    const { members } = decodeNote(data as Uint8Array) ?? {};
    expect(decodeMembers(members as Uint8Array).serveFrom).toBe(40);
  });

  it('waits for one that could not take over the runs of the current replica', async () => {
    let attempts = 0;
    sink = new ShardCatchUpSink(place, () => {
      return attempts++ === 0 ? keptRuns({ error: new Error('the disk is full') }) : undefined;
    });
    const first = await sink.begin(checkpoint(10));
    await expect(first.take(RECORDS, NO_RECORDS)).rejects.toThrow('the disk is full');
    await (await sink.begin(checkpoint(16))).makeCurrent(VOTE);
    expect([place.mostOpen, place.current]).toEqual([1, 16]);
  });

  it('asks for records while it takes over, and for the rest behind that', async () => {
    const copying = gate();
    sink = new ShardCatchUpSink(place, () => keptRuns({ copying: copying.opened }));
    const building = await sink.begin(checkpoint(16));
    expect(building.next()).toEqual(RECORDS);
    let isTaken = false;
    const taken = building.take(RECORDS, NO_RECORDS).then(() => (isTaken = true));
    for (let turns = 20; turns > 0; turns--) await turn();
    expect([isTaken, building.next()]).toEqual([false, 'wait']);
    copying.open();
    await taken;
    expect([building.next(), building.serveFrom]).toEqual(['complete', 40]);
  });

  it('that is closed while it takes over ends behind that, and the next one has it', async () => {
    const copying = gate();
    const kept = keptRuns({ copies: [RUN], copying: copying.opened });
    sink = new ShardCatchUpSink(place, () => kept);
    (await sink.begin(checkpoint(10))).close();
    const second = sink.begin(checkpoint(16));
    for (let turns = 20; turns > 0; turns--) await turn();
    expect(place.keptRuns).toEqual([false]);
    copying.open();
    await second;
    expect([place.mostOpen, place.keptRuns]).toEqual([1, [false, true]]);
  });

  it.each([false, true])(
    'has what one before has brought, unless it was forgotten: %s',
    async (isForgotten) => {
      sink = new ShardCatchUpSink(place, () => keptRuns({ copies: [RUN] }));
      await sink.begin(checkpoint(10));
      if (isForgotten) sink.forget();
      const building = await sink.begin(checkpoint(16));
      expect(place.keptRuns).toEqual([false, !isForgotten]);
      expect([place.mostOpen, place.cleared]).toEqual([1, isForgotten ? 1 : 0]);
      await building.makeCurrent(VOTE);
      expect(place.current).toBe(16);
    },
  );

  it('goes on behind one that could not be made', async () => {
    const make = place.make.bind(place);
    place.make = () => {
      place.make = make;
      return Promise.reject(new Error('the disk is full'));
    };
    const first = sink.begin(checkpoint(10));
    const second = sink.begin(checkpoint(16));
    await expect(first).rejects.toThrow('the disk is full');
    await (await second).makeCurrent(VOTE);
    expect(place.current).toBe(16);
  });
});
