/** The figures of a node: amounts of all its shards, and what makes sense for one alone apart. */

import { expect, it } from 'vitest';
import { sumOfShards } from '../src/shard-figures.ts';

it('amounts are added up, of times the longest counts, replicas and logs stay apart', () => {
  const shard = (figures: Record<string, number>) => new Map(Object.entries(figures));
  const zero = shard({
    'messages/enqueued': 2,
    'log/bytes': 10,
    'log/last': 5,
    'checkpoint/last-ms': 9,
    'raft/term': 3,
    'raft-role/leader': 1,
    'depth\0a': 1,
  });
  const second = shard({
    'messages/enqueued': 3,
    'log/bytes': 20,
    'log/last': 7,
    'checkpoint/last-ms': 4,
    'raft/term': 4,
    'raft-role/leader': 0,
    'depth\0b': 2,
  });
  const memory = shard({ 'messages/enqueued': 5, 'log/bytes': 8, 'raft/term': 0, 'depth\0c': 3 });
  const sum = sumOfShards(
    [
      { shard: 0, figures: zero },
      { shard: 2, figures: second },
    ],
    memory,
  );
  expect(Object.fromEntries(sum)).toEqual({
    'messages/enqueued': 10,
    'log/bytes': 30,
    'memory/bytes': 8,
    'log/last': 5,
    'shard-2/log/last': 7,
    'checkpoint/last-ms': 9,
    'raft/term': 3,
    'shard-2/raft/term': 4,
    'raft-role/leader': 1,
    'shard-2/raft-role/leader': 0,
    'depth\0a': 1,
    'depth\0b': 2,
    'depth\0c': 3,
  });
});
