/**
 * Changes of the subscriptions of a durable session on their way to its log: one after the other,
 * in the order in which they came to be known, each told when the log has it.
 *
 * A change whose outcome nobody knows ends the connection: the client comes again, and is told what
 * is true. How many wait is bounded by those who add them: a connection reads on only behind its
 * own, and so many SUBSCRIBEs may wait for queues.
 */

import {
  SessionError,
  type SessionChange,
  type SessionRefusal,
  type SessionStore,
} from '../../broker/ports.ts';
import type { Ending } from './context.ts';
import { Fifo } from './fifo.ts';
import { ownershipEnded } from './ownership-endings.ts';
import type { RetainedFeed } from './retained-feed.ts';
import type { ServerDisconnectReason } from './reason-codes.ts';
import type { Ownership } from './session.ts';

export interface SubscriptionChangesParts {
  readonly sessions: SessionStore;
  readonly owned: Ownership;
  readonly feed: RetainedFeed | undefined;
  readonly end: (ending: Ending<ServerDisconnectReason>) => void;
  /** Nothing waits any more. */
  readonly allDone: () => void;
}

interface Waiting {
  readonly change: SessionChange;
  /** False: the session has too many subscriptions, and nothing was changed. */
  readonly told: (isDone: boolean) => void;
}

export class SubscriptionChanges {
  readonly #parts: SubscriptionChangesParts;
  readonly #waiting = new Fifo<Waiting>();
  #isClosed = false;

  constructor(parts: SubscriptionChangesParts) {
    this.#parts = parts;
  }

  get isBusy(): boolean {
    return this.#waiting.length > 0;
  }

  /** `told` is called once, later; not at all when the connection ends before. */
  add(change: SessionChange, told: Waiting['told']): void {
    this.#waiting.push({ change, told });
    if (this.#waiting.length === 1) void this.#run();
  }

  close(): void {
    this.#isClosed = true;
    this.#waiting.clear();
  }

  async #run(): Promise<void> {
    const { sessions, owned, allDone } = this.#parts;
    for (let next = this.#waiting.peek(); next !== undefined; next = this.#waiting.peek()) {
      const refusal = await sessions
        .change(owned.handle, next.change)
        .then(() => this.#opened(next.change))
        .then(() => undefined, codeOf);
      if (this.#isClosed) return;
      if (refusal !== undefined && refusal !== 'too-many-subscriptions') {
        this.#end(refusal);
        return;
      }
      next.told(refusal === undefined);
      this.#waiting.shift();
    }
    if (!this.#isClosed) allDone();
  }

  /** Where the retained messages end that SUBSCRIBEs owe is in the log too, before SUBACK. */
  async #opened({ subscribe }: SessionChange): Promise<void> {
    const begun = subscribe.flatMap(({ filter, replay }) =>
      replay === undefined ? [] : [{ filter, ...replay }],
    );
    if (begun.length > 0) await this.#parts.feed?.open(begun);
  }

  #end(refusal: SessionRefusal): void {
    const { owned, end } = this.#parts;
    const reason = refusal === 'stale-owner' ? 'taken-over' : 'unavailable';
    if (reason === 'taken-over') owned.lost = reason;
    end(ownershipEnded(reason));
  }
}

function codeOf(error: unknown): SessionRefusal {
  if (error instanceof SessionError) return error.code;
  throw error;
}
