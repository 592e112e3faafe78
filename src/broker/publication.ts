/**
 * A message on its way to live subscribers, or kept as a retained message.
 *
 * The payload may be a view of a receive buffer until somebody keeps it; then it is copied once,
 * for all.
 */

import { type Message, ownedMessage } from './message.ts';
import type { Origin, Publication } from './ports.ts';

export interface PublishedFrom {
  readonly origin: Origin | undefined;
  /** Its bytes are its own already. */
  readonly owned: boolean;
}

export class LivePublication implements Publication {
  message: Message;
  readonly publishedAtMs: number;
  encoder: object | undefined = undefined;
  fanningOut = false;
  /** Undefined: the broker itself. */
  readonly origin: Origin | undefined;
  #owned: boolean;

  constructor(message: Message, publishedAtMs: number, from: PublishedFrom) {
    this.message = message;
    this.publishedAtMs = publishedAtMs;
    this.origin = from.origin;
    this.#owned = from.owned;
  }

  keep(): void {
    if (this.#owned) return;
    this.#owned = true;
    this.message = ownedMessage(this.message);
  }
}
