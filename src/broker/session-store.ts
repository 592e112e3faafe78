/**
 * Durable sessions, a part of the ports of the broker (`ports.ts`): what a frontend asks of the
 * sessions that outlive their connection, and their broker.
 *
 * A session is a queue of the type `session` with a record beside it; see
 * docs/decisions/0031-durable-sessions.md. Who claims it owns it, on whichever node: what a former
 * owner says later is refused with `stale-owner`. Every promise here crosses the log; it resolves
 * when what was asked for is committed, and rejects with a `SessionError` alone.
 */

import type { Offset, QueueId } from '../machine/ids.ts';
import type { ReplayStep } from '../machine/command.ts';
import type { SessionLimits, SessionReplay } from '../machine/session-command.ts';
import type { StoredSubscription } from '../machine/session-record.ts';
import type { Chosen, ShareChoice } from '../machine/share-choices.ts';
import type { ConsumerSink, Origin, QueueConsumer } from './consumer.ts';
import type { EnqueueWaiter } from './enqueue-outcome.ts';
import type { Message } from './message.ts';

export type { SessionLimits, SessionReplay } from '../machine/session-command.ts';
export type { StoredReplay, StoredSubscription } from '../machine/session-record.ts';
export type { Chosen, ShareChoice } from '../machine/share-choices.ts';

/** The session as this owner has it. */
export interface SessionHandle {
  readonly clientId: string;
  readonly queueId: QueueId;
  /** Goes up with each claim. */
  readonly ownerEpoch: number;
  /** Names this life of the session in publish keys; another one after each clean start. */
  readonly incarnation: string;
}

export interface ClaimRequest {
  /** Not empty, and well-formed Unicode. */
  readonly clientId: string;
  /**
   * Whose the session is from now on; another user's that has not ended is refused. '': nobody's,
   * which the first who claims it makes his. Undefined: there are no users.
   */
  readonly user: string | undefined;
  /** What was stored of it goes, whatever it is. */
  readonly cleanStart: boolean;
  /** How long it lives on without a connection; 0: no longer, 4,294,967,295: for ever. */
  readonly expirySeconds: number;
  readonly limits: SessionLimits;
  /** Of the connection that claims it; undefined: it has none. */
  readonly will: SessionWill | undefined;
}

/**
 * Kept with the session: the store has it published when its connection is lost and nobody claims
 * the session within the delay, or when the session ends (MQTT 5.0 section 3.1.2.5).
 */
export interface SessionWill {
  readonly origin: Origin;
  /** Owns its payload. */
  readonly message: Message;
  /** 0 to 4,294,967,295. */
  readonly delaySeconds: number;
}

/** One that is to be published now, by this node. */
export interface DueWill {
  readonly origin: Origin;
  /** Owns its payload. */
  readonly message: Message;
  /** Of the key of its one publish, at the owner epoch 1 and with the packet id 1. */
  readonly keySession: string;
}

export interface ClaimedSession {
  readonly handle: SessionHandle;
  /** There was a session, it had not ended, and no clean start: its state is what follows. */
  readonly present: boolean;
  readonly subscriptions: readonly StoredSubscription[];
  /** Offsets whose PUBREC came and whose PUBCOMP did not, ascending. */
  readonly halves: readonly Offset[];
}

export interface SessionLeaving {
  /** The session ends so long after now; 0: at once, 4,294,967,295: never. */
  readonly expirySeconds: number;
  /** Its will is not published: its client said goodbye, or was never answered. */
  readonly isInPeace: boolean;
}

export interface SessionChange {
  /** One with the filter of a stored one replaces it. */
  readonly subscribe: readonly StoredSubscription[];
  /** Filters as they were subscribed; those that are not there are passed over. */
  readonly unsubscribe: readonly string[];
}

/** A retained message on its way into the queue of the session. */
export interface ReplayedMessage {
  readonly message: Message;
  readonly origin: Origin;
  readonly step: Omit<ReplayStep, 'ownerEpoch'>;
}

/** Members of shares for one QoS 2 publish of the session. */
export interface ShareChoosing {
  readonly packetId: number;
  /** Each share once; up to 1,024. */
  readonly choices: readonly ShareChoice[];
  /** They take the place of what was chosen for the same shares, whose members are gone. */
  readonly isInstead: boolean;
}

