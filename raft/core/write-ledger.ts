/**
 * Writes that were handed out and are not yet told durable, in their order.
 *
 * A completion says "the write with this token is done", not "these entries are stable": what a
 * write carried may have been overwritten since. So every truncation lowers what the writes under
 * way still stand for, and a late completion cannot make the entries that took their place durable
 * (the ABA case).
 */

import { assert } from './assert.ts';
import type { Entry } from './entry.ts';
import type { LogIndex } from './ids.ts';
import type { Installed } from './ready.ts';

export interface Write {
  readonly token: number;
  /** Entries up to here are durable with it. */
  through: LogIndex;
  readonly hardState: boolean;
  readonly snapshot: Installed | undefined;
  readonly repaired: readonly Entry[];
  /** When it was handed out. */
  readonly tick: number;
}

export class WriteLedger {
  #token = 0;
  #completed = 0;
  readonly #writes: Write[] = [];

  get size(): number {
    return this.#writes.length;
  }

  /** Tick at which the oldest unfinished write was handed out. */
  get oldestTick(): number | undefined {
    return this.#writes[0]?.tick;
  }

  /** The token of the next write. */
  get nextToken(): number {
    return this.#token + 1;
  }

  submit(write: Write): void {
    assert(write.token === this.#token + 1, 'tokens ascend by one');
    this.#token = write.token;
    this.#writes.push(write);
  }

  /** The next one that `token` speaks for; call until there is none. */
  complete(token: number): Write | undefined {
    assert(Number.isSafeInteger(token) && token <= this.#token, 'a token is told that was given');
    const oldest = this.#writes[0];
    if (oldest === undefined || oldest.token > token) return undefined;
    this.#completed = oldest.token;
    this.#writes.shift();
    return oldest;
  }

  get completed(): number {
    return this.#completed;
  }

  /** Entries above `lastKept` are not what these writes carried any more. */
  truncateSuffix(lastKept: LogIndex): void {
    for (const write of this.#writes) {
      if (write.through > lastKept) write.through = lastKept;
    }
  }
}
