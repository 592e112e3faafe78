import { describe, expect, it } from 'vitest';
import type { LogIndex } from '../../src/machine/ids.ts';
import { decodeNote, encodeNote } from '../../src/shard/checkpoint.ts';
import { decodeMembers, encodeMembers } from '../../src/shard/members.ts';
import { encodeRecord } from '../../src/shard/record-codec.ts';
import { recoveryPoint } from '../../src/shard/recovery.ts';

interface Case {
  readonly sees: string;
  readonly start: number;
  readonly last: number;
  readonly checkpoint?: number;
  readonly ofLog?: string;
  readonly alone?: boolean;
  readonly faulty?: readonly [from: number, through: number];
  readonly decision: { from: number; damage?: number } | RegExp;
}

const END = Number.MAX_SAFE_INTEGER;

const TABLE: readonly Case[] = [
  { sees: 'a new log', start: 1, last: 0, decision: { from: 0 } },
  { sees: 'no checkpoint, log from 1', start: 1, last: 9, decision: { from: 0 } },
  { sees: 'checkpoint inside the log', start: 3, last: 9, checkpoint: 5, decision: { from: 5 } },
  {
    sees: 'checkpoint just below the start',
    start: 6,
    last: 9,
    checkpoint: 5,
    decision: { from: 5 },
  },
  { sees: 'checkpoint at the end', start: 3, last: 9, checkpoint: 9, decision: { from: 9 } },
  {
    sees: 'no checkpoint, log begins later',
    start: 2,
    last: 9,
    decision: /no checkpoint .* begins at entry 2/,
  },
  {
    sees: 'checkpoint before the log',
    start: 7,
    last: 9,
    checkpoint: 5,
    decision: /at entry 5.*at entry 7/,
  },
  {
    sees: 'checkpoint above the end',
    start: 3,
    last: 9,
    checkpoint: 10,
    decision: /10, but .* ends at entry 9/,
  },
  {
    sees: 'another log',
    start: 3,
    last: 9,
    checkpoint: 5,
    ofLog: 'other',
    decision: /belongs to log other/,
  },
  {
    sees: 'damage that the checkpoint covers',
    start: 1,
    last: 9,
    checkpoint: 5,
    faulty: [2, 5],
    decision: { from: 5, damage: 1 },
  },
  {
    sees: 'damage that the checkpoint covers in part',
    start: 1,
    last: 9,
    checkpoint: 5,
    faulty: [4, 6],
    decision: /entries 4 to 6 cannot be read.*at entry 5, does not cover/,
  },
  {
    sees: 'damage behind the checkpoint',
    start: 1,
    last: 9,
    checkpoint: 5,
    faulty: [7, 7],
    decision: /7 to 7/,
  },
  {
    sees: 'damage behind the checkpoint that other nodes can mend',
    start: 1,
    last: 9,
    checkpoint: 5,
    faulty: [7, 7],
    alone: false,
    decision: { from: 5, damage: 1 },
  },
  {
    sees: 'damage without end',
    start: 1,
    last: 9,
    checkpoint: 9,
    faulty: [9, END],
    decision: /9 to the end/,
  },
  {
    sees: 'a lost mark behind the checkpoint',
    start: 1,
    last: 9,
    checkpoint: 5,
    faulty: [5, 4],
    decision: { from: 5, damage: 1 },
  },
];

describe('recovery of a shard', () => {
  it.each(TABLE)('D4: $sees', ({ start, last, checkpoint, ofLog, faulty, decision, alone }) => {
    const log = {
      id: 'log',
      alone: alone ?? true,
      start: start as LogIndex,
      last: last as LogIndex,
      faulty:
        faulty === undefined
          ? []
          : [{ from: faulty[0] as LogIndex, through: faulty[1] as LogIndex, detail: 'bad bytes' }],
    };
    const data = encodeNote({ logId: ofLog ?? 'log', members: undefined, marks: undefined });
    const records = {
      checkpoint:
        checkpoint === undefined
          ? undefined
          : { index: checkpoint, term: 1, data, recordCount: 0, sum: 0 },
    };
    if (decision instanceof RegExp) {
      expect(() => recoveryPoint(log, records)).toThrow(decision);
      expect(() => recoveryPoint(log, records)).toThrow(
        /The broker does not start; nothing was changed/,
      );
    } else {
      const point = recoveryPoint(log, records);
      expect(point.index).toBe(decision.from);
      expect(point.damage).toHaveLength(decision.damage ?? 0);
    }
  });
});

describe('the note of a checkpoint', () => {
  const marks = { inheritedThrough: 7, seenBelow: new Map([['1/0', 9]]) };
  const members = encodeMembers({
    configuration: {
      index: 4,
      configuration: { members: [{ id: 'n1', role: 'voter', address: 'h:1' }] },
    },
    serveFrom: 12,
  });

  it('comes out as it went in, with and without marks and members', () => {
    for (const note of [
      { logId: 'log', members, marks },
      { logId: 'log', members: undefined, marks },
      { logId: 'log', members, marks: undefined },
    ]) {
      expect(decodeNote(encodeNote(note))).toEqual(note);
    }
    expect(decodeMembers(members)).toMatchObject({ serveFrom: 12, configuration: { index: 4 } });
  });

  it('of before there were members is read', () => {
    expect(decodeNote(encodeRecord([2, 'log']))).toEqual({
      logId: 'log',
      members: undefined,
      marks: undefined,
    });
    expect(decodeNote(encodeRecord([2, 'log', 7, ['1/0', 9]]))).toEqual({
      logId: 'log',
      members: undefined,
      marks,
    });
    expect(decodeNote(encodeRecord([4, 'log']))).toBeUndefined();
  });
});