/** Why a wish about a session was not done. Closed; each protocol maps every one. */
export const SESSION_REFUSALS = [
  /** Another owner has claimed it since, or it has ended. */
  'stale-owner',
  /** It is that of another user. */
  'other-user',
  /** The store failed, or nobody leads for `ack_timeout`; it may be done all the same. */
  'unavailable',
  /** A new session, and there are as many as configured. */
  'too-many-sessions',
  /** More subscriptions, or longer ones together, than a session may have. Nothing is changed. */
  'too-many-subscriptions',
  /** A client id that no session can have: empty, or not well-formed. */
  'invalid',
] as const;
export type SessionRefusal = (typeof SESSION_REFUSALS)[number];

export class SessionError extends Error {
  readonly code: SessionRefusal;

  constructor(code: SessionRefusal, message: string) {
    super(message);
    this.name = 'SessionError';
    this.code = code;
  }
}

/** Every promise rejects with a `SessionError`. */
export interface SessionStore {
  /** The name of the queue that the session of this client has, or would have. */
  queueNameOf(clientId: string): string;
  /**
   * The caller owns the session from then on; it is made where there is none. A former owner's
   * consumer is cancelled with `taken-over`, on whichever node.
   */
  claim(request: ClaimRequest): Promise<ClaimedSession>;
  /**
   * A client comes that wants no durable session: what is stored of it goes, and a former owner's
   * consumer is cancelled with `taken-over`. False: nothing was stored.
   */
  discard(clientId: string, user: string | undefined): Promise<boolean>;
  /**
   * Resolves when it is committed, and no node routes by what was before any more: a publish that
   * begins afterwards, anywhere, is for it.
   */
  change(handle: SessionHandle, change: SessionChange): Promise<void>;
  /**
   * A publish at QoS 2 has come that no queue takes: its key is kept until `QueueClient.release`.
   * `known`: it was there.
   */
  receive(handle: SessionHandle, packetId: number): Promise<'new' | 'known'>;
  /**
   * To which members of shares a publish at QoS 2 goes. What is said first for its packet id counts
   * until `QueueClient.release`, an empty list too; each later attempt is told that, and that it is
   * not new. `isInstead` is never new. The key is not taken: the publish may be stored behind it.
   * Where the publish is stored already, and nothing was said before, nothing counts.
   * `unavailable` where the session has too many under way.
   */
  choose(handle: SessionHandle, choosing: ShareChoosing): Promise<Chosen>;
  /** How far the replays of subscriptions are, and where they end. Idempotent. */
  moveReplays(handle: SessionHandle, replays: readonly SessionReplay[]): Promise<void>;
  /**
   * The outcome comes as that of an `enqueue` does, with the offset of the step as the tag.
   * `queue-full`: it may go later. `stale-owner`: not of this owner, or the replay is over.
   */
  replay(handle: SessionHandle, replayed: ReplayedMessage, waiter: EnqueueWaiter): void;
  /** PUBREC came: the message is settled, and its offset among the halves. Idempotent. */
  halve(handle: SessionHandle, offset: Offset): Promise<void>;
  /** PUBCOMP came: the offset is no half any more. Idempotent. */
  finish(handle: SessionHandle, offset: Offset): Promise<void>;
  /**
   * The connection is over, and the will due at once or after its delay, unless it is in peace.
   * Close the consumer first, with `returned`.
   */
  leave(handle: SessionHandle, leaving: SessionLeaving): Promise<void>;
  /**
   * From now on this node publishes wills that are due. Registers once; `publish` resolves with
   * true when the will has been published or is nobody's any more, with false when it is to be
   * tried again, and never rejects. The same will may come again, also on another node.
   */
  publishWills(publish: (will: DueWill) => Promise<boolean>): void;
  /**
   * To be called right after the claim, whatever the session subscribes to: one whose owner does
   * not consume for 30 s counts as left, and its end is counted until he does.
   *
   * The deliveries of the session's queue, oldest first; settle with `complete` (PUBACK) or
   * `discard`, which is the same here. Cancelled with `taken-over` when another owner comes, also
   * at once where the handle is of a former one; with `queue-deleted` when the session has ended.
   */
  consume(handle: SessionHandle, credit: number, sink: ConsumerSink): QueueConsumer;
}
