/**
 * One stream to another node, as its two users see it: whoever sends on it, and whoever hears what
 * comes. Both sides have said their hello, and were checked, before there is one.
 */

import type { InFrame } from './batch.ts';
import type { Hello } from './hello.ts';

/** The end of a stream that frames leave by. */
export interface OutStream {
  /**
   * `taken`: the connection has it, and the bytes may be used again. Never calls back from within,
   * and not after an end.
   */
  write(batch: Buffer, taken: () => void): void;
  end(): void;
}

export interface PeerStream extends OutStream {
  /** Of the other node. */
  readonly hello: Hello;
}

export interface StreamListener {
  /** All of one batch. Throws a `PeerError` where it is not what may come; that ends the stream. */
  frames(frames: readonly InFrame[], bytes: number): void;
  /** Once: whatever was under way is lost. */
  ended(): void;
}

/** Takes a stream over; called when it is open. */
export type OnStream = (stream: PeerStream) => StreamListener;
