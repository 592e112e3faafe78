/**
 * Committed entries on their way to the state machine (Raft figure 2 "All servers": if commitIndex
 * > lastApplied, apply).
 *
 * Invariant: applied <= applying <= commitIndex. In order, each once in the life of a replica, and
 * no more bytes ahead of the state machine than the limit. Nothing is handed out while a checkpoint
 * takes the place of what was applied.
 */

import { assert } from './assert.ts';
import { bytesOf } from './entry-log.ts';
import type { Entry } from './entry.ts';
import type { Fetches, PendingFetch } from './fetches.ts';
import type { LogIndex } from './ids.ts';
import type { Replica } from './replica.ts';

const NONE: readonly Entry[] = [];

interface HandedOut {
  readonly through: LogIndex;
  readonly bytes: number;
}

export class Applying {
  readonly #replica: Replica;
  readonly #fetches: Fetches;
  #applying: LogIndex;
  #handedOut: HandedOut[] = [];
  #bytes = 0;
  #fetchId = 0;
  /** A fetch failed: the next one waits for a tick. */
  #isWaiting = false;
  #fetched: readonly Entry[] = NONE;
  #isInstalling = false;

  constructor(replica: Replica, fetches: Fetches) {
    this.#replica = replica;
    this.#fetches = fetches;
    this.#applying = replica.applied;
  }

  /** Last entry that was handed out. */
  get applying(): LogIndex {
    return this.#applying;
  }

  get isIdle(): boolean {
    return this.#applying === this.#replica.applied;
  }

  get isInstalling(): boolean {
    return this.#isInstalling;
  }

  tick(): void {
    this.#isWaiting = false;
  }

  applied(index: LogIndex): void {
    assert(index <= this.#applying, 'only what was handed out is applied');
    const replica = this.#replica;
    if (this.#isInstalling || index <= replica.applied) return;
    replica.applied = index;
    while ((this.#handedOut[0]?.through ?? Infinity) <= index) {
      this.#bytes -= this.#handedOut.shift()?.bytes ?? 0;
    }
  }

  /** What may be applied now. */
  take(): readonly Entry[] {
    if (this.#replica.stateLost) return NONE;
    const { commitIndex, log, limits } = this.#replica;
    const room = limits.applyBytes - this.#bytes;
    if (this.#applying >= commitIndex || this.#isInstalling || room <= 0) return NONE;
    const from = this.#applying + 1;
    let entries = NONE;
    if (from >= log.memoryFirst) entries = log.slice(from, commitIndex, room);
    else if (this.#fetched[0]?.index === from) entries = this.#fetched;
    else this.#fetch(from, room);
    this.#fetched = NONE;
    if (entries.length > 0) this.#handOut(entries);
    return entries;
  }

  #handOut(entries: readonly Entry[]): void {
    const through = this.#applying + entries.length;
    const bytes = bytesOf(entries);
    this.#applying = through;
    this.#bytes += bytes;
    this.#handedOut.push({ through, bytes });
  }

  #fetch(from: LogIndex, maxBytes: number): void {
    if (this.#fetchId !== 0 || this.#isWaiting) return;
    const { id, log, commitIndex } = this.#replica;
    const through = Math.min(commitIndex, log.memoryFirst - 1);
    this.#fetchId = this.#fetches.ask({ reason: 'apply', to: id, from, through, maxBytes });
  }

  fetched({ id }: PendingFetch, entries: readonly Entry[]): void {
    if (id !== this.#fetchId) return;
    this.#fetchId = 0;
    this.#fetched = entries;
  }

  fetchFailed({ id }: PendingFetch): void {
    if (id !== this.#fetchId) return;
    this.#fetchId = 0;
    this.#isWaiting = true;
  }

  /** From here to `installed` a checkpoint takes the place of everything up to its index. */
  install(): void {
    this.#isInstalling = true;
    this.#fetchId = 0;
    this.#fetched = NONE;
  }

  installed(index: LogIndex): void {
    this.#isInstalling = false;
    this.#applying = index;
    this.#replica.applied = index;
    this.#replica.checkpoint = index;
    this.#replica.stateLost = false;
    this.#handedOut = [];
    this.#bytes = 0;
  }
}
