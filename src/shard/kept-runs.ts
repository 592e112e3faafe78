/**
 * What a replica that is being built takes over from the current one: its runs, as they lie on the
 * disk, under a second name each, and what lies in its log alone, copied into a run. A message
 * never changes, so what the current replica has of a queue need not come from a peer once more.
 *
 * Whatever is wanted at a later checkpoint was wanted here as well: so up to the end of the last
 * piece that was taken over, nothing of a queue is lacking, but for what was gone already where
 * this replica was built (`serveFrom`). A piece that cannot be had, because it is damaged, its run
 * was just removed, or the file system knows no second names, ends that for its queue: the peer is
 * asked for the rest.
 *
 * Bounded by the pieces of the current replica and the buffer of a spill; a crash leaves files that
 * the next start removes.
 */

import { setImmediate } from 'node:timers/promises';
import type { Runs } from '#storage';
import type { LogIndex, Offset, QueueId } from '../machine/ids.ts';
import type { CopyLog } from './housekeeping.ts';
import type { PieceRecord, RunRecord } from './run-records.ts';
import type { RunSet } from './run-set.ts';

export interface KeptRuns {
  readonly runs: Runs;
  readonly keeping: {
    readonly runSet: Pick<RunSet, 'runs' | 'queueIds' | 'pieces'>;
    /** `Housekeeping.withoutSpill`. */
    withoutSpill<Result>(work: (copyLog: CopyLog) => Promise<Result>): Promise<Result>;
  };
  /** What was gone up to here may be missing in them. */
  readonly serveFrom: LogIndex;
}

export interface TakenOver {
  readonly runs: RunRecord[];
  /** Of each queue: everything below that is wanted lies in these runs. */
  readonly through: Map<QueueId, Offset>;
  /** An id that no run has. */
  readonly nextRunId: number;
}

type Into = Pick<Runs, 'adopt' | 'create'>;
type Known = KeptRuns['keeping']['runSet'];
type Pieces = Map<QueueId, Located[]>;

interface Located extends PieceRecord {
  readonly runId: number;
}

/** Looked at in one turn of the event loop. */
const PIECES_A_TURN = 4096;

/** Durable when it resolves. `into` is of the same owner, and has no run yet. */
export function takeOverRuns(into: Into, { runs, keeping }: KeptRuns): Promise<TakenOver> {
  return keeping.withoutSpill(async (copyLog) => {
    const isTurnOver = turns();
    const pieces = await piecesByQueue(keeping.runSet, isTurnOver);
    const { known, nextId } = wholeRuns(keeping.runSet);
    const had = new Set(await into.adopt(runs, known.values()));
    let nextRunId = nextId;
    const { records } = await copyLog(into, () => nextRunId++);
    for (const run of records) {
      known.set(run.runId, run);
      if (run.lost === undefined) had.add(run.runId);
      for (const piece of run.pieces) {
        add(pieces, { runId: run.runId, ...piece });
        if (isTurnOver()) await setImmediate();
      }
    }
    return { ...(await chosen(pieces, { known, had }, isTurnOver)), nextRunId };
  });
}

/** True once for so many pieces that were looked at. */
function turns(): () => boolean {
  let looked = 0;
  return () => {
    looked = (looked + 1) % PIECES_A_TURN;
    return looked === 0;
  };
}

/** Of each queue in the order of offsets; later ones are of the log. */
async function piecesByQueue(runSet: Known, isTurnOver: () => boolean): Promise<Pieces> {
  const found: Pieces = new Map();
  for (const queueId of runSet.queueIds()) {
    let isOver = false;
    for (const { runId, first, last, values } of runSet.pieces(queueId)) {
      add(found, { runId, queueId, first, last, values });
      isOver = isTurnOver() || isOver;
    }
    if (isOver) await setImmediate();
  }
  return found;
}

function add(pieces: Pieces, piece: Located): void {
  const ofQueue = pieces.get(piece.queueId);
  if (ofQueue === undefined) pieces.set(piece.queueId, [piece]);
  else ofQueue.push(piece);
}

type RunFile = Omit<RunRecord, 'pieces'>;

/** Those that can be read, as far as is known, and an id that no run has. */
function wholeRuns(runSet: Known): { known: Map<number, RunFile>; nextId: number } {
  const known = new Map<number, RunFile>();
  let nextId = 1;
  for (const { runId, bytes, values, lost, isDamaged } of runSet.runs()) {
    nextId = Math.max(nextId, runId + 1);
    if (lost === undefined && !isDamaged) known.set(runId, { runId, bytes, values, lost });
  }
  return { known, nextId };
}

/** Of each queue the pieces up to the first one whose run was not had. */
async function chosen(
  pieces: Pieces,
  runs: { readonly known: ReadonlyMap<number, RunFile>; readonly had: ReadonlySet<number> },
  isTurnOver: () => boolean,
): Promise<Pick<TakenOver, 'runs' | 'through'>> {
  const through = new Map<QueueId, Offset>();
  const byRun = new Map<number, PieceRecord[]>();
  // Without a comparator a million of them are in order in a tenth of a second.
  for (const queueId of Float64Array.from(pieces.keys()).sort() as Iterable<QueueId>) {
    for (const { runId, ...piece } of pieces.get(queueId) ?? []) {
      if (isTurnOver()) await setImmediate();
      if (!runs.had.has(runId)) break;
      const ofRun = byRun.get(runId);
      if (ofRun === undefined) byRun.set(runId, [piece]);
      else ofRun.push(piece);
      through.set(queueId, (piece.last + 1) as Offset);
    }
  }
  const records = [...byRun].map(([runId, ofRun]): RunRecord => {
    return { ...(runs.known.get(runId) as RunFile), pieces: ofRun };
  });
  return { runs: records, through };
}
