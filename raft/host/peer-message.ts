/** What replicas of a shard say to each other: the core's messages and those of a catch-up. */

import { isBulk } from '../core/message.ts';
import type { ServerId, Term } from '../core/ids.ts';
import type { Message } from '../core/message.ts';
import type { CatchUpMessage, CatchUpWant } from './catch-up-messages.ts';

/**
 * From a server under the name that it had before a rescue, to one that the rescue has given up:
 * the cluster went on without it.
 */
export interface GivenUp {
  readonly kind: 'givenUp';
  readonly from: ServerId;
  readonly to: ServerId;
  readonly term: Term;
}

export type PeerMessage = Message | CatchUpMessage | CatchUpWant | GivenUp;

/** Whether it belongs on the channel for bulk; what elections need has one of its own. */
export function isBulkMessage(message: PeerMessage): boolean {
  switch (message.kind) {
    case 'catchUpOffer':
    case 'catchUpAsk':
    case 'catchUpAnswer':
    case 'catchUpEnd':
      return true;
    case 'catchUpWant':
    case 'givenUp':
      return false;
    default:
      return isBulk(message);
  }
}
