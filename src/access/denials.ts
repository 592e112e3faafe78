/**
 * What was denied: counted, each, and told in the log as far as a log goes. A client that asks a
 * thousand times a second for what it may not have must not fill a disk with it.
 */

import type { Logger } from '../telemetry/logger.ts';
import { ACTIONS, type Action } from './rules.ts';

/** Plain numbers, copied by whoever shows them. */
export interface AccessCounters {
  /** Clients that were not let in. */
  badCredentials: number;
  notAuthorized: number;
  busy: number;
  /** By action. */
  readonly denied: Record<Action, number>;
  /** Retained messages and wills of publishers who may not publish them any more. */
  withheld: number;
}

const LINES_A_WINDOW = 20;
const WINDOW_MS = 10_000;
const TOPIC_SHOWN_MAX = 200;

export interface Denial {
  readonly action: Action;
  readonly topic: string;
  readonly user: string | undefined;
  readonly clientId: string;
}

export class Denials {
  readonly counters: AccessCounters = {
    badCredentials: 0,
    notAuthorized: 0,
    busy: 0,
    denied: Object.fromEntries(ACTIONS.map((action) => [action, 0])) as Record<Action, number>,
    withheld: 0,
  };
  readonly #log: Logger;
  readonly #now: () => number;
  #windowEndsAt = Number.NEGATIVE_INFINITY;
  #told = 0;
  #untold = 0;

  constructor(log: Logger, now: () => number) {
    this.#log = log;
    this.#now = now;
  }

  denied({ action, topic, user, clientId }: Denial): void {
    this.counters.denied[action]++;
    const now = this.#now();
    if (now >= this.#windowEndsAt) {
      if (this.#untold > 0) {
        this.#log.warn({ denials: this.#untold }, 'more was denied than is told one by one');
      }
      this.#windowEndsAt = now + WINDOW_MS;
      this.#told = 0;
      this.#untold = 0;
    }
    if (this.#told >= LINES_A_WINDOW) {
      this.#untold++;
      return;
    }
    this.#told++;
    const shown = topic.slice(0, TOPIC_SHOWN_MAX);
    this.#log.warn({ client_id: clientId, user, action, topic: shown }, 'denied');
  }
}
