/** How many retained messages are on their way to a session, and when the next ones go. */

import { setImmediate as turn } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type {
  Committed,
  EnqueueRefusal,
  QueueId,
  ReplayedMessage,
  RetainedLog,
} from '../../../src/broker/ports.ts';
import { RetainedFeed } from '../../../src/protocol/mqtt/retained-feed.ts';

const COUNT = 100;
const WINDOW = 8;

let feed: RetainedFeed;
let held: number;
let isWritable: boolean;
let steps: ReplayedMessage['step'][];
let waits: boolean;

/** A message at each offset. */
const log: RetainedLog = {
  end: () => Promise.resolve(COUNT),
  isKept: () => true,
  between: (_filter, from, to) => {
    let at = from;
    return {
      next: () => {
        if (waits) return 'wait';
        if (at >= to) return 'done';
        const payload = new Uint8Array();
        const message = {
          topic: 't',
          payload,
          qos: 1,
          retain: true,
          properties: undefined,
        } as const;
        const origin = { clientId: 'p', protocol: 'mqtt' } as const;
        const publication = { message, origin, publishedAtMs: 0, encoder: undefined };
        const offset = at++;
        const live = { ...publication, fanningOut: false, keep: () => {} };
        return { offset, next: at, publication: live, origin };
      },
    };
  },
};

beforeEach(() => {
  vi.useFakeTimers();
  held = 0;
  isWritable = true;
  steps = [];
  waits = false;
  feed = feedOver(log);
  feed.resume([{ filter: '#', run: 7, next: 0, end: COUNT }]);
});
afterEach(() => {
  feed.close();
  vi.useRealTimers();
});

function feedOver(over: RetainedLog): RetainedFeed {
  const sessions = {
    replay: (_handle: unknown, { step }: ReplayedMessage) => void steps.push(step),
    moveReplays: () => Promise.resolve(),
  };
  const broker = {
    sessions,
    clock: { now: () => 0 },
    get writable() {
      return isWritable;
    },
  };
  const handle = { clientId: 'a', queueId: 1 as QueueId, ownerEpoch: 3, incarnation: 'i' };
  return new RetainedFeed({
    broker: broker as never,
    log: over,
    owned: { handle, lost: undefined, hasWill: false },
    maxInflight: WINDOW,
    held: () => held,
    refused: () => {},
    tooLarge: () => {},
  });
}

/** The outcomes of all that are under way. */
function answer(outcome: EnqueueRefusal | 'committed' = 'committed'): number {
  const answered = steps.splice(0);
  for (const { at } of answered) {
    feed.enqueued(at, outcome === 'committed' ? (1 as Committed) : outcome);
  }
  return answered.length;
}

/** What was stored is delivered, and acknowledged. */
function delivered(count: number): void {
  held += count;
  for (let left = count; left > 0; left--) feed.arrived();
  held -= count;
  feed.roomAgain();
}

test('begins with one, and has no more under way than the client may hold', () => {
  let stored = 0;
  for (const expected of [1, 2, 4, 1]) {
    expect(steps).toHaveLength(expected);
    stored += answer();
  }
  expect([stored, steps.length]).toEqual([WINDOW, 0]);
  delivered(3);
  expect(steps).toHaveLength(3);
  expect(steps[0]).toMatchObject({ from: 8, at: 8, next: 9, run: 7 });
});

test('waits while the client holds enough of other messages', () => {
  held = WINDOW;
  answer();
  expect(steps).toEqual([]);
  held = WINDOW - 2;
  feed.roomAgain();
  // One is stored and has not come.
  expect(steps).toHaveLength(1);
});

test('goes on after a while when what was stored never comes', () => {
  while (steps.length > 0) answer();
  vi.advanceTimersByTime(4_900);
  expect(steps).toEqual([]);
  vi.advanceTimersByTime(200);
  expect(steps).toHaveLength(WINDOW);
});

test('begins anew with one, later and later, while it is refused', () => {
  answer();
  expect(answer('queue-full')).toBe(2);
  for (const ms of [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000]) {
    vi.advanceTimersByTime(ms - 1);
    expect(steps).toEqual([]);
    vi.advanceTimersByTime(1);
    expect(steps).toMatchObject([{ from: 1, at: 1 }]);
    answer('queue-full');
  }
  vi.advanceTimersByTime(5_000);
  answer();
  expect(steps).toHaveLength(2);
  answer('timeout');
  vi.advanceTimersByTime(100);
  expect(steps).toMatchObject([{ from: 2 }]);
});

test.each(['the shard is behind', 'something newer is under way'])(
  'looks again when %s',
  (what) => {
    isWritable = what !== 'the shard is behind';
    waits = isWritable;
    answer();
    expect(steps).toEqual([]);
    isWritable = true;
    waits = false;
    vi.advanceTimersByTime(50);
    expect(steps).toHaveLength(2);
  },
);

test('looks at the many filters of a SUBSCRIBE a few a turn, and not far', async () => {
  feed.close();
  const looked: { turn: number; steps: number }[] = [];
  let turns = 0;
  let isOver = false;
  const count = async (): Promise<void> => {
    for (; !isOver; turns++) await turn();
  };
  const between: RetainedLog['between'] = () => ({
    next: (steps) => {
      looked.push({ turn: turns, steps });
      return 'more';
    },
  });
  const many = feedOver({ ...log, between });
  void count();
  const begun = Array.from({ length: 200 }, (_none, at) => ({ filter: `${at}`, ...many.begun() }));
  await many.open(begun);
  isOver = true;
  many.close();
  const glances = looked.slice(0, 200);
  for (const { steps: each } of glances) expect(each).toBeLessThanOrEqual(4);
  expect(new Set(glances.map((each) => each.turn)).size).toBe(4);
});

test('is over when another owner has the session, and when it is closed', () => {
  answer('stale-owner');
  expect([steps.length, feed.isOn]).toEqual([0, false]);
  feed.resume([{ filter: '#', run: 8, next: 0, end: COUNT }]);
  expect(steps).toHaveLength(1);
  feed.close();
  answer();
  feed.roomAgain();
  vi.advanceTimersByTime(60_000);
  expect(steps).toEqual([]);
});
