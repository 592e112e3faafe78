/**
 * What goes out to one peer on one channel: the frames that wait, and the stream that the peer
 * opened to receive them, if there is one.
 *
 * Nothing waits for a peer that is away: Raft sends again what counts, and a queue of old entries
 * would only be in the way of new ones. Frames of one turn of the loop leave as one message of
 * gRPC. More is handed over only while the connection takes it, so that what waits does so here,
 * where it is bounded. A newer stream takes the place of an older one, which is ended.
 */

import type { OutFrame } from './batch.ts';
import { encodeBatch } from './batch.ts';
import { OutQueue, type QueueBounds } from './out-queue.ts';
import { UNDER_WAY_BYTES_MAX } from './peer-limits.ts';

/** The end of a stream that frames leave by. */
export interface OutStream {
  /** `taken`: the connection has it. Never calls back from within, and not after an end. */
  write(batch: Buffer, taken: () => void): void;
  end(): void;
}

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
  #underWay = 0;
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
    if (this.#stream === undefined) {
      this.#away += 1;
      this.#wanted = true;
      return false;
    }
    const taken = this.#queue.push(frame);
    if (!taken) this.#wanted = true;
    return taken;
  }

  /** At the end of a turn of the loop, and whenever the connection takes more. */
  sendWaiting(): void {
    const stream = this.#stream;
    while (stream !== undefined && stream === this.#stream && this.#queue.length > 0) {
      if (this.#underWay >= UNDER_WAY_BYTES_MAX) return;
      const frames = this.#queue.take();
      const batch = encodeBatch(frames);
      this.#underWay += batch.length;
      this.stats.frames += frames.length;
      this.stats.bytes += batch.length;
      this.stats.batches += 1;
      stream.write(batch, () => this.#taken(stream, batch.length));
    }
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
    this.#underWay = 0;
    this.#queue.clear();
  }

  #taken(stream: OutStream, bytes: number): void {
    if (stream !== this.#stream) return;
    this.#underWay -= bytes;
    this.sendWaiting();
  }

  #tellRoom(): void {
    if (!this.#wanted || this.#stream === undefined || !this.#queue.hasRoom) return;
    this.#wanted = false;
    this.#onRoom();
  }
}
