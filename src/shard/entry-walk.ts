/**
 * Walks over the commands of one entry that put their messages into one queue, from a position that
 * the location index told. One walk serves any number of entries; nothing is allocated.
 */

import type { QueueId } from '../machine/ids.ts';
import { commandEnd, enqueuesTo, storedMessageStart } from './codec.ts';

export class EntryWalk {
  /** The part of the entry in which the walk stands. */
  bytes: Uint8Array = new Uint8Array(0);
  /** Of the command, in `bytes`. */
  #at = 0;
  #parts: readonly Uint8Array[] = [];
  #part = 0;
  #partStart = 0;

  /** Position in the entry of the command at which the walk stands. */
  get position(): number {
    return this.#partStart + this.#at;
  }

  /** The stored message of that command, in `bytes`. */
  get start(): number {
    return storedMessageStart(this.bytes, this.#at);
  }

  get end(): number {
    return commandEnd(this.bytes, this.#at);
  }

  /** Stands at the command at `position` of the entry. */
  begin(payload: readonly Uint8Array[], position: number): void {
    let part = 0;
    let partStart = 0;
    for (; ; part++) {
      const length = payload[part]?.length;
      if (length === undefined) throw new Error('the location index points behind its entry');
      if (position < partStart + length) break;
      partStart += length;
    }
    this.#parts = payload;
    this.#part = part;
    this.#partStart = partStart;
    this.bytes = payload[part] as Uint8Array;
    this.#at = position - partStart;
  }

  /** On to the first command, this one included, that enqueues to the queue, then `steps` more. */
  find(queueId: QueueId, steps: number): void {
    for (let left = steps; ; this.#next()) {
      if (!enqueuesTo(this.bytes, this.#at, queueId)) continue;
      if (left === 0) return;
      left--;
    }
  }

  /** On to the next command that enqueues to the queue. */
  next(queueId: QueueId): void {
    this.#next();
    this.find(queueId, 0);
  }

  #next(): void {
    this.#at = commandEnd(this.bytes, this.#at);
    if (this.#at < this.bytes.length) return;
    const following = this.#parts[this.#part + 1];
    if (following === undefined) throw new Error('the location index counts beyond its entry');
    this.#partStart += this.bytes.length;
    this.#part++;
    this.bytes = following;
    this.#at = 0;
  }
}
