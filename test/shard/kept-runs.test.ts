/** A replica that is built takes over the runs of the current one, and asks for what they lack. */

import { describe, expect, it } from 'vitest';
import { decodeQuestion } from '../../src/shard/catch-up-codec.ts';
import type { Runs } from '#storage';
import type { CopyLog } from '../../src/shard/housekeeping.ts';
import type { LogIndex, Offset, QueueId } from '../../src/machine/ids.ts';
import { takeOverRuns } from '../../src/shard/kept-runs.ts';
import type { PieceRecord, RunRecord } from '../../src/shard/run-records.ts';
import { RunSet } from '../../src/shard/run-set.ts';
import type { Run } from '../../src/shard/run-set.ts';
import { MemoryFiles } from '../support/memory-files.ts';
import { runsIn } from '../support/small-run.ts';
import { deliveredBy, leftBehind, numbered, publish } from '../support/left-behind.ts';
import type { Leader } from '../support/left-behind.ts';
import type { ShardCluster, ShardNode } from '../support/shard-cluster.ts';

/** Shorter than what makes an election. */
const STEP_MS = 100;

interface Scene {
  readonly cluster: ShardCluster;
  readonly leader: Leader;
  readonly behind: ShardNode;
}

/** It came by a checkpoint, with its messages in a run, was down again, and lacks 280 more. */
async function leftBehindAgain(): Promise<Scene> {
  const scene = await leftBehind({ outstandingBytesMax: 64 << 20 });
  const { cluster, leader, behind } = scene;
  await behind.start();
  await cluster.until(() => behind.replacements === 1 && behind.applied >= leader.node.applied);
  behind.crash();
  const start = leader.node.log?.start ?? 0;
  await publish(cluster, leader, numbered(280, 300));
  const others = cluster.nodes.filter((node) => node !== behind);
  await cluster.until(() => others.every(({ log }) => (log?.start ?? 0) > start + 20));
  return scene;
}

/** The lowest offset that it asks for from now on. */
function lowestAsked(cluster: ShardCluster): () => number {
  let lowest = Number.POSITIVE_INFINITY;
  cluster.passes = (message) => {
    if (message.kind !== 'catchUpAsk') return true;
    const question = decodeQuestion(message.question);
    if (question.kind === 'payloads') lowest = Math.min(lowest, question.from);
    return true;
  };
  return () => lowest;
}

async function comesAgain({ cluster, leader, behind }: Scene): Promise<void> {
  await cluster.until(() => behind.replacements === 2 && behind.applied >= leader.node.applied);
  expect(await deliveredBy(cluster, behind, 580)).toEqual(numbered(580));
  expect(cluster.nodes.flatMap(({ failures }) => failures)).toEqual([]);
}

function runsOf({ files, number }: ShardNode): string[] {
  return files.paths().filter((path) => path.startsWith(`/runs-${number}/`));
}

const piece = (queueId: number, first: number, last: number): PieceRecord => ({
  queueId: queueId as QueueId,
  first: first as Offset,
  last: last as Offset,
  values: 5,
});

function run(runId: number, pieces: PieceRecord[]): RunRecord {
  return { runId, bytes: 100, values: 5 * pieces.length, lost: undefined, pieces };
}

/** What lies in the log alone becomes these runs. */
function keepingOf(runSet: RunSet, copied: readonly RunRecord[], began = (): void => undefined) {
  return {
    runSet,
    withoutSpill: <Result>(work: (copyLog: CopyLog) => Promise<Result>) =>
      work((_runs, takeRunId) => {
        began();
        const records = copied.map((each) => ({ ...each, runId: takeRunId() }));
        const [boundary, queues] = [1 as LogIndex, new Map<never, never>()];
        return Promise.resolve({ boundary, queues, records, messages: 0, bytes: 0 });
      }),
  };
}

