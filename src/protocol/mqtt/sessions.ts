/**
 * The sessions of this node by client id: who owns one now, what of them waits here for its client,
 * when that ends.
 *
 * At most one connection owns a session. A new one takes it over: the old one is told and closed
 * first, and whatever that one does later touches nothing, because it is no longer the owner (P10).
 * A session that ends with its connection is here and nowhere else. One that outlives it is claimed
 * from the store first (`claims.ts`); without a connection, what of it is not in the log (retained
 * messages in memory on their way, QoS 2 publishes) waits here, if there is any, and goes on if
 * this node is the next owner too. A client id is a key of a map and nothing else (S5,
 * S11). A session is that of one user: nobody else takes it over, ends it, or gets what waits in
 * it.
 */

import {
  type Broker,
  type ClaimedSession,
  SessionError,
  type SessionLeaving,
  type Will,
} from '../../broker/ports.ts';
import type { Logger } from '../../telemetry/logger.ts';
import { type Claim, type ClaimRefusal, Claims, type ClaimWish } from './claims.ts';
import { type MqttOptions, NEVER_SECONDS } from './options.ts';
import { type HeldTotals, type Ownership, Session } from './session.ts';
import { restoredSubscription } from './stored-subscriptions.ts';
import type { Turn } from './turn.ts';

/** A connection as its session's owner. */
export interface SessionOwner {
  /**
   * Another connection has the client id now: tell the client, close, and detach during the call.
   */
  takenOver(): void;
}

export interface SessionsParts {
  readonly log: Logger;
  readonly turn: Turn;
}

/** Its expiry as granted. */
export interface AttachRequest extends ClaimWish {
  readonly user: string | undefined;
  /** The client said its id: something may be stored of it. */
  readonly isNamed: boolean;
}

export interface Attached {
  readonly session: Session;
  readonly present: boolean;
}

interface Entry {
  readonly session: Session;
  owner: SessionOwner | undefined;
  /** Another connection to this node owns the session, and sees to all that the log has of it. */
  isSucceeded: boolean;
  /** When it ends without a client; Infinity while it has one. */
  endsAtMs: number;
}

/** Subscriptions that end in one piece. */
const ENDED_AT_ONCE = 64;
/** Sessions of which some are left; further ones end in one piece, however long it is. */
const ENDING_MAX = 256;
/** Each waits for a leader as long as any wish does. */
const LEAVE_TRIES_MAX = 8;

export class Sessions {
  readonly totals: HeldTotals;
  readonly #broker: Broker;
  readonly #options: MqttOptions;
  readonly #log: Logger;
  readonly #claims: Claims;
  readonly #entries = new Map<string, Entry>();
  readonly #waiting = new Set<Entry>();
  readonly #turn: Turn;
  #ending = 0;

