/**
 * What a client knows of its route to whoever leads the shard: the session that is under way, and
 * what of the client must survive its end.
 *
 * ```
 *   none ---(session)---> greeting ---(opened)---> open
 *    ^                        |                     |
 *    +-----(session 0)--------+---------------------+
 * ```
 *
 * Numbered commands are posted while it is open, all else from the greeting on. When a session
 * ends, nothing that was said in it is certain but what was answered. A client without a route has
 * one session for good, which is not told: it is open from the start, and nothing is kept.
 */

import { CLIENT_BATCH_HEADER_BYTES, writeClientBatchHeader } from './client-frames.ts';
import type { CloseHow, SettleFrame } from './client-frames.ts';
import { Retained } from './retained.ts';
import { Unworked } from './unworked.ts';
import { WireWriter } from './wire.ts';

/** Of batches for this node's own shard, whoever leads. */
export const LOCAL_SESSION = Number.MAX_SAFE_INTEGER;
const LOCAL_BYTES = 256;
/** The route hears at the latest after so many bytes that they are worked off. */
const FILLED_UNTOLD_MAX = 65_536;

/** What is asked for without an answer; the consumer is one of `consumers.ts`. */
export type Work =
  | {
      readonly kind: 'settle';
      readonly consumer: { readonly id: number };
      readonly settlement: Omit<SettleFrame, 'kind' | 'queueId' | 'groupId'>;
    }
  | { readonly kind: 'close'; readonly consumer: { readonly id: number }; readonly how: CloseHow }
  | { readonly kind: 'end'; readonly session: string };

export class ClientRoute {
  readonly isRouted: boolean;
  /** Requests to this node's own shard, and consumers that read from it and are closed. */
  readonly local = new WireWriter(LOCAL_BYTES);
  readonly unworked = new Unworked<Work>();
  readonly retained = new Retained();
  /** Who leads, as far as this node knows; '': nobody knows. */
  leader = '';
  /** Of what was read from it, worked off so far. */
  filledBytes = 0;
  #filledTold = 0;
  #readsHere = false;
  #session = 0;
  #isOpen: boolean;
  #batches = 0;

  constructor(isRouted: boolean) {
    this.isRouted = isRouted;
    this.#isOpen = !isRouted;
    this.local.reserve(CLIENT_BATCH_HEADER_BYTES);
  }

  /** 0: none, or there is no route. */
  get session(): number {
    return this.#session;
  }

  /** The replica of this node can be read, in this session. */
  get readsHere(): boolean {
    return this.#readsHere;
  }

  /** Somebody hears what is said. */
  get isReached(): boolean {
    return !this.isRouted || this.#session !== 0;
  }

  /** Numbered commands may go. */
  get isOpen(): boolean {
    return this.#isOpen;
  }

  begin(session: number, readsHere: boolean): void {
    this.#session = session;
    this.#readsHere = readsHere;
    this.#isOpen = !this.isRouted;
    this.#batches = 0;
  }

  opened(): void {
    this.#isOpen = true;
  }

  /** A batch was posted; `isAll`: everything that was said is in it, or in those before. */
  posted(isAll: boolean): void {
    if (!this.isRouted) return;
    this.#batches++;
    if (isAll) this.unworked.posted(this.#batches);
  }

  /** So much of what was read here is worked off that the route must hear it. */
  get isFilledUntold(): boolean {
    return this.filledBytes - this.#filledTold >= FILLED_UNTOLD_MAX;
  }

  get hasLocal(): boolean {
    return this.local.length > CLIENT_BATCH_HEADER_BYTES || this.isFilledUntold;
  }

  /** A batch of what is for this node alone. */
  takeLocal(): Uint8Array {
    const bytes = this.local.take();
    this.local.reserve(CLIENT_BATCH_HEADER_BYTES);
    const nothing = { boot: 0, firstNumber: 0, answeredUpTo: 0, takenBytes: this.filledBytes };
    this.#filledTold = this.filledBytes;
    const header = { ...nothing, commands: 0, commandBytes: 0, session: LOCAL_SESSION };
    writeClientBatchHeader(bytes, header);
    return bytes;
  }
}