describe('runs of the current replica', () => {
  it('are not asked for again, and outlive a power cut under their new names', async () => {
    const scene = await leftBehindAgain();
    const lowest = lowestAsked(scene.cluster);
    await scene.behind.start();
    await scene.cluster.until(() => scene.behind.replacements === 2);
    expect(lowest()).toBeGreaterThan(200);
    scene.behind.crash();
    for (const path of scene.behind.files.paths()) {
      if (path.startsWith('/runs-2/')) scene.behind.files.take(path);
    }
    await scene.behind.start();
    await comesAgain(scene);
  });

  it('are made of what lies in its log alone, and a log that fails to be copied is no obstacle', async () => {
    const { cluster, leader, behind } = await leftBehind();
    let failed = 0;
    behind.files.before = ({ operation, path }) => {
      if (operation !== 'write' || !path.startsWith('/runs-2/') || failed++ > 0) return;
      throw Object.assign(new Error('no space left'), { code: 'ENOSPC' });
    };
    const lowest = lowestAsked(cluster);
    await behind.start();
    await cluster.until(() => behind.replacements === 1 && behind.applied >= leader.node.applied);
    expect(failed).toBeGreaterThan(1);
    expect(lowest()).toBe(20);
    expect(await deliveredBy(cluster, behind, 300)).toEqual(numbered(300));
    expect(cluster.nodes.flatMap(({ failures }) => failures)).toEqual([]);
  });

  it('are asked for where they cannot be had', async () => {
    const scene = await leftBehindAgain();
    const [first] = runsOf(scene.behind) as [string];
    const { files } = scene.behind;
    files.before = ({ operation, path }) => {
      const isFirst = operation === 'link' && path.endsWith(first.slice(first.lastIndexOf('/')));
      if (isFirst) throw Object.assign(new Error('too many links'), { code: 'EMLINK' });
    };
    const lowest = lowestAsked(scene.cluster);
    await scene.behind.start();
    await comesAgain(scene);
    expect(lowest()).toBe(0);
  });

  it.each(['missing', 'cut off'])('are asked for where they are %s', async (damage) => {
    const scene = await leftBehindAgain();
    const [first] = runsOf(scene.behind) as [string];
    const { files } = scene.behind;
    if (damage === 'missing') files.take(first);
    else files.put(first, files.bytes(first).subarray(0, 100));
    const lowest = lowestAsked(scene.cluster);
    await scene.behind.start();
    await comesAgain(scene);
    expect(lowest()).toBe(0);
  });

  it('may take longer to be taken over than the leader waits for a word', async () => {
    const scene = await leftBehindAgain();
    const { cluster, behind } = scene;
    let isLinking = false;
    let goOn = (): void => undefined;
    const held = new Promise<void>((resolve) => {
      goOn = resolve;
    });
    behind.files.before = ({ operation }) => {
      if (operation !== 'link') return;
      isLinking = true;
      return held;
    };
    const transfers = new Set<number>();
    cluster.passes = (message) => {
      if (message.kind === 'catchUpOffer') transfers.add(message.transfer);
      return true;
    };
    await behind.start();
    await cluster.until(() => isLinking);
    for (let passed = 0; passed < 60_000; passed += STEP_MS) await cluster.step(STEP_MS);
    goOn();
    await comesAgain(scene);
    expect(transfers.size).toBe(1);
  });

  it('are taken over by the next attempt, where the first could not make them durable', async () => {
    const scene = await leftBehindAgain();
    const { behind } = scene;
    let failed = 0;
    behind.files.before = ({ operation, path }) => {
      if (operation !== 'sync-directory' || path !== '/runs-3' || failed++ > 0) return;
      throw Object.assign(new Error('no space left'), { code: 'ENOSPC' });
    };
    const lowest = lowestAsked(scene.cluster);
    await behind.start();
    await comesAgain(scene);
    expect(failed).toBeGreaterThan(1);
    expect(lowest()).toBeGreaterThan(200);
  });

  it('count up to the first one that is damaged, or of which there is no second name', async () => {
    const runSet = new RunSet();
    runSet.add([
      run(1, [piece(7, 0, 9), piece(8, 0, 9), piece(9, 0, 9)]),
      run(2, [piece(7, 10, 19)]),
      run(3, [piece(8, 10, 19)]),
      run(4, [piece(7, 20, 29), piece(8, 20, 29), piece(9, 20, 29)]),
    ]);
    (runSet.run(3) as Run).isDamaged = true;
    const asked: number[] = [];
    const into = {
      create: () => Promise.reject(new Error('nothing is written')),
      adopt: (_from: Runs, known: Iterable<{ readonly runId: number }>) => {
        for (const { runId } of known) asked.push(runId);
        return Promise.resolve(new Set([1, 4]));
      },
    };
    const copied = [
      run(5, [piece(6, 0, 9), piece(7, 30, 39), piece(9, 30, 39)]),
      { ...run(6, [piece(9, 40, 40)]), bytes: 0, lost: 'damaged' },
      run(7, [piece(9, 41, 49), piece(10, 0, 9)]),
    ];
    const keeping = keepingOf(runSet, copied);
    const kept = { runs: runsIn(new MemoryFiles()), keeping, serveFrom: 0 as LogIndex };
    const taken = await takeOverRuns(into, kept);
    expect(asked).toEqual([1, 2, 4]);
    const byId = taken.runs.toSorted((a, b) => a.runId - b.runId);
    expect({ ...taken, runs: byId }).toEqual({
      runs: [
        run(1, [piece(7, 0, 9), piece(8, 0, 9), piece(9, 0, 9)]),
        { ...run(4, [piece(9, 20, 29)]), values: 15 },
        { ...run(5, [piece(6, 0, 9), piece(9, 30, 39)]), values: 15 },
        { ...run(7, [piece(10, 0, 9)]), values: 10 },
      ],
      through: new Map([
        [6, 10],
        [7, 10],
        [8, 10],
        [9, 40],
        [10, 10],
      ]),
      nextRunId: 8,
    });
  });

  it('are looked through in turns, those of the log too: others have theirs between', async () => {
    const many = (from: number, count: number): PieceRecord[] =>
      Array.from({ length: count }, (_none, nth) => piece(from + nth, 0, 9));
    const runSet = new RunSet();
    runSet.add([run(1, many(1, 10_000))]);
    const turns = { seen: 0, isOver: false };
    const count = (): void => {
      turns.seen++;
      if (!turns.isOver) setImmediate(count);
    };
    const keeping = keepingOf(runSet, [run(2, many(20_001, 10_000))], () => setImmediate(count));
    const into = {
      create: () => Promise.reject(new Error('nothing is written')),
      adopt: () => Promise.resolve(new Set([1])),
    };
    const kept = { runs: runsIn(new MemoryFiles()), keeping, serveFrom: 0 as LogIndex };
    const taken = await takeOverRuns(into, kept);
    turns.isOver = true;
    expect(turns.seen).toBeGreaterThanOrEqual(30_000 / 4_096 - 1);
    expect(taken.through.size).toBe(20_000);
    const queueIds = taken.runs.flatMap(({ pieces }) => pieces.map(({ queueId }) => queueId));
    expect(queueIds).toEqual(queueIds.toSorted((a, b) => a - b));
  });
});
