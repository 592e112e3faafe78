/**
 * What goes out to one peer on one channel: the frames that wait, and the stream that the peer
 * opened to receive them, if there is one.
 *
 * Nothing waits for a peer that is away: Raft sends again what counts, and a queue of old entries
 * would only be in the way of new ones. Frames of one callback of the loop leave as one batch, and
 * one batch is under way at a time: while the connection takes it the next ones gather, so that
 * what waits does so here, where it is bounded, and the bytes of a batch can be written over when
 * it was taken. A newer stream takes the place of an older one, which is ended.
 */

import type { OutFrame } from './batch.ts';
import { encodeBatch } from './batch.ts';
import { OutQueue, type QueueBounds } from './out-queue.ts';
import { ROOM_BYTES_KEPT, ROOM_BYTES_MIN } from './peer-limits.ts';
import type { OutStream } from './peer-stream.ts';

export interface SenderStats {
  frames: number;
  bytes: number;
  batches: number;
}

export class PeerSender {
  readonly stats: SenderStats = { frames: 0, bytes: 0, batches: 0 };
  readonly #queue: OutQueue;
  readonly #onRoom: () => void;
  #stream: OutStream | undefined;
  /** A batch of `#stream` that was not taken yet. */
  #isUnderWay = false;
  /** Of batches to `#stream`, used again and again. */
  #room = Buffer.alloc(0);
  #away = 0;
  /** Somebody was told that there is no room. */
  #wanted = false;

  constructor(bounds: QueueBounds, onRoom: () => void) {
    this.#queue = new OutQueue(bounds);
    this.#onRoom = onRoom;
  }

  get isConnected(): boolean {
    return this.#stream !== undefined;
  }

  /** Frames that were lost before they were handed over. */
  get dropped(): number {
    return this.#queue.dropped + this.#away;
  }

  get waitingBytes(): number {
    return this.#queue.bytes;
  }

  /** Once it has said no, `onRoom` is called when it would say yes. */
  get hasRoom(): boolean {
    const room = this.#stream !== undefined && this.#queue.hasRoom;
    if (!room) this.#wanted = true;
    return room;
  }

  /** False: it was dropped. It leaves with the next `sendWaiting`. */
  push(frame: OutFrame): boolean {
    if (this.#stream === undefined) this.#away += 1;
    else if (this.#queue.push(frame)) return true;
    this.#wanted = true;
    return false;
  }

  /** All of them, or none. */
  pushAll(frames: readonly OutFrame[]): boolean {
    if (this.#stream === undefined) this.#away += frames.length;
    else if (this.#queue.pushAll(frames)) return true;
    this.#wanted = true;
    return false;
  }

  /** Behind the callback that pushed, and whenever the connection takes more. */
  sendWaiting(): void {
    const stream = this.#stream;
    if (stream === undefined || this.#isUnderWay || this.#queue.length === 0) return;
    const frames = this.#queue.take();
    const batch = encodeBatch(frames, (bytes) => this.#roomFor(bytes));
    this.#isUnderWay = true;
    this.stats.frames += frames.length;
    this.stats.bytes += batch.length;
    this.stats.batches += 1;
    stream.write(batch, () => this.#taken(stream));
    this.#tellRoom();
  }

  attach(stream: OutStream): void {
    const older = this.#stream;
    this.detach(older);
    this.#stream = stream;
    older?.end();
    this.#tellRoom();
  }

  /** The stream is gone, and so is what waited for it. Harmless for one that was replaced. */
  detach(stream: OutStream | undefined): void {
    if (stream !== this.#stream) return;
    this.#stream = undefined;
    // The old stream may still hold bytes of it.
    this.#isUnderWay = false;
    this.#room = Buffer.alloc(0);
    this.#queue.clear();
  }

  #taken(stream: OutStream): void {
    if (stream !== this.#stream) return;
    this.#isUnderWay = false;
    this.sendWaiting();
  }

  #roomFor(bytes: number): Buffer {
    if (bytes > ROOM_BYTES_KEPT) return Buffer.allocUnsafeSlow(bytes);
    if (bytes > this.#room.length) {
      const doubled = Math.max(ROOM_BYTES_MIN, 2 * this.#room.length, bytes);
      this.#room = Buffer.allocUnsafeSlow(Math.min(doubled, ROOM_BYTES_KEPT));
    }
    return this.#room;
  }

  #tellRoom(): void {
    if (!this.#wanted || this.#stream === undefined || !this.#queue.hasRoom) return;
    this.#wanted = false;
    this.#onRoom();
  }
}
