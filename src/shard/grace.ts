/**
 * How long a new leader holds its deliveries back: until every node has told what its consumers
 * hold from the leader before, and at most for a time, because a node that died tells nothing. The
 * time begins when they can tell it, however long the leader takes to get ready. So what somebody
 * still holds is not delivered to another one, and all else comes again in its order.
 *
 * On a node that is alone nobody can hold anything: every consumer was a client of this process.
 */

export class Grace {
  readonly #awaited: Set<string>;
  #until = Number.POSITIVE_INFINITY;

  constructor(nodes: Iterable<string>) {
    this.#awaited = new Set(nodes);
  }

  /** From now on nodes can tell. `until`: monotonic milliseconds. */
  begin(until: number): void {
    this.#until = until;
  }

  /** Everything that this node's consumers hold is told. */
  claimed(node: string): void {
    this.#awaited.delete(node);
  }

  holdsBack(nowMs: number): boolean {
    if (nowMs >= this.#until) this.#awaited.clear();
    return this.#awaited.size > 0;
  }

  /**
   * When `holdsBack` is to be asked again although nobody comes; Infinity: it has said that the
   * grace is over. It may end behind the last question of a turn, and somebody waits for it.
   */
  get nextWake(): number {
    return this.#awaited.size > 0 ? this.#until : Number.POSITIVE_INFINITY;
  }
}
