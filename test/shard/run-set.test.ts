import { describe, expect, it } from 'vitest';
import type { Offset, QueueId } from '../../src/machine/ids.ts';
import { decodeRun, encodeRun } from '../../src/shard/run-records.ts';
import type { RunRecord } from '../../src/shard/run-records.ts';
import { RunSet } from '../../src/shard/run-set.ts';

type Pieces = readonly (readonly [queueId: number, first: number, last: number, values?: number])[];

function record(runId: number, pieces: Pieces): RunRecord {
  const list = pieces.map(([queueId, first, last, values = last - first + 1]) => ({
    queueId: queueId as QueueId,
    first: first as Offset,
    last: last as Offset,
    values,
  }));
  const values = list.reduce((sum, piece) => sum + piece.values, 0);
  return { runId, bytes: 1000, values, lost: undefined, pieces: list };
}

function found(set: RunSet, queueId: number, offset: number): number | undefined {
  return set.find(queueId as QueueId, offset as Offset)?.runId;
}

describe('the set of runs', () => {
  it('says which run holds a message, and that none does', () => {
    const set = new RunSet();
    expect(set.isEmpty).toBe(true);
    set.add([
      record(1, [
        [1, 0, 9],
        [2, 5, 5],
      ]),
    ]);
    set.add([record(2, [[1, 20, 29]])]);
    expect(found(set, 1, 0)).toBe(1);
    expect(found(set, 1, 9)).toBe(1);
    expect(found(set, 1, 10)).toBeUndefined();
    expect(found(set, 1, 25)).toBe(2);
    expect(found(set, 1, 30)).toBeUndefined();
    expect(found(set, 2, 5)).toBe(1);
    expect(found(set, 2, 4)).toBeUndefined();
    expect(found(set, 3, 0)).toBeUndefined();
  });

  it('refuses two runs that claim one message', () => {
    const set = new RunSet();
    set.add([record(1, [[1, 0, 9]])]);
    expect(() => set.add([record(2, [[1, 9, 12]])])).toThrow('two runs claim');
  });

  it('names each run once in a checkpoint, and drops files only behind the next one', () => {
    const set = new RunSet();
    set.add([record(1, [[1, 0, 9]]), record(2, [[2, 0, 9]])]);
    expect(set.freeze().puts.map(({ runId }) => runId)).toEqual([1, 2]);
    expect(set.saved()).toEqual([]);
    expect(set.isChanged).toBe(false);
    set.setWanted(1 as QueueId, 0 as Offset, 0);
    expect(set.dropUnwanted()).toBe(1);
    expect(found(set, 1, 3)).toBeUndefined();
    expect(set.saved()).toEqual([]);
    expect(set.freeze()).toEqual({ puts: [], deletions: ['run/1'] });
    expect(set.saved()).toEqual([1]);
    expect(set.saved()).toEqual([]);
  });

  it('a run that came and went between two checkpoints is never named, and its file goes', () => {
    const set = new RunSet();
    set.add([record(1, [[1, 0, 9]])]);
    set.replace([1], record(2, [[1, 3, 4]]));
    const frozen = set.freeze();
    expect(frozen.puts.map(({ runId }) => runId)).toEqual([2]);
    expect(frozen.deletions).toEqual(['run/1']);
    expect(set.saved()).toEqual([1]);
  });

  it('a merge makes neighbouring pieces one, and leaves those of others between them apart', () => {
    const set = new RunSet();
    set.add([record(1, [[1, 0, 9]])]);
    set.add([record(2, [[1, 20, 29]])]);
    set.add([record(3, [[1, 30, 39]])]);
    set.add([record(4, [[1, 50, 59]])]);
    set.replace(
      [1, 2, 4],
      record(5, [
        [1, 2, 7, 3],
        [1, 22, 25, 2],
        [1, 55, 55],
      ]),
    );
    const merged = set.freeze().puts.find(({ runId }) => runId === 5);
    expect(merged?.pieces).toEqual([
      { queueId: 1, first: 2, last: 25, values: 5 },
      { queueId: 1, first: 55, last: 55, values: 1 },
    ]);
    expect(found(set, 1, 24)).toBe(5);
    expect(found(set, 1, 33)).toBe(3);
    expect(found(set, 1, 55)).toBe(5);
  });

  it('comes back from its records, in whatever order they come', () => {
    const set = new RunSet();
    const records = [
      record(7, [[1, 20, 29]]),
      record(3, [
        [1, 0, 9],
        [1, 40, 49],
      ]),
    ];
    for (const one of records) set.restore(encodeRun(one));
    expect(found(set, 1, 45)).toBe(3);
    expect(found(set, 1, 22)).toBe(7);
    expect(set.takeId()).toBe(8);
    expect(set.isChanged).toBe(false);
    expect([...set.named()].toSorted((a, b) => a - b)).toEqual([3, 7]);
  });

  it.each(['the inner one first', 'the outer one first'])(
    "a piece that a rewrite has bridged is nobody's behind a start: %s",
    (order) => {
      const set = new RunSet();
      const between = record(2, [
        [1, 10, 19],
        [2, 0, 4],
      ]);
      set.add([record(1, [[1, 0, 9]]), between, record(3, [[1, 20, 29]])]);
      set.setWanted(1 as QueueId, 10 as Offset, 0);
      set.replace(
        [1, 3],
        record(4, [
          [1, 0, 9],
          [1, 20, 29],
        ]),
      );
      const records = set.freeze().puts.toSorted((one, other) => one.runId - other.runId);
      expect(records.map(({ runId }) => runId)).toEqual([2, 4]);
      if (order === 'the outer one first') records.reverse();
      const again = new RunSet();
      for (const one of records) again.restore(encodeRun(one));
      expect(found(again, 1, 5)).toBe(4);
      expect(found(again, 1, 25)).toBe(4);
      expect(found(again, 2, 3)).toBe(2);
      expect(again.run(2)?.wanted).toBe(5);
      expect(again.pieces(1 as QueueId).map(({ first, last }) => [first, last])).toEqual([[0, 29]]);
    },
  );

  it('refuses records of which one claims a part of what another claims', () => {
    const set = new RunSet();
    set.restore(encodeRun(record(1, [[1, 0, 9]])));
    for (const pieces of [
      [1, 9, 12],
      [1, 0, 9],
      [1, 0, 12],
      [1, 5, 9],
    ] as const) {
      expect(() => set.restore(encodeRun(record(2, [pieces])))).toThrow('two runs claim');
    }
  });

  it('a record holds what it was given; what is no record is refused', () => {
    const given = { ...record(2 ** 40, [[2 ** 45, 2 ** 50, 2 ** 50 + 1]]), lost: 'why' };
    expect(decodeRun(encodeRun(given))).toEqual(given);
    for (const bad of [null, [], [1, 2], [2, 1, 1, 1, '', new Uint8Array(0)], 'x']) {
      expect(() => decodeRun(bad)).toThrow('unknown format');
    }
  });
});
