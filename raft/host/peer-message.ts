/** What replicas of a shard say to each other: the core's messages and those of a catch-up. */

import { isBulk } from '../core/message.ts';
import type { Message } from '../core/message.ts';
import type { CatchUpMessage, CatchUpWant } from './catch-up-messages.ts';

export type PeerMessage = Message | CatchUpMessage | CatchUpWant;

/** Whether it belongs on the channel for bulk; what elections need has one of its own. */
export function isBulkMessage(message: PeerMessage): boolean {
  switch (message.kind) {
    case 'catchUpOffer':
    case 'catchUpAsk':
    case 'catchUpAnswer':
    case 'catchUpEnd':
      return true;
    case 'catchUpWant':
      return false;
    default:
      return isBulk(message);
  }
}
