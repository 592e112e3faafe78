/**
 * What a shard's log says of durable sessions; `command.ts` has the rest. Each has exactly one
 * answer among the effects: `session-claimed`, `session-received`, `session-chosen`,
 * `session-done` or `session-refused`.
 *
 * `ownerEpoch` is that of the owner who asks; another than the record's is refused, so that nothing
 * which a former owner has said comes late.
 */

import type { Overflow } from './definitions.ts';
import type { Offset, QueueId } from './ids.ts';
import type { StoredReplay, StoredSubscription } from './session-record.ts';
import type { Choosing } from './share-choices.ts';
import type { StoredWill } from './session-will-record.ts';

/** The bounds of a session's queue: those of `QueueLimits` of the same names. */
export interface SessionLimits {
  readonly maxMessages: number;
  readonly maxBytes: number;
  readonly overflow: Overflow;
}

interface OfOwner {
  readonly queueId: QueueId;
  readonly ownerEpoch: number;
}

/**
 * Another owner; the epoch goes up by one. What has ended, or is to start clean, is emptied. The
 * token names the claim: applied a second time it is answered as the first time. Refused with
 * `other-user` where there is one that has not ended, and it is somebody else's.
 */
export interface ClaimSessionCommand {
  readonly kind: 'claim-session';
  readonly queueId: QueueId;
  /** The one in force, or it is refused; 0: nobody has claimed it yet. */
  readonly epoch: number;
  readonly token: string;
  readonly cleanStart: boolean;
  /** Of the new life, where one begins. */
  readonly incarnation: string;
  /** Whose it is from now on; '' nobody's, and everybody's. Undefined: users do not count. */
  readonly user: string | undefined;
  readonly expirySeconds: number;
  readonly limits: SessionLimits;
  readonly will: StoredWill | undefined;
}

/**
 * All or nothing; unsubscribed first. A subscription without a replay that replaces another one, at
 * QoS 1 or 2, goes on with the replay of that.
 */
export interface ChangeSessionCommand extends OfOwner {
  readonly kind: 'change-session';
  readonly subscribe: readonly StoredSubscription[];
  readonly unsubscribe: readonly string[];
}

/**
 * Moves replays on: where the end was not known, it is this one. One that is at its end is done.
 * Of another run than the subscription's, or of none: nothing.
 */
export interface ReplaySessionCommand extends OfOwner {
  readonly kind: 'replay-session';
  readonly replays: readonly SessionReplay[];
}

export interface SessionReplay extends StoredReplay {
  readonly filter: string;
}

/** `halve`: the offset is settled, and kept among the halves until `finish`. */
export interface HalfSessionCommand extends OfOwner {
  readonly kind: 'halve-session' | 'finish-session';
  readonly offset: Offset;
}

/**
 * Its owner is gone: the end counts from the stamp. Undefined: the expiry that it has, unless its
 * end is counted already.
 */
export interface LeaveSessionCommand extends OfOwner {
  readonly kind: 'leave-session';
  readonly expirySeconds: number | undefined;
  /** By DISCONNECT with 0x00: its will is not published. */
  readonly isInPeace: boolean;
}

/** `resume`: its owner is there after all. `delete`: queue, record and keys go, if it has ended. */
export interface OwnedSessionCommand extends OfOwner {
  readonly kind: 'resume-session' | 'delete-session';
}

/** A publish at QoS 2 that no queue takes: its key alone, until its release. */
export interface ReceiveSessionCommand extends OfOwner {
  readonly kind: 'receive-session';
  readonly packetId: number;
}

/**
 * To which members of shares a publish of the session at QoS 2 goes: what the first one of its
 * packet id says counts, until its key is released. The key itself is not taken.
 */
export interface ChooseSessionCommand extends OfOwner, Choosing {
  readonly kind: 'choose-session';
  readonly packetId: number;
}

/** A will that was due is published; its number is the owner epoch of its claim. */
export interface EndWillCommand {
  readonly kind: 'end-will';
  readonly queueId: QueueId;
  readonly number: number;
}

export type SessionCommand =
  | ClaimSessionCommand
  | ChangeSessionCommand
  | ReplaySessionCommand
  | HalfSessionCommand
  | LeaveSessionCommand
  | OwnedSessionCommand
  | ReceiveSessionCommand
  | ChooseSessionCommand
  | EndWillCommand;

const KINDS: Readonly<Record<SessionCommand['kind'], true>> = {
  'claim-session': true,
  'change-session': true,
  'replay-session': true,
  'halve-session': true,
  'finish-session': true,
  'leave-session': true,
  'resume-session': true,
  'delete-session': true,
  'receive-session': true,
  'choose-session': true,
  'end-will': true,
};

export function isOfSession<T extends { readonly kind: string }>(
  command: T,
): command is Extract<T, SessionCommand> {
  return Object.hasOwn(KINDS, command.kind);
}
