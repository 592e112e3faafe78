/** What a client hears when its connection owns its durable session no more (MQTT 5.0 4.13). */

import type { CancelReason } from '../../broker/ports.ts';
import type { Ending } from './context.ts';
import { ReasonCode, type ServerDisconnectReason } from './reason-codes.ts';

/** The session itself has another owner, or is gone, or nobody can say. */
export function ownershipEnded(reason: CancelReason): Ending<ServerDisconnectReason> {
  switch (reason) {
    case 'taken-over':
      return { reasonCode: ReasonCode.sessionTakenOver, text: 'the client id connected again' };
    case 'queue-deleted':
    case 'group-deleted':
      return { reasonCode: ReasonCode.administrativeAction, text: 'the session was deleted' };
    case 'refused':
    case 'unavailable':
      return {
        reasonCode: ReasonCode.implementationSpecificError,
        text: 'the store is not available',
      };
  }
}
