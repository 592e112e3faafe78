/**
 * The sessions of this node by client id: who owns one now, which wait for their client, when those
 * end.
 *
 * At most one connection owns a session. A new one takes it over: the old one is told and closed
 * first, and whatever that one does later touches nothing, because it is no longer the owner (P10).
 * A client id is a key of a map and nothing else (S5, S11). A session is that of one user: nobody
 * else takes it over, ends it, or gets what waits in it.
 */

import type { Broker, Will } from '../../broker/ports.ts';
import { type MqttOptions, NEVER_SECONDS } from './options.ts';
import { type HeldTotals, Session } from './session.ts';

/** A connection as its session's owner. */
export interface SessionOwner {
  /**
   * Another connection has the client id now: tell the client, close, and detach during the call.
   */
  takenOver(): void;
}

export interface AttachRequest {
  readonly clientId: string;
  readonly user: string | undefined;
  /** Whether a session may be resumed with the subscriptions that it has. */
  readonly mayResume: (session: Session) => boolean;
  readonly cleanStart: boolean;
  /** As granted. */
  readonly expirySeconds: number;
}

export interface Attached {
  readonly session: Session;
  readonly present: boolean;
}

/** How a connection left its session. */
export interface Leaving {
  /** Published if the session is not resumed in time; undefined after a clean end. */
  readonly will: Will | undefined;
  readonly willDelaySeconds: number;
}

interface Entry {
  readonly session: Session;
  owner: SessionOwner | undefined;
  /** When it ends without a client; Infinity while it has one. */
  endsAtMs: number;
}

export class Sessions {
  readonly totals: HeldTotals;
  readonly #broker: Broker;
  readonly #options: MqttOptions;
  readonly #entries = new Map<string, Entry>();
  readonly #waiting = new Set<Entry>();
  #durable = 0;

  constructor(broker: Broker, options: MqttOptions) {
    this.#broker = broker;
    this.#options = options;
    this.totals = { bytes: 0, maxBytes: options.maxTotalQueuedBytes, dropped: 0, expired: 0 };
  }

  get count(): number {
    return this.#entries.size;
  }

  /** Sessions without a connection. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** `full`: as many sessions are kept as may be. */
  attach(owner: SessionOwner, request: AttachRequest): Attached | 'full' | 'other-user' {
    const { clientId, expirySeconds } = request;
    const before = this.#entries.get(clientId);
    if (before !== undefined && before.session.origin.user !== request.user) return 'other-user';
    const durable = expirySeconds > 0;
    const others = this.#durable - (before?.session.durable === true ? 1 : 0);
    if (durable && others >= this.#options.maxSessions) return 'full';
    before?.owner?.takenOver();
    // Its session may have ended with it.
    const found = this.#entries.get(clientId);
    const resumed = found !== undefined && !request.cleanStart && request.mayResume(found.session);
    if (found !== undefined && !resumed) this.#end(found);
    const entry = resumed ? this.#resume(found, durable) : this.#create(request, durable);
    entry.owner = owner;
    entry.endsAtMs = Number.POSITIVE_INFINITY;
    entry.session.expirySeconds = expirySeconds;
    entry.session.ownerEpoch++;
    return { session: entry.session, present: resumed };
  }

  /** The connection is over. Does nothing if another one owns the session by now. */
  detach(owner: SessionOwner, session: Session, leaving: Leaving): void {
    const entry = this.#entries.get(session.clientId);
    if (entry === undefined || entry.owner !== owner) return;
    entry.owner = undefined;
    session.channel = undefined;
    session.forgetDeliveries();
    this.#broker.setConnected(session, false);
    const { expirySeconds } = session;
    if (leaving.will !== undefined) {
      // Whichever comes first, the delay or the end of the session (MQTT 5.0 section 3.1.3.2.2).
      const delaySeconds = Math.min(leaving.willDelaySeconds, expirySeconds);
      this.#broker.willAfter(leaving.will, delaySeconds * 1000);
    }
    if (expirySeconds === 0) {
      this.#end(entry);
      return;
    }
    session.passOn('connected');
    if (expirySeconds !== NEVER_SECONDS) {
      entry.endsAtMs = this.#broker.clock.now() + expirySeconds * 1000;
    }
    this.#waiting.add(entry);
  }

  /** Ends the sessions whose time is over. */
  tick(): void {
    const now = this.#broker.clock.now();
    for (const entry of this.#waiting) {
      if (entry.endsAtMs <= now) this.#end(entry);
    }
  }

  /** The process ends, and all sessions with it: the log need not know their publishes any more. */
  forgetKeys(): void {
    for (const { session } of this.#entries.values()) {
      if (session.incarnation !== undefined) this.#broker.endSession(session.incarnation);
    }
  }

  #create({ clientId, user }: AttachRequest, durable: boolean): Entry {
    const { maxQueuedMessages, maxQueuedBytes } = this.#options;
    const settings = {
      clientId,
      user,
      durable,
      maxMessages: maxQueuedMessages,
      maxBytes: maxQueuedBytes,
    };
    const session = new Session(settings, this.totals);
    const entry = { session, owner: undefined, endsAtMs: Number.POSITIVE_INFINITY };
    this.#entries.set(clientId, entry);
    if (durable) this.#durable++;
    return entry;
  }

  #resume(entry: Entry, durable: boolean): Entry {
    this.#waiting.delete(entry);
    this.#broker.setConnected(entry.session, true);
    this.#broker.cancelWill(entry.session.clientId);
    if (entry.session.durable !== durable) {
      // It was kept until now, and ends with this connection.
      entry.session.durable = durable;
      this.#durable += durable ? 1 : -1;
    }
    return entry;
  }

  #end(entry: Entry): void {
    const { session } = entry;
    this.#entries.delete(session.clientId);
    this.#waiting.delete(entry);
    if (session.durable) this.#durable--;
    for (const { filter, share } of session.subscriptions.values()) {
      this.#broker.unsubscribe(session, filter, share);
    }
    session.passOn('all');
    if (session.incarnation !== undefined) this.#broker.endSession(session.incarnation);
    session.discard();
    this.#broker.publishWill(session.clientId);
  }
}
