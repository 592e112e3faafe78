/**
 * Publishes the wills of durable sessions that are due: the log has them, and offers each to one
 * node, again until it hears that it was published.
 *
 * By the rights that hold now; what its publisher may not do any more is dropped. Where the store
 * cannot say whether a queue has it, it is tried again later: queues know it by its key, and live
 * subscribers may get it twice then. Keeps nothing.
 */

import type { Message } from './message.ts';
import {
  type Acknowledgeable,
  type BrokerAccess,
  type DueWill,
  type Publisher,
  type PublishOutcome,
  type PublishRefusal,
} from './ports.ts';

export interface DueWillsParts {
  readonly access: BrokerAccess | undefined;
  readonly publish: (message: Message, publisher: Publisher, tag: number) => PublishOutcome;
  /** It cannot be published, now or later. */
  readonly lost: () => void;
}

/** Another try may find it otherwise. */
const PASSING: ReadonlySet<PublishRefusal> = new Set([
  'timeout',
  'unavailable',
  'not-leader',
  'disk-full',
]);

export class DueWills {
  readonly #parts: DueWillsParts;

  constructor(parts: DueWillsParts) {
    this.#parts = parts;
  }

  /** False: it is to be tried again. Never rejects. */
  async publish({ origin, message, keySession }: DueWill): Promise<boolean> {
    const { access, publish, lost } = this.#parts;
    if (access?.isTakenBack(origin, message.topic) === true) return true;
    const outcome = await new Promise<Acknowledgeable | PublishRefusal>((resolve) => {
      const waiter = { enqueued: (_tag: number, late: typeof outcome): void => resolve(late) };
      const key = { session: keySession, ownerEpoch: 1, packetId: 1 };
      const now = publish(message, { origin, subscriber: undefined, waiter, key }, 0);
      if (now !== 'waiting') resolve(now);
    });
    if (typeof outcome === 'number') return true;
    if (PASSING.has(outcome)) return false;
    lost();
    return true;
  }
}
