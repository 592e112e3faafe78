/**
 * How long a new leader holds its deliveries back: until every node has told what its consumers
 * hold from the leader before, and at most for a time, because a node that died tells nothing. So
 * what somebody still holds is not delivered to another one, and all else comes again in its order.
 *
 * On a node that is alone nobody can hold anything: every consumer was a client of this process.
 */

export class Grace {
  readonly #awaited: Set<string>;
  readonly #until: number;

  /** `until`: monotonic milliseconds. */
  constructor(nodes: Iterable<string>, until: number) {
    this.#awaited = new Set(nodes);
    this.#until = until;
  }

  /** Everything that this node's consumers hold is told. */
  claimed(node: string): void {
    this.#awaited.delete(node);
  }

  holdsBack(nowMs: number): boolean {
    return this.#awaited.size > 0 && nowMs < this.#until;
  }

  /** When it is over although nobody comes; Infinity: it is over. */
  nextWake(nowMs: number): number {
    return this.holdsBack(nowMs) ? this.#until : Number.POSITIVE_INFINITY;
  }
}
