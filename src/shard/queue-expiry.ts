/**
 * Queues in memory that nobody uses any more: one goes `expiresMs` after its last consumer left, or
 * after it was declared if none ever came. Looked for once a second; soft state of the leader, as
 * the queues themselves.
 */

import type { DeleteQueueCommand } from '../machine/command.ts';
import type { DefinedQueue } from '../machine/definition-commands.ts';
import type { QueueId } from '../machine/ids.ts';

export interface QueueExpiryOptions {
  readonly queues: () => readonly Pick<DefinedQueue, 'queueId' | 'definition'>[];
  readonly consumersOf: (queueId: QueueId) => number;
  readonly propose: (command: DeleteQueueCommand) => void;
  readonly now: () => number;
}

const LOOK_MS = 1_000;

export class QueueExpiry {
  readonly #options: QueueExpiryOptions;
  /** Since when each of them has no consumer. */
  #unused = new Map<QueueId, number>();
  #nextLook = 0;
  #any = false;

  constructor(options: QueueExpiryOptions) {
    this.#options = options;
  }

  /** When `look` wants to be called although nothing happens; Infinity: not at all. */
  get nextWake(): number {
    return this.#any ? this.#nextLook : Number.POSITIVE_INFINITY;
  }

  look(): void {
    const { queues, consumersOf, propose, now } = this.#options;
    const time = now();
    if (time < this.#nextLook) return;
    this.#nextLook = time + LOOK_MS;
    const unused = new Map<QueueId, number>();
    this.#any = false;
    for (const { queueId, definition } of queues()) {
      const { expiresMs } = definition.limits;
      if (expiresMs === 0) continue;
      this.#any = true;
      if (consumersOf(queueId) > 0) continue;
      const since = this.#unused.get(queueId) ?? time;
      // Proposed again at the next look, should it still be there.
      if (time - since >= expiresMs) propose({ kind: 'delete-queue', queueId });
      unused.set(queueId, since);
    }
    this.#unused = unused;
  }
}
