/** What many replicas of one thread share of its clock. */

import { expect, it } from 'vitest';
import { systemClock } from '#raft';
import type { Timer } from '#raft';

const MS = 20;

it('who asks for the same interval, whenever, is called in one turn of the event loop', async () => {
  const turns: number[] = [];
  let turn = 0;
  await new Promise<void>((resolve) => {
    const timers: Timer[] = [];
    const action = (): void => {
      turns.push(turn);
      setImmediate(() => (turn += 1));
      if (turns.length < 9) return;
      for (const timer of timers) timer.cancel();
      resolve();
    };
    timers.push(systemClock.every(MS, action), systemClock.every(MS, action));
    setTimeout(() => timers.push(systemClock.every(MS, action)), MS / 2);
  });
  const [last] = turns.slice(-1);
  expect(turns.slice(-3)).toEqual([last, last, last]);
});

it('who is cancelled is not called, also by another one in the same turn', async () => {
  const called: string[] = [];
  await new Promise<void>((resolve) => {
    const first = systemClock.every(2, () => {
      called.push('first');
      second.cancel();
      if (called.length < 3) return;
      first.cancel();
      resolve();
    });
    const second = systemClock.every(2, () => called.push('second'));
  });
  expect(called).toEqual(['first', 'first', 'first']);
});
