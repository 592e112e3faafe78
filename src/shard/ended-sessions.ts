/**
 * Ends of sessions (of MQTT) on their way to the shard: each behind everything that was published
 * before it, because an end must not overtake what it ends.
 */

interface EndedSession {
  readonly session: string;
  readonly behind: number;
}

export class EndedSessions {
  #ended: EndedSession[] = [];

  get size(): number {
    return this.#ended.length;
  }

  /** `behind`: the number that was given last. */
  add(session: string, behind: number): void {
    this.#ended.push({ session, behind });
  }

  /** Those of which nothing is under way any more. */
  take(answeredUpTo: number): string[] {
    const first = this.#ended.findIndex(({ behind }) => behind > answeredUpTo);
    const count = first === -1 ? this.#ended.length : first;
    return this.#ended.splice(0, count).map(({ session }) => session);
  }
}
