/**
 * A message on its way to live subscribers, or kept as a retained message.
 *
 * The payload may be a view of a receive buffer until somebody keeps it; then it is copied once,
 * for all.
 */

import { type Message, ownedMessage } from './message.ts';
import type { Publication } from './ports.ts';

export class LivePublication implements Publication {
  message: Message;
  readonly publishedAtMs: number;
  encoder: object | undefined = undefined;
  fanningOut = false;
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
