/**
 * Those who are not read because they were too fast: looked at in short steps by one timer, which
 * runs only while there are some.
 */

/** How long one is held beyond its time, at most. */
const STEP_MS = 20;

export interface HeldMember {
  /** Goes on if it may by now, and then leaves. */
  look(now: number): void;
}

export class Held {
  readonly #clock: { now(): number };
  readonly #waiting = new Set<HeldMember>();
  #timer: NodeJS.Timeout | undefined;

  constructor(clock: { now(): number }) {
    this.#clock = clock;
  }

  add(member: HeldMember): void {
    this.#waiting.add(member);
    this.#timer ??= setInterval(() => this.#look(), STEP_MS);
  }

  delete(member: HeldMember): void {
    if (!this.#waiting.delete(member) || this.#waiting.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #look(): void {
    const now = this.#clock.now();
    // One that goes on may be too fast again at once: it is looked at once more, and stays.
    for (const member of this.#waiting) member.look(now);
  }
}
