/**
 * Durable sessions, a part of the ports of the broker (`ports.ts`): what a frontend asks of the
 * sessions that outlive their connection, and their broker.
 *
 * A session is a queue of the type `session` with a record beside it; see
 * docs/decisions/0031-durable-sessions.md. Who claims it owns it, on whichever node: what a former
 * owner says later is refused with `stale-owner`. Every promise here crosses the log; it resolves
 * when what was asked for is committed, and rejects with a `SessionError` alone.
 */

import type { Overflow } from '../machine/definitions.ts';
import type { Offset, QueueId } from '../machine/ids.ts';
import type { ConsumerSink, QueueConsumer } from './consumer.ts';

/** A subscription with all that its client said; its key is the filter. */
export interface StoredSubscription {
  /** As the client wrote it, `$share/<name>/` included. 1 to 65,535 bytes. */
  readonly filter: string;
  readonly qos: 0 | 1 | 2;
  readonly noLocal: boolean;
  readonly retainAsPublished: boolean;
  readonly retainHandling: 0 | 1 | 2;
  /** MQTT subscription identifier; 0: none. To 268,435,455. */
  readonly identifier: number;
  /** What its client wants of a queue (`$queue/...`), in the frontend's words; '': nothing. */
  readonly wish: string;
}

/** The session as this owner has it. */
export interface SessionHandle {
  readonly clientId: string;
  readonly queueId: QueueId;
  /** Goes up with each claim. */
  readonly ownerEpoch: number;
}

/** The bounds of the session's queue: those of `QueueLimits` of the same names. */
export interface SessionLimits {
  readonly maxMessages: number;
  readonly maxBytes: number;
  readonly overflow: Overflow;
}

/** The session never ends by itself, as `sessionExpiryInterval` says it ([MQTT-3.1.2.11.2]). */
export const NEVER_EXPIRES = 0xffff_ffff;

export interface ClaimRequest {
  /** 1 to `mqtt.max_client_id_length` characters, well-formed. */
  readonly clientId: string;
  /** What was stored of it goes, whatever it is. */
  readonly cleanStart: boolean;
  /** How long it lives on without a connection; above 0, `NEVER_EXPIRES` for ever. */
  readonly expirySeconds: number;
  readonly limits: SessionLimits;
}

export interface ClaimedSession {
  readonly handle: SessionHandle;
  /** There was a session, it had not ended, and no clean start: its state is what follows. */
  readonly present: boolean;
  /** Names this life of the session in publish keys; another one after each clean start. */
  readonly incarnation: string;
  readonly subscriptions: readonly StoredSubscription[];
  /** Offsets whose PUBREC came and whose PUBCOMP did not, ascending. */
  readonly halves: readonly Offset[];
}

export interface SessionChange {
  /** One with the filter of a stored one replaces it. */
  readonly subscribe: readonly StoredSubscription[];
  /** Filters as they were subscribed; those that are not there are passed over. */
  readonly unsubscribe: readonly string[];
}

/** Why a wish about a session was not done. Closed; each protocol maps every one. */
export const SESSION_REFUSALS = [
  /** Another owner has claimed it since, or it has ended. */
  'stale-owner',
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
  /**
   * The caller owns the session from then on; it is made where there is none. A former owner's
   * consumer is cancelled with `taken-over`, on whichever node.
   */
  claim(request: ClaimRequest): Promise<ClaimedSession>;
  /**
   * A client comes that wants no durable session: what is stored of it goes, and a former owner's
   * consumer is cancelled with `taken-over`. False: nothing was stored.
   */
  discard(clientId: string): Promise<boolean>;
  /**
   * Resolves when it is committed and every node that is reached routes by it: a publish that
   * begins afterwards, anywhere, is for it.
   */
  change(handle: SessionHandle, change: SessionChange): Promise<void>;
  /** PUBREC came: the message is settled, and its offset among the halves. Idempotent. */
  halve(handle: SessionHandle, offset: Offset): Promise<void>;
  /** PUBCOMP came: the offset is no half any more. Idempotent. */
  finish(handle: SessionHandle, offset: Offset): Promise<void>;
  /**
   * The connection is over: the session ends so long after now; 0 at once, `NEVER_EXPIRES` never.
   * Close the consumer first, with `returned`.
   */
  leave(handle: SessionHandle, expirySeconds: number): Promise<void>;
  /**
   * The deliveries of the session's queue, oldest first; settle with `complete` (PUBACK) or
   * `discard`, which is the same here. Cancelled with `taken-over` when another owner comes, also
   * at once where the handle is of a former one; with `queue-deleted` when the session has ended.
   */
  consume(handle: SessionHandle, credit: number, sink: ConsumerSink): QueueConsumer;
}
