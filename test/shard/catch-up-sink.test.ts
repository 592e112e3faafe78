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
import type { LogIndex } from '../../src/machine/ids.ts';
import { RunSet } from '../../src/shard/run-set.ts';
import { MemoryFiles } from '../support/memory-files.ts';
import { runsIn } from '../support/small-run.ts';
import { turn } from '../support/shard-world.ts';

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
  /** Waited for by each write of records. */
  writing: Promise<void> = Promise.resolve();

  async make({ index, term }: CheckpointName): Promise<MadeReplica> {
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

/** Of a replica that has none; where its log cannot be copied, why. */
function keptRuns(error?: Error): KeptRuns {
  const nothing = { boundary: 41 as LogIndex, records: [], messages: 0, bytes: 0 };
  const keeping = {
    runSet: new RunSet(),
    withoutSpill: <Result>(work: (copyLog: CopyLog) => Promise<Result>) =>
      work(async () => {
        if (error !== undefined) throw error;
        return { ...nothing, queues: new Map<never, never>() };
      }),
  };
  return { runs: runsIn(new MemoryFiles()), keeping, serveFrom: 40 as LogIndex };
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
      return attempts++ === 0 ? keptRuns(new Error('the disk is full')) : undefined;
    });
    const first = sink.begin(checkpoint(10));
    const second = sink.begin(checkpoint(16));
    await expect(first).rejects.toThrow('the disk is full');
    await (await second).makeCurrent(VOTE);
    expect([place.mostOpen, place.current]).toEqual([1, 16]);
  });

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
