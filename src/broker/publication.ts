/**
 * A message on its way to live subscribers, or kept as a retained message.
 *
 * The payload may be a view of a receive buffer until somebody keeps it; then it is copied once,
 * for all.
 */

import { type Message, ownedMessage } from './message.ts';
import type { Origin, Publication } from './ports.ts';

export class LivePublication implements Publication {
  message: Message;
  readonly publishedAtMs: number;
  encoder: object | undefined = undefined;
  fanningOut = false;
  /** Of a retained message that is stored: its place in the queue; -1: it has none. */
  offset = -1;
  /** Of a retained message: who published it. */
  origin: Origin | undefined = undefined;
  #owned: boolean;

  constructor(message: Message, publishedAtMs: number, owned: boolean) {
    this.message = message;
    this.publishedAtMs = publishedAtMs;
    this.#owned = owned;
  }

  keep(): void {
    if (this.#owned) return;
    this.#owned = true;
    this.message = ownedMessage(this.message);
  }
}
