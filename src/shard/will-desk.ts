/**
 * The wills that are due in a shard that this node leads, and the nodes that take them to publish
 * them: one request of each node waits here (`take-wills`), the one that came first is served
 * first.
 *
 * What becomes due because a node said that its client is gone is its own: that node has the
 * client's neighbours, and hears of it in the answer.
 *
 * Soft state of the leader, and bounded: what is not kept here, or was taken by a node that is
 * gone, is told of again by its timer (`machine/session-will.ts`) until somebody has published it.
 */

import type { RareEffect } from '../machine/effect.ts';
import type { QueueId } from '../machine/ids.ts';
import type { DueWillBytes } from './will-requests.ts';

/** Bytes that are kept for takers, each will counted with `OVERHEAD_BYTES` more. */
const KEPT_BYTES_MAX = 8 << 20;
const OVERHEAD_BYTES = 256;
/** Of one answer; one is given, however large it is. */
const PART_BYTES_ABOUT = 1 << 18;
const PART_MAX = 256;
/** Nodes that wait; of more the oldest is told that there is nothing, and asks again. */
const TAKERS_MAX = 64;

interface Taker {
  /** Its session with this leader is over. */
  readonly isGone: () => boolean;
  readonly resolve: (wills: readonly DueWillBytes[]) => void;
  readonly reject: (error: Error) => void;
}

export class WillDesk {
  readonly #wake: () => void;
  readonly #due: DueWillBytes[] = [];
  #bytes = 0;
  #takers: Taker[] = [];
  /** Sessions that are being left, and what becomes due with that. */
  readonly #leaving = new Map<QueueId, DueWillBytes[]>();

  /** `wake`: `look` is to be called. */
  constructor(wake: () => void) {
    this.#wake = wake;
  }

  /** There is work for `look`. */
  get isWanted(): boolean {
    return this.#due.length > 0 && this.#takers.length > 0;
  }

  take(isGone: () => boolean): Promise<readonly DueWillBytes[]> {
    this.#forgetGone();
    if (this.#takers.length >= TAKERS_MAX) this.#takers.shift()?.resolve([]);
    return new Promise((resolve, reject) => {
      this.#takers.push({ isGone, resolve, reject });
      if (this.isWanted) this.#wake();
    });
  }

  /** What `left` makes due goes to whoever asked for it. */
  async ofLeaving(queueId: QueueId, left: Promise<unknown>): Promise<readonly DueWillBytes[]> {
    const own: DueWillBytes[] = [];
    this.#leaving.set(queueId, own);
    try {
      await left;
      return own;
    } finally {
      if (this.#leaving.get(queueId) === own) this.#leaving.delete(queueId);
    }
  }

  /** Gives to those who wait. */
  look(): void {
    if (this.#due.length > 0) this.#forgetGone();
    while (this.isWanted) this.#takers.shift()?.resolve(this.#part());
  }

  /** What apply did. */
  rare(effect: RareEffect): void {
    if (effect.kind !== 'session-will') return;
    const { queueId, number, message } = effect;
    const will = { queueId, number, message };
    const own = this.#leaving.get(queueId);
    if (own !== undefined) {
      own.push(will);
      return;
    }
    const bytes = message.length + OVERHEAD_BYTES;
    if (this.#bytes + bytes > KEPT_BYTES_MAX) return;
    this.#due.push(will);
    this.#bytes += bytes;
    if (this.isWanted) this.#wake();
  }

  /** This node leads no more, or nothing works any more. */
  fail(error: Error): void {
    for (const { reject } of this.#takers.splice(0)) reject(error);
  }

  /** Nobody would publish what they are given. */
  #forgetGone(): void {
    this.#takers = this.#takers.filter(({ isGone, resolve }) => {
      if (isGone()) resolve([]);
      return !isGone();
    });
  }

  #part(): readonly DueWillBytes[] {
    let bytes = 0;
    let count = 0;
    for (const { message } of this.#due) {
      if (count > 0 && (count === PART_MAX || bytes + message.length > PART_BYTES_ABOUT)) break;
      bytes += message.length;
      count++;
    }
    const part = this.#due.splice(0, count);
    this.#bytes -= bytes + count * OVERHEAD_BYTES;
    return part;
  }
}
