/** What apply says of durable sessions; one of the rare effects (`effect.ts`). */

import type { QueueDefinition } from './definitions.ts';
import type { Offset, QueueId } from './ids.ts';
import type { StoredSubscription } from './session-record.ts';
import type { Chosen } from './share-choices.ts';

export type SessionEffect =
  /** Another owner has the session, or the same claim is answered again. */
  | {
      readonly kind: 'session-claimed';
      readonly queueId: QueueId;
      readonly ownerEpoch: number;
      readonly present: boolean;
      readonly incarnation: string;
      /** The life that ended with it; '': none did. */
      readonly before: string;
      readonly subscriptions: readonly StoredSubscription[];
      readonly halves: readonly Offset[];
    }
  | { readonly kind: 'session-done'; readonly queueId: QueueId }
  /** `isNew` false: the key was there. */
  | { readonly kind: 'session-received'; readonly queueId: QueueId; readonly isNew: boolean }
  | ({ readonly kind: 'session-chosen'; readonly queueId: QueueId } & Chosen)
  /** `ownerEpoch`: the one in force; 0: there is none. */
  | {
      readonly kind: 'session-refused';
      readonly queueId: QueueId;
      readonly reason: SessionRefusalReason;
      readonly ownerEpoch: number;
    }
  /** It captures by other patterns, or its queue has other limits. */
  | {
      readonly kind: 'session-redefined';
      readonly queueId: QueueId;
      readonly definition: QueueDefinition;
    }
  /** Its time is over: the leader is to delete it. Told again until it is gone. */
  | {
      readonly kind: 'session-ended';
      readonly queueId: QueueId;
      readonly ownerEpoch: number;
      readonly incarnation: string;
    }
  /** Its will is due: the leader is to publish it. Told again until it is published. */
  | {
      readonly kind: 'session-will';
      readonly queueId: QueueId;
      readonly number: number;
      readonly message: Uint8Array;
    };

export type SessionRefusalReason =
  /** There is no such queue, or it is no session's. */
  | 'no-session'
  /** Of another epoch than the one in force. */
  | 'stale-owner'
  /** It was made by another user. */
  | 'other-user'
  | 'too-many-subscriptions'
  | 'too-many-halves'
  /** Keys of more sessions than the shard remembers. */
  | 'too-many-keys'
  /** More members of shares than are kept for one publish, or for all of the session. */
  | 'too-many-choices'
  /** As many of its wills are due as may be. */
  | 'too-many-wills'
  /** It is not to be deleted: somebody has it, its time is not over, or a will is due. */
  | 'not-ended';
