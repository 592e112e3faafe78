import { describe, expect, it } from 'vitest';
import type { LogIndex, Offset, QueueId } from '../../src/machine/ids.ts';
import { Peeker } from '../../src/shard/peek.ts';

const QUEUE = 7 as QueueId;

/** Three messages, each of which is read to where the one before it was. */
function peekerOver(memory: Uint8Array): Peeker {
  return new Peeker({
    machine: {
      queueKeys: () => [],
      lowestWanted: () => 0 as Offset,
      nextOffset: () => 3 as Offset,
      wantedKeys: () => [],
      isWanted: () => true,
    },
    loader: { until: () => Promise.resolve() },
    payloads: {
      get: (_, offset) => {
        memory.fill(offset + 1);
        return { bytes: memory, start: 1, end: 4, index: 1 as LogIndex };
      },
      fetch: () => Promise.resolve({ kind: 'ready' }),
    },
  });
}

describe('a page of messages', () => {
  for (const memory of [new Uint8Array(8), Buffer.alloc(8)]) {
    it(`has a copy of each, where they are read over in a ${memory.constructor.name}`, async () => {
      const { messages } = await peekerOver(memory).peek(QUEUE, { from: 0 as Offset, max: 10 });
      expect(messages.map(({ stored }) => [...stored])).toEqual([
        [1, 1, 1],
        [2, 2, 2],
        [3, 3, 3],
      ]);
    });
  }
});
