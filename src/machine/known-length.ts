/**
 * What is remembered of a queue's length, so that most messages need no look at its groups: how
 * many messages the longest group has at most, and how many bytes are at least behind all of them.
 *
 * Both err to the side of a look that was not necessary. They stay true while messages come and
 * are settled: floors of a classic queue only rise, and so do the bytes below them, mark by mark.
 * Whatever else happens to groups or limits forgets them. Not part of the state: it decides what
 * is looked at, and never what comes of it.
 */

export class KnownLength {
  /** Never too low; -1: not known. */
  #messages = -1;
  /** Stored bytes below the lowest floor, never too high; -1: not known. */
  #bytesBelow = -1;

  forget(): void {
    this.#messages = -1;
    this.#bytesBelow = -1;
  }

  /** `bytesBelow` is -1 where nobody has asked for it. */
  measured(messages: number, bytesBelow: number): void {
    this.#messages = messages;
    if (bytesBelow !== -1) this.#bytesBelow = bytesBelow;
  }

  /** A message came. */
  grew(): void {
    if (this.#messages !== -1) this.#messages += 1;
  }

  mayHaveMessages(bound: number): boolean {
    return this.#messages === -1 || this.#messages >= bound;
  }

  /** `enqueued` are the bytes of all that ever came. */
  mayHaveMoreBytes(bound: number, enqueued: number): boolean {
    return this.#bytesBelow === -1 || enqueued - this.#bytesBelow > bound;
  }
}
