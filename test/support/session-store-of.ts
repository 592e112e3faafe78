/** The store of sessions over the client of the one shard that a test has. */

import type { ShardClient } from '../../src/shard/client.ts';
import { SessionsOfAll } from '../../src/shard/session-store.ts';

export function storeOf(client: ShardClient): SessionsOfAll {
  const nothing = (): void => undefined;
  const store = new SessionsOfAll({
    queues: client.queues,
    shardOf: () => client,
    unreached: new Set(),
    lookUp: async () => {
      await client.places.barrier();
      return true;
    },
    declare: (definition) => client.admin.declare(definition),
    maxSessions: 100,
    keysAreEverywhere: nothing,
    keyIsIn: nothing,
    enqueue: (queueId, { message, origin, step }, waiter) => {
      client.enqueue([queueId], message, origin, waiter, step.at, step);
    },
    keysAreForgotten: nothing,
    endKeys: nothing,
  });
  store.addShard(client);
  return store;
}
