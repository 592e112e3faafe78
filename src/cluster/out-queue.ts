/**
 * Frames that wait for one stream, bounded in number and in bytes. Pure.
 *
 * What happens above the bound depends on what the frames are. Of heartbeats, votes and
 * acknowledgements the newest counts: the oldest goes. Of entries each one is of use behind its
 * predecessor only: the new one is refused, and its sender sends again from where it knows the
 * other to be. Where nothing waits there is room, however large it is.
 */

import { FRAME_HEAD_BYTES, type OutFrame } from './batch.ts';
import { BATCH_BYTES, BATCH_FRAMES_MAX } from './peer-limits.ts';

export interface QueueBounds {
  readonly framesMax: number;
  readonly bytesMax: number;
  readonly whenFull: 'drop-oldest' | 'refuse';
}

export class OutQueue {
  readonly #bounds: QueueBounds;
  /** Those before `#first` are gone. */
  #frames: (OutFrame | undefined)[] = [];
  #first = 0;
  #bytes = 0;
  #dropped = 0;

  constructor(bounds: QueueBounds) {
    this.#bounds = bounds;
  }

  get length(): number {
    return this.#frames.length - this.#first;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Frames that were refused, dropped for newer ones, or cleared away. */
  get dropped(): number {
    return this.#dropped;
  }

  /** So little waits that more of it may be made. */
  get hasRoom(): boolean {
    const { framesMax, bytesMax } = this.#bounds;
    return this.length <= framesMax / 2 && this.#bytes <= bytesMax / 2;
  }

  /** False: it was refused. */
  push(frame: OutFrame): boolean {
    if (!this.#admits(1, costOf(frame))) return false;
    this.#frames.push(frame);
    this.#bytes += costOf(frame);
    return true;
  }

  /** All of them, or none. */
  pushAll(frames: readonly OutFrame[]): boolean {
    let cost = 0;
    for (const frame of frames) cost += costOf(frame);
    if (!this.#admits(frames.length, cost)) return false;
    this.#frames.push(...frames);
    this.#bytes += cost;
    return true;
  }

  /** The next ones in their order, as many as one batch takes; at least one if there is one. */
  take(): OutFrame[] {
    const taken: OutFrame[] = [];
    let bytes = 0;
    while (this.length > 0 && taken.length < BATCH_FRAMES_MAX) {
      const next = this.#frames[this.#first];
      if (next === undefined) throw new Error('a frame that waits is not there');
      if (taken.length > 0 && bytes + costOf(next) > BATCH_BYTES) break;
      bytes += costOf(next);
      taken.push(next);
      this.#shift();
    }
    return taken;
  }

  clear(): void {
    this.#dropped += this.length;
    this.#frames = [];
    this.#first = 0;
    this.#bytes = 0;
  }

  #admits(count: number, cost: number): boolean {
    const { framesMax, bytesMax, whenFull } = this.#bounds;
    while (this.length > 0 && (this.length + count > framesMax || this.#bytes + cost > bytesMax)) {
      this.#dropped += whenFull === 'refuse' ? count : 1;
      if (whenFull === 'refuse') return false;
      this.#shift();
    }
    return true;
  }

  #shift(): void {
    const frame = this.#frames[this.#first];
    if (frame === undefined) return;
    this.#frames[this.#first] = undefined;
    this.#first += 1;
    this.#bytes -= costOf(frame);
    if (this.#first === this.#frames.length || this.#first >= this.#bounds.framesMax) {
      this.#frames = this.#frames.slice(this.#first);
      this.#first = 0;
    }
  }
}

function costOf({ bytes }: OutFrame): number {
  return FRAME_HEAD_BYTES + bytes;
}
