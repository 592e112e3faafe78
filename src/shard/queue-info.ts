/** A queue as the clients of its shard are told of it. */

import type { QueueInfo } from '../broker/ports.ts';
import type { QueueDefinition } from '../machine/definitions.ts';
import type { QueueId } from '../machine/ids.ts';

/** The parts of a queue that the client knows. */
export function infoOf(queueId: QueueId, definition: QueueDefinition): QueueInfo {
  const { name, type, topics } = definition;
  const { defaultGroup, capture } = definition.limits;
  return { queueId, name, type, topics, defaultGroup, capture };
}
