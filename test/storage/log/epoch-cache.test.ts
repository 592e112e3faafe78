import { fc } from '../../support/properties.ts';
import { expect, test } from 'vitest';

import { EpochCache } from '../../../storage/log/epoch-cache.ts';
import type { Epoch, LogIndex } from '../../../storage/log/positions.ts';

/** Epochs of entries 1, 2, ... that never go back. */
const epochs = fc.array(fc.nat(2), { maxLength: 60 }).map((steps) => {
  let epoch = 1;
  return steps.map((step) => (epoch += step === 2 ? 1 : 0));
});

test('it answers as the list of all epochs does, cut at both ends', () => {
  fc.assert(
    fc.property(epochs, fc.nat(60), fc.nat(60), (list, a, b) => {
      const cache = new EpochCache();
      for (const [nth, epoch] of list.entries()) cache.note(epoch as Epoch, (nth + 1) as LogIndex);
      const last = Math.min(list.length, Math.max(a, b));
      const start = Math.max(1, Math.min(a, b, last));
      cache.truncateSuffix(last as LogIndex);
      cache.truncatePrefix(start as LogIndex);
      for (let index = Math.max(1, start - 1); index <= last; index += 1) {
        expect(cache.epochAt(index as LogIndex)).toBe(list[index - 1]);
      }
      expect(cache.lastEpoch).toBe(list[last - 1] ?? 0);
    }),
  );
});

test('an epoch that goes back is a bug', () => {
  const cache = new EpochCache();
  cache.note(5 as Epoch, 1 as LogIndex);
  expect(() => cache.note(4 as Epoch, 2 as LogIndex)).toThrow('never go back');
});
