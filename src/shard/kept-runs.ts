/**
 * What a replica that is being built takes over from the current one: its runs, as they lie on the
 * disk, under a second name each. A message never changes, so what the current replica has of a
 * queue need not come from a peer once more.
 *
 * Whatever is wanted at a later checkpoint was wanted here as well: so up to the end of the last
 * piece that was taken over, nothing of a queue is lacking, but for what was gone already where
 * this replica was built (`serveFrom`). A run that cannot be had, because it is damaged, was just
 * removed, or the file system knows no second names, ends that for the queues in it: the peer is
 * asked for the rest. What lies in the log alone is not taken over.
 *
 * Bounded by the pieces of the current replica; a crash leaves names that the next start removes.
 */

import { setImmediate } from 'node:timers/promises';
import type { Runs } from '#storage';
import type { LogIndex, Offset, QueueId } from '../machine/ids.ts';
import type { PieceRecord, RunRecord } from './run-records.ts';
import type { Piece, Run, RunSet } from './run-set.ts';

export interface KeptRuns {
  readonly runs: Runs;
  readonly runSet: Pick<RunSet, 'run' | 'runs' | 'queueIds' | 'pieces'>;
  /** What was gone up to here may be missing in them. */
  readonly serveFrom: LogIndex;
}

export interface TakenOver {
  readonly runs: RunRecord[];
  /** Of each queue: everything below that is wanted lies in these runs. */
  readonly through: Map<QueueId, Offset>;
  /** An id that none of the runs of the current replica has. */
  readonly nextRunId: number;
}

/** Looked at in one turn of the event loop. */
const PIECES_A_TURN = 4096;

/** Durable when it resolves. `into` is of the same owner, and has no run yet. */
export async function takeOverRuns(
  into: Pick<Runs, 'adopt'>,
  { runs, runSet }: KeptRuns,
): Promise<TakenOver> {
  const pieces = await piecesByQueue(runSet);
  const whole = new Map<number, Run>();
  let nextRunId = 1;
  for (const run of runSet.runs()) {
    nextRunId = Math.max(nextRunId, run.runId + 1);
    if (run.lost === undefined && !run.isDamaged) whole.set(run.runId, run);
  }
  const adopted = await into.adopt(runs, whole.keys());
  const through = new Map<QueueId, Offset>();
  const byRun = new Map<number, PieceRecord[]>();
  for (const [queueId, all] of pieces) {
    for (const { runId, first, last, values } of all) {
      if (!adopted.has(runId)) break;
      const ofRun = byRun.get(runId);
      const piece = { queueId, first, last, values };
      if (ofRun === undefined) byRun.set(runId, [piece]);
      else ofRun.push(piece);
      through.set(queueId, (last + 1) as Offset);
    }
  }
  const records = [...byRun].map(([runId, ofRun]): RunRecord => {
    const { bytes, values } = whole.get(runId) as Run;
    return { runId, bytes, values, lost: undefined, pieces: ofRun };
  });
  return { runs: records, through, nextRunId };
}

/** Those of each queue as they are in one moment; by queue, then by offset. */
async function piecesByQueue(
  runSet: KeptRuns['runSet'],
): Promise<ReadonlyMap<QueueId, readonly Piece[]>> {
  const found = new Map<QueueId, readonly Piece[]>();
  let looked = 0;
  for (const queueId of runSet.queueIds().toSorted((a, b) => a - b)) {
    const pieces = runSet.pieces(queueId);
    found.set(queueId, pieces);
    looked += pieces.length;
    if (looked < PIECES_A_TURN) continue;
    looked = 0;
    await setImmediate();
  }
  return found;
}
