/** Who waits for a publish that has more than one append, and what he is told. */

import { expect, test } from 'vitest';
import { AppendAnswers } from '../../src/broker/append-answers.ts';
import type { Committed, EnqueueRefusal, Unlogged } from '../../src/broker/ports.ts';

const NOWHERE = 0 as Unlogged;
const COMMITTED = 7 as Committed;

function setup() {
  const told: [tag: number, outcome: unknown][] = [];
  const lost: string[] = [];
  const answers = new AppendAnswers({ lost: () => lost.push('lost'), nowhere: NOWHERE });
  const waiter = { enqueued: (tag: number, outcome: unknown) => void told.push([tag, outcome]) };
  const begin = (tag: number, outcomes: number): number =>
    answers.begin({ topic: `t/${tag}`, waiter, tag, outcomes });
  return { answers, told, lost, begin };
}

type Outcomes = readonly (Committed | EnqueueRefusal | undefined)[];

test.each<[outcomes: Outcomes, told: unknown]>([
  [[COMMITTED, COMMITTED, COMMITTED], COMMITTED],
  [[undefined, COMMITTED, undefined], COMMITTED],
  [[undefined, undefined], NOWHERE],
  [[COMMITTED, 'queue-full', 'timeout'], 'queue-full'],
  [['disk-full', COMMITTED], 'disk-full'],
])('%j are told as one: %s, behind the last of them', (outcomes, outcome) => {
  const { answers, told, lost, begin } = setup();
  const place = begin(3, outcomes.length);
  for (const each of outcomes) {
    expect(told).toEqual([]);
    answers.told(place, each);
  }
  expect(told).toEqual([[3, outcome]]);
  expect(lost).toEqual([]);
});

test('a publish with a key, of which a part is stored, may have it: that is not known', () => {
  const { answers, told } = setup();
  const waiter = { enqueued: (tag: number, outcome: unknown) => void told.push([tag, outcome]) };
  const outcomes: Outcomes[] = [
    [COMMITTED, 'disk-full'],
    ['disk-full', undefined],
    [COMMITTED, undefined],
  ];
  for (const [tag, each] of outcomes.entries()) {
    const place = answers.begin({ topic: 't', waiter, tag, outcomes: 2, isKeyed: true });
    for (const outcome of each) answers.told(place, outcome);
  }
  expect(told).toEqual([
    [0, 'timeout'],
    [1, 'disk-full'],
    [2, COMMITTED],
  ]);
});

test('that queues which captured the topic are gone is no refusal', () => {
  const { answers, told, begin } = setup();
  answers.captured.enqueued(begin(1, 1), 'no-queue');
  answers.captured.enqueued(begin(2, 1), 'queue-full');
  expect(told).toEqual([
    [1, NOWHERE],
    [2, 'queue-full'],
  ]);
});

test('where nobody waits, a refusal counts as lost, once', () => {
  const { answers, lost } = setup();
  const nobody = { topic: 't', waiter: undefined, tag: 0, outcomes: 2 };
  const [first, second] = [answers.begin(nobody), answers.begin(nobody)];
  for (const place of [first, second]) answers.told(place, place === first ? COMMITTED : 'timeout');
  answers.told(first, COMMITTED);
  expect(lost).toEqual([]);
  answers.told(second, 'disk-full');
  expect(lost).toEqual(['lost']);
});

test('places are given again, without what was told there', () => {
  const { answers, told, begin } = setup();
  const [first, second] = [begin(1, 1), begin(2, 2)];
  expect(answers.topicOf(second)).toBe('t/2');
  answers.told(first, 'timeout');
  const again = begin(4, 1);
  expect(again).toBe(first);
  expect(answers.topicOf(again)).toBe('t/4');
  answers.told(again, COMMITTED);
  answers.told(second, undefined);
  answers.told(second, COMMITTED);
  expect(told).toEqual([
    [1, 'timeout'],
    [4, COMMITTED],
    [2, COMMITTED],
  ]);
});
