/**
 * The set of runs against a plain list of wanted messages: spills, settlements, sweeps, rewrites
 * and checkpoints in any order, and a start from whatever the last checkpoint names.
 */

import { expect, it } from 'vitest';
import type { Offset, QueueId } from '../../src/machine/ids.ts';
import { encodeRun, runKey } from '../../src/shard/run-records.ts';
import type { PieceRecord, RunRecord } from '../../src/shard/run-records.ts';
import { RunSet } from '../../src/shard/run-set.ts';
import { fc } from '../support/properties.ts';

const QUEUES = [1, 2].map((queueId) => queueId as QueueId);

type Step =
  | { readonly kind: 'spill'; readonly lengths: readonly number[] }
  | { readonly kind: 'settle'; readonly queue: number; readonly from: number; readonly to: number }
  | { readonly kind: 'rewrite'; readonly mask: number }
  | { readonly kind: 'sweep' | 'checkpoint' | 'restart' };

/** Of each wanted message, by its offset: the run that holds it. */
type Wanted = ReadonlyMap<QueueId, ReadonlyMap<number, number>>;

const ONE_QUEUE = fc.nat(6);

const STEPS: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    {
      weight: 2,
      arbitrary: fc.record({
        kind: fc.constant('spill' as const),
        lengths: fc.tuple(ONE_QUEUE, ONE_QUEUE),
      }),
    },
    fc.record({
      kind: fc.constant('settle' as const),
      queue: fc.nat(QUEUES.length - 1),
      from: fc.nat(20),
      to: fc.nat(20),
    }),
    fc.record({ kind: fc.constant('rewrite' as const), mask: fc.nat(15) }),
    fc.record({
      kind: fc.constantFrom('sweep' as const, 'checkpoint' as const, 'restart' as const),
    }),
  ),
  { minLength: 10, maxLength: 40, size: 'max' },
);

class World {
  #set = new RunSet();
  #wanted = new Map(QUEUES.map((queueId) => [queueId, new Map<number, number>()]));
  readonly #ends = new Map(QUEUES.map((queueId) => [queueId, 0]));
  readonly #store = new Map<string, RunRecord>();
  #stored: Wanted = new Map();

  do(step: Step): void {
    if (step.kind === 'spill') this.#spill(step.lengths);
    else if (step.kind === 'settle') this.#settle(step);
    else if (step.kind === 'rewrite') this.#rewrite(step.mask);
    else if (step.kind === 'sweep') this.#sweep();
    else if (step.kind === 'checkpoint') this.#checkpoint();
    else this.#restart();
  }

  /** What is wanted is found where it lies, and what a run is said to hold is what it holds. */
  check(): void {
    for (const [queueId, wanted] of this.#wanted) {
      for (const [offset, runId] of wanted) {
        expect(this.#set.find(queueId, offset as Offset)?.runId).toBe(runId);
      }
    }
    this.#sweep();
    const counted = new Map<number, number>();
    for (const wanted of this.#wanted.values()) {
      for (const runId of wanted.values()) counted.set(runId, (counted.get(runId) ?? 0) + 1);
    }
    expect(new Map([...this.#set.runs()].map((run) => [run.runId, run.wanted]))).toEqual(counted);
  }

  #spill(lengths: readonly number[]): void {
    const runId = this.#set.takeId();
    const pieces: PieceRecord[] = [];
    for (const [nth, queueId] of QUEUES.entries()) {
      const length = lengths[nth] ?? 0;
      const first = this.#ends.get(queueId) ?? 0;
      if (length === 0) continue;
      this.#ends.set(queueId, first + length);
      const last = first + length - 1;
      pieces.push({ queueId, first: first as Offset, last: last as Offset, values: length });
      for (let offset = first; offset <= last; offset++) this.#of(queueId).set(offset, runId);
    }
    if (pieces.length > 0) this.#set.add([recordOf(runId, pieces)]);
  }

  #settle({ queue, from, to }: Extract<Step, { kind: 'settle' }>): void {
    const wanted = this.#of(QUEUES[queue] as QueueId);
    for (let offset = from; offset <= to; offset++) wanted.delete(offset);
  }

  #sweep(): void {
    for (const queueId of QUEUES) {
      for (const { first, last } of this.#set.pieces(queueId)) {
        this.#set.setWanted(queueId, first, this.#offsets(queueId, first, last).length);
      }
    }
    this.#set.dropUnwanted();
  }

  #rewrite(mask: number): void {
    const inputs = [...this.#set.runs()].map(({ runId }) => runId);
    const chosen = inputs.filter((_, nth) => (mask & (1 << (nth % 4))) !== 0);
    if (chosen.length === 0) return;
    const runId = this.#set.takeId();
    const pieces: PieceRecord[] = [];
    for (const queueId of QUEUES) {
      for (const piece of this.#set.pieces(queueId)) {
        if (!chosen.includes(piece.runId)) continue;
        const offsets = this.#offsets(queueId, piece.first, piece.last);
        const [first, last, values] = [offsets.at(0), offsets.at(-1), offsets.length];
        if (first === undefined || last === undefined) continue;
        pieces.push({ queueId, first: first as Offset, last: last as Offset, values });
        for (const offset of offsets) this.#of(queueId).set(offset, runId);
      }
    }
    this.#set.replace(chosen, pieces.length === 0 ? undefined : recordOf(runId, pieces));
  }

  #checkpoint(): void {
    const { puts, deletions } = this.#set.freeze();
    for (const record of puts) this.#store.set(runKey(record.runId), record);
    for (const key of deletions) this.#store.delete(key);
    this.#set.saved();
    this.#stored = new Map(
      [...this.#wanted].map(([queueId, wanted]) => [queueId, new Map(wanted)]),
    );
  }

  /** With the last checkpoint; what came behind it comes again out of the log, at other offsets. */
  #restart(): void {
    this.#set = new RunSet();
    for (const record of this.#store.values()) this.#set.restore(encodeRun(record));
    for (const queueId of QUEUES) {
      this.#wanted.set(queueId, new Map(this.#stored.get(queueId)));
    }
  }

  #of(queueId: QueueId): Map<number, number> {
    return this.#wanted.get(queueId) as Map<number, number>;
  }

  #offsets(queueId: QueueId, first: number, last: number): number[] {
    const offsets = [...this.#of(queueId).keys()].filter((each) => each >= first && each <= last);
    return offsets.toSorted((a, b) => a - b);
  }
}

function recordOf(runId: number, pieces: readonly PieceRecord[]): RunRecord {
  const values = pieces.reduce((sum, piece) => sum + piece.values, 0);
  return { runId, bytes: 1000, values, lost: undefined, pieces };
}

it('finds every wanted message, also behind a start from the last checkpoint', () => {
  fc.assert(
    fc.property(STEPS, (steps) => {
      const world = new World();
      for (const step of steps) world.do(step);
      world.check();
      world.do({ kind: 'checkpoint' });
      world.do({ kind: 'restart' });
      world.check();
    }),
    { numRuns: 2000 },
  );
});
