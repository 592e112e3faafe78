/** Which payloads a catch-up asks for, and in which order their answers count. */

import { describe, expect, it } from 'vitest';
import type { Offset, QueueId } from '../../src/machine/ids.ts';
import type { PayloadsAnswer } from '../../src/shard/catch-up-codec.ts';
import { CatchUpPieces } from '../../src/shard/catch-up-pieces.ts';
import type { WantedRange } from '../../src/shard/catch-up-pieces.ts';
import { fc } from '../support/properties.ts';

type Question = NonNullable<ReturnType<CatchUpPieces['question']>>;

const HALF_MIB = 524_288;

function range(queueId: number, from: number, to: number): WantedRange {
  return { queueId: queueId as QueueId, from: from as Offset, to: to as Offset };
}

/** All of [from, next), a message of so many bytes each. */
function answer(from: number, next: number, bytes = 1): PayloadsAnswer {
  const offsets = Array.from({ length: next - from }, (_none, nth) => from + nth);
  const messages = offsets.map(() => new Uint8Array(bytes));
  return { next, goneAt: 0, offsets, indexes: offsets, messages };
}

/** Until there is nothing to ask. */
function asked(pieces: CatchUpPieces): Question[] {
  const questions: Question[] = [];
  for (let one = pieces.question(); one !== undefined; one = pieces.question()) questions.push(one);
  return questions;
}

function taken(pieces: CatchUpPieces): string[] {
  const all: string[] = [];
  for (let one = pieces.take(); one !== undefined; one = pieces.take()) {
    all.push(...one.answer.offsets.map((offset) => `${one?.queueId} ${offset}`));
  }
  return all;
}

describe('the payloads that a catch-up asks for', () => {
  it('are asked for in a few pieces at once, over several queues', () => {
    const pieces = new CatchUpPieces([range(1, 5, 30), range(2, 0, 3), range(3, 7, 100)]);
    const names = asked(pieces).map(({ queueId, from, to }) => [queueId, from, to]);
    expect(names).toEqual([
      [1, 5, 21],
      [1, 21, 30],
      [2, 0, 3],
      [3, 7, 23],
    ]);
    pieces.answered({ kind: 'payloads', queueId: 1, from: 5, to: 21 }, answer(5, 21));
    expect(asked(pieces)).toEqual([]);
    expect(taken(pieces)).toHaveLength(16);
    expect(asked(pieces)).toHaveLength(1);
  });

  it('are taken in order, whichever answer comes first', () => {
    const pieces = new CatchUpPieces([range(1, 0, 20), range(2, 0, 2)]);
    const [first, second, third] = asked(pieces) as [Question, Question, Question];
    pieces.answered(third, answer(0, 2));
    pieces.answered(second, answer(16, 20));
    expect(taken(pieces)).toEqual([]);
    pieces.answered(first, answer(0, 16));
    expect(taken(pieces)).toHaveLength(22);
    expect(pieces.isDone).toBe(true);
  });

  it('what an answer has not brought is asked for before what lies behind it is taken', () => {
    const pieces = new CatchUpPieces([range(1, 0, 20)]);
    const [first, second] = asked(pieces) as [Question, Question];
    pieces.answered(second, answer(16, 20));
    pieces.answered(first, answer(0, 10));
    expect(taken(pieces)).toEqual(Array.from({ length: 10 }, (_none, nth) => `1 ${nth}`));
    const rest = asked(pieces);
    expect(rest).toEqual([{ kind: 'payloads', queueId: 1, from: 10, to: 16 }]);
    pieces.answered(rest[0] as Question, answer(10, 16));
    expect(taken(pieces)).toHaveLength(10);
    expect(pieces.isDone).toBe(true);
  });

  it('are as many as fit into an answer, by what the last ones had', () => {
    const pieces = new CatchUpPieces([range(1, 0, 1_000_000)]);
    const length = (): number => {
      const [question] = asked(pieces).slice(-1) as [Question];
      return question.to - question.from;
    };
    const next = (bytes: number): void => {
      const question = pieces.question() as Question;
      pieces.answered(question, answer(question.from, question.to, bytes));
      taken(pieces);
    };
    for (let left = 12; left > 0; left--) next(1_000);
    expect(length()).toBe(Math.floor((HALF_MIB * 0.9) / 1_000));
    const large = new CatchUpPieces([range(1, 0, 1_000)]);
    large.answered(large.question() as Question, answer(0, 1, HALF_MIB));
    taken(large);
    large.answered(large.question() as Question, answer(1, 16, 10));
    expect((large.question() as Question).to).toBe(18);
  });

  it('an answer of other offsets is refused, one that comes again is not heard', () => {
    const pieces = new CatchUpPieces([range(1, 4, 10)]);
    const question = pieces.question() as Question;
    const wrong = [answer(4, 4), answer(4, 11), answer(2, 6), { ...answer(4, 8), next: 6 }];
    for (const each of wrong)
      expect(() => pieces.answered(question, each)).toThrow('other offsets');
    pieces.answered({ ...question, from: 5 }, answer(5, 6));
    pieces.answered({ ...question, queueId: 2 }, answer(4, 6));
    expect(taken(pieces)).toEqual([]);
    pieces.answered(question, answer(4, 10));
    pieces.answered(question, answer(4, 5));
    expect(taken(pieces)).toHaveLength(6);
  });

  it('every offset is taken once, in order, however answers end and come', () => {
    const ranges = fc.array(fc.tuple(fc.nat(50), fc.integer({ min: 1, max: 300 })), {
      maxLength: 6,
    });
    const dealt = fc.infiniteStream(fc.nat(1_000_000));
    fc.assert(
      fc.property(ranges, dealt, (lengths, numbers) => {
        const all = lengths.map(([from, count], nth) => range(nth + 1, from, from + count));
        const deal = (below: number): number => numbers.next().value % below;
        const pieces = new CatchUpPieces(all);
        const open: Question[] = [];
        const got: string[] = [];
        while (!pieces.isDone) {
          open.push(...asked(pieces));
          const [question] = open.splice(deal(open.length), 1) as [Question];
          const { from, to } = question;
          const next = from + 1 + deal(to - from);
          pieces.answered(question, answer(from, next, deal(100_000)));
          if (deal(2) === 0) got.push(...taken(pieces));
          if (open.length === 0) got.push(...taken(pieces));
        }
        const wanted = all.flatMap(({ queueId, from, to }) =>
          Array.from({ length: to - from }, (_none, nth) => `${queueId} ${from + nth}`),
        );
        expect(got).toEqual(wanted);
      }),
      { numRuns: 60 },
    );
  });
});