  constructor(broker: Broker, options: MqttOptions, { log, turn }: SessionsParts) {
    this.#broker = broker;
    this.#options = options;
    this.#log = log;
    this.#turn = turn;
    this.#claims = new Claims(broker, {
      maxMessages: options.maxQueuedMessages,
      maxBytes: options.maxQueuedBytes,
      overflow: options.overflow,
    });
    this.totals = { bytes: 0, maxBytes: options.maxTotalQueuedBytes, dropped: 0, expired: 0 };
  }

  get count(): number {
    return this.#entries.size;
  }

  /** What waits here of sessions without a connection. */
  get waiting(): number {
    return this.#waiting.size;
  }

  get connected(): number {
    return this.#entries.size - this.#waiting.size;
  }

  /** Those that end with their connection. Looks at all. */
  get clean(): number {
    let count = 0;
    for (const { session } of this.#entries.values()) if (session.owned === undefined) count++;
    return count;
  }

  /**
   * `answer` is called once, during the call where nothing has to be asked for. It may come when
   * the connection is gone: then that detaches at once.
   */
  attach(
    owner: SessionOwner,
    request: AttachRequest,
    answer: (attached: Attached | ClaimRefusal) => void,
  ): void {
    const { clientId, isNamed, expirySeconds } = request;
    const before = this.#entries.get(clientId);
    const user = before?.session.origin.user;
    if (user !== undefined && user !== request.user) {
      answer('other-user');
      return;
    }
    if (!isNamed && expirySeconds === 0) {
      answer(this.#attach(owner, request));
      return;
    }
    const answered = (claim: Claim): void => {
      if (typeof claim === 'string') answer(claim);
      else if (claim === undefined) answer(this.#attach(owner, request));
      else answer(this.#own(owner, request, claim));
    };
    this.#claims.claim(request, answered, (passed) => this.#passed(clientId, passed));
  }

  /** The session of a connection alone. */
  #attach(owner: SessionOwner, request: AttachRequest): Attached {
    const { clientId } = request;
    this.#entries.get(clientId)?.owner?.takenOver();
    // Its session may have ended with it.
    const found = this.#entries.get(clientId);
    if (found !== undefined) this.#end(found);
    const entry = this.#create(request);
    entry.owner = owner;
    return { session: entry.session, present: false };
  }

  #own(owner: SessionOwner, request: AttachRequest, claimed: ClaimedSession): Attached {
    const { clientId, expirySeconds } = request;
    const { handle, present } = claimed;
    const before = this.#entries.get(clientId);
    const isNext = before !== undefined && present && isNextOwner(before.session, claimed);
    if (before !== undefined) before.isSucceeded = true;
    before?.owner?.takenOver();
    const found = this.#entries.get(clientId);
    if (found !== undefined && !isNext) this.#end(found);
    const entry = (isNext ? found : undefined) ?? this.#create(request);
    this.#waiting.delete(entry);
    entry.owner = owner;
    entry.isSucceeded = false;
    entry.endsAtMs = Number.POSITIVE_INFINITY;
    const { session } = entry;
    session.expirySeconds = expirySeconds;
    const hasWill = request.will !== undefined;
    session.own({ handle, lost: undefined, hasWill }, claimed.halves);
    this.#restore(session, claimed);
    return { session, present };
  }

  #restore(session: Session, { subscriptions }: ClaimedSession): void {
    session.subscriptions.clear();
    session.owed = subscriptions.flatMap(({ filter, replay }) =>
      replay === undefined ? [] : [{ filter, ...replay }],
    );
    for (const stored of subscriptions) {
      const subscription = restoredSubscription(stored);
      if (subscription === undefined) continue;
      session.subscriptions.set(stored.filter, subscription);
      const { filter, wish } = subscription;
      if (wish === undefined) this.#broker.subscribe(session, filter, subscription);
    }
  }

  /** It was claimed here for a connection that is no more: what waits here may still go on. */
  #passed(clientId: string, claimed: ClaimedSession): void {
    const entry = this.#entries.get(clientId);
    if (entry === undefined || !claimed.present || !isNextOwner(entry.session, claimed)) return;
    const { handle } = claimed;
    entry.isSucceeded = true;
    entry.session.owned = { handle, lost: undefined, hasWill: false };
  }

  /**
   * The connection is over; `will` undefined: it has none, or took it back. That of a durable
   * session is the log's. Does nothing if another one owns the session by now.
   */
  detach(owner: SessionOwner, session: Session, will: Will | undefined): void {
    const entry = this.#entries.get(session.clientId);
    if (entry === undefined || entry.owner !== owner) return;
    entry.owner = undefined;
    session.channel = undefined;
    session.forgetDeliveries();
    const { expirySeconds, owned } = session;
    // Whoever took it may be claiming it here, and is not answered yet.
    const isHere = entry.isSucceeded || this.#claims.isUnderWay(session.clientId);
    const lost = isHere && owned?.lost === 'taken-over' ? undefined : owned?.lost;
    // An operator ended the session, and what the log had of it is gone.
    if (will !== undefined && (owned === undefined || owned.lost === 'ended')) {
      this.#broker.publishWill(will);
    }
    if (owned?.lost === undefined && owned !== undefined && !entry.isSucceeded) {
      void this.#leave(owned, { expirySeconds, isInPeace: will === undefined });
    }
    // Elsewhere it goes on with what the log has.
    if (expirySeconds === 0 || lost !== undefined) {
      this.#end(entry);
      return;
    }
    this.#unsubscribe(session);
    if (session.isInLog) {
      this.#forget(entry);
      return;
    }
    if (expirySeconds !== NEVER_SECONDS) {
      entry.endsAtMs = this.#broker.clock.now() + expirySeconds * 1000;
    }
    this.#waiting.add(entry);
  }

  /**
   * The store gives up by itself whoever leaves without a word, so nobody waits for this; but then
   * it takes the connection for lost, and the will for due.
   */
  async #leave({ handle, hasWill }: Ownership, leaving: SessionLeaving): Promise<void> {
    const tries = hasWill && leaving.isInPeace ? LEAVE_TRIES_MAX : 1;
    for (let left = tries; left > 0; left--) {
      try {
        await this.#broker.sessions.leave(handle, leaving);
        return;
      } catch (error) {
        if (!(error instanceof SessionError)) throw error;
        const fields = { client_id: handle.clientId, reason: error.message };
        this.#log.debug(fields, 'a session was not left in order');
        if (error.code !== 'unavailable') return;
      }
    }
  }

  /** Ends what waits here and whose time is over; the log ends the sessions themselves. */
  tick(): void {
    const now = this.#broker.clock.now();
    for (const entry of this.#waiting) {
      if (entry.endsAtMs <= now) this.#end(entry);
    }
  }

  #create({ clientId, user }: AttachRequest): Entry {
    const { maxQueuedMessages, maxQueuedBytes } = this.#options;
    const settings = { clientId, user, maxMessages: maxQueuedMessages, maxBytes: maxQueuedBytes };
    const session = new Session(settings, this.totals);
    const endsAtMs = Number.POSITIVE_INFINITY;
    const entry = { session, owner: undefined, isSucceeded: false, endsAtMs };
    this.#entries.set(clientId, entry);
    return entry;
  }

  #end(entry: Entry): void {
    const { session } = entry;
    if (session.subscriptions.size <= ENDED_AT_ONCE || this.#ending >= ENDING_MAX) {
      this.#unsubscribe(session);
    } else {
      this.#unsubscribeSoon(session);
    }
    session.passOn();
    this.#forget(entry);
  }

  /**
   * Shares at once, since what they bring is for another member; all else in turns to come: it has
   * no channel any more, so that what is still routed to it goes nowhere.
   */
  #unsubscribeSoon(session: Session): void {
    const left: string[] = [];
    for (const { filter, share, wish } of session.subscriptions.values()) {
      if (wish !== undefined) continue;
      if (share === undefined) left.push(filter);
      else this.#broker.unsubscribe(session, filter, share);
    }
    this.#ending++;
    this.#turn.goOn(() => {
      for (const filter of left.splice(-ENDED_AT_ONCE)) {
        this.#broker.unsubscribe(session, filter, undefined);
      }
      if (left.length > 0) return true;
      this.#ending--;
      return false;
    });
  }

  /** Nothing reaches it live any more. */
  #unsubscribe(session: Session): void {
    for (const { filter, share, wish } of session.subscriptions.values()) {
      if (wish === undefined) this.#broker.unsubscribe(session, filter, share);
    }
  }

  #forget(entry: Entry): void {
    this.#entries.delete(entry.session.clientId);
    this.#waiting.delete(entry);
    entry.session.discard();
  }
}

/** Nobody else owned it between the owner that left this here and the new one. */
function isNextOwner({ owned }: Session, { handle }: ClaimedSession): boolean {
  const before = owned?.handle;
  return before?.incarnation === handle.incarnation && before.ownerEpoch + 1 === handle.ownerEpoch;
}
