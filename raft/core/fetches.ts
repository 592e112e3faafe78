/**
 * Entries that are wanted from the log on the disk because they are not in memory any more: for
 * apply after a restart, for peers that are behind, for peers that repair theirs.
 *
 * A request that is answered late, twice or after its reason has gone is of no use and no harm:
 * what comes is looked at again by who asked.
 */

import { assert } from './assert.ts';
import type { ServerId } from './ids.ts';
import type { Fetch } from './ready.ts';

export interface PendingFetch extends Fetch {
  /** Who gets them; for apply: this server. */
  readonly to: ServerId;
}

const NONE: readonly Fetch[] = [];

export class Fetches {
  #lastId = 0;
  #pending: PendingFetch[] = [];
  #asked: Fetch[] = [];

  /** Number of the request. */
  ask(wanted: Omit<PendingFetch, 'id'>): number {
    this.#lastId += 1;
    const fetch = { id: this.#lastId, ...wanted };
    this.#pending.push(fetch);
    const { id, reason, from, through, maxBytes } = fetch;
    this.#asked.push({ id, reason, from, through, maxBytes });
    return id;
  }

  answered(id: number): PendingFetch {
    const found = this.#pending.find((fetch) => fetch.id === id);
    assert(found !== undefined, 'a fetch is answered once');
    this.#pending = this.#pending.filter((fetch) => fetch !== found);
    return found;
  }

  take(): readonly Fetch[] {
    if (this.#asked.length === 0) return NONE;
    const asked = this.#asked;
    this.#asked = [];
    return asked;
  }
}
