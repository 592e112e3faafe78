/**
 * When the client's batches go to the shard: those of numbered commands as the window allows, those
 * of control at the end of each turn. What the shard asked for (`busy`), and what it has to be told
 * in every batch, is kept here.
 */

import type { ShardClientLimits } from './client-options.ts';
import type { ClientRoute } from './client-route.ts';
import type { Outgoing, PostState } from './outgoing.ts';
import type { Pending } from './pending.ts';
import type { BatchPort } from './port.ts';

/** The shard hears at the latest after so many bytes that they are worked off. */
const TAKEN_UNTOLD_MAX = 65_536;

export interface PostingParts {
  readonly port: BatchPort;
  readonly limits: ShardClientLimits;
  readonly pending: Pending;
  readonly outgoing: Outgoing;
  readonly route: ClientRoute;
}

export class Posting {
  readonly #parts: PostingParts;
  /** Of the stream; 0: it is not opened. */
  boot = 0;
  /** The shard wants no numbered commands now. */
  busy = false;
  /** Of the shard's batches, in this session. */
  #takenBytes = 0;
  #takenTold = 0;
  #batchBytes = 0;
  #isAwaited = false;
  /** The last number of each batch that may be under way, ascending. */
  readonly #posted: number[] = [];

  constructor(parts: PostingParts) {
    this.#parts = parts;
  }

  /** So much is worked off, or something of which it waits, that the shard must hear it. */
  get isTakenUntold(): boolean {
    return this.#isAwaited || this.#takenBytes - this.#takenTold >= TAKEN_UNTOLD_MAX;
  }

  /** The shard waits to hear that the batch in hand is worked off. */
  awaited(): void {
    this.#isAwaited = true;
  }

  /** A batch came, and is about to be read. */
  taken(bytes: number): void {
    this.#batchBytes = bytes;
    this.#takenBytes += bytes;
  }

  /** It was this node's own word, which the shard does not count; its length, the first time. */
  takenHere(): number {
    const bytes = this.#batchBytes;
    this.#batchBytes = 0;
    this.#takenBytes -= bytes;
    return bytes;
  }

  /** Another shard thread, or the same one anew, is spoken to. */
  begin(): void {
    this.busy = false;
    this.#takenBytes = 0;
    this.#takenTold = 0;
  }

  /** Posts the batch of enqueues whose turn it is; false: there is none, or it must wait. */
  next(): boolean {
    const { outgoing, pending, limits, route, port } = this.#parts;
    const last = outgoing.nextLast;
    if (last === 0 || this.busy || !route.isOpen) return false;
    if (last - pending.answeredUpTo > limits.window) return false;
    if (!outgoing.nextIsFull && this.#underWay() >= limits.batchesUnderWay) return false;
    const bytesUnderWay = pending.bytes - outgoing.waitingCost;
    if (bytesUnderWay > 0 && bytesUnderWay + outgoing.nextBytes > limits.windowBytes) return false;
    const batch = outgoing.takeEnqueues(this.#state());
    if (batch === undefined) return false;
    this.#posted.push(last);
    if (route.isRouted) route.retained.keep(last, batch);
    port.post(batch);
    route.posted(!outgoing.hasControl);
    return true;
  }

  /** At the end of a turn: what is for this node alone, and control that no enqueues took along. */
  control(): void {
    const { outgoing, route, port } = this.#parts;
    if (route.hasLocal) port.post(route.takeLocal());
    const isUntold = outgoing.hasControl || this.isTakenUntold;
    if (!isUntold || !route.isReached) return;
    port.post(outgoing.takeControl(this.#state()));
    route.posted(true);
  }

  /** All that was posted before, and has no outcome. */
  again(): void {
    const { route, port } = this.#parts;
    for (const batch of route.retained.again(this.#state())) {
      port.post(batch);
      route.posted(false);
    }
  }

  /** Batches of enqueues that were posted and are not wholly answered. */
  #underWay(): number {
    const posted = this.#posted;
    const { answeredUpTo } = this.#parts.pending;
    while ((posted[0] ?? Infinity) <= answeredUpTo) posted.shift();
    return posted.length;
  }

  #state(): PostState {
    this.#takenTold = this.#takenBytes;
    this.#isAwaited = false;
    return {
      boot: this.boot,
      answeredUpTo: this.#parts.pending.answeredUpTo,
      takenBytes: this.#takenBytes,
      session: this.#parts.route.session,
    };
  }
}
