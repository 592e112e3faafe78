/**
 * Messages on their way out. While term or vote are not durable, everything that speaks for them
 * waits: a vote or an acknowledgement must not leave before what it promises is on the disk (Raft
 * figure 2: "updated on stable storage before responding to RPCs").
 *
 * A message that waited while its term passed is dropped: nobody may count on it any more, and a
 * lost message is something that every peer can bear. A pre-vote promises nothing and never waits.
 */

import type { Term } from './ids.ts';
import type { Message } from './message.ts';

const NONE: readonly Message[] = [];

export class Outbox {
  #sends: Message[] = [];
  #held: Message[] = [];
  #holding = false;

  /** From here on until `release`, messages wait. */
  hold(): void {
    this.#holding = true;
  }

  send(message: Message): void {
    if (this.#holding) this.#held.push(message);
    else this.#sends.push(message);
  }

  /** For what promises nothing. */
  sendUnheld(message: Message): void {
    this.#sends.push(message);
  }

  /** Term and vote are durable. */
  release(term: Term): void {
    this.#holding = false;
    for (const message of this.#held) if (message.term === term) this.#sends.push(message);
    this.#held = [];
  }

  /** The replica has stopped: what waits is never sent. */
  dropHeld(): void {
    this.#held = [];
  }

  take(): readonly Message[] {
    if (this.#sends.length === 0) return NONE;
    const sends = this.#sends;
    this.#sends = [];
    return sends;
  }
}
