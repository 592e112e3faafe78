/**
 * The port through which the broker knows how current the directory of queues is, in a cluster:
 * other nodes subscribe durable sessions, and what this node was told of that may be old.
 *
 * A publish that somebody waits for is routed by the directory only while that is known to be
 * current (`docs/decisions/0035-fresh-routes.md`). Where it cannot be routed yet, whoever asked is
 * told when there is something new, and asks again.
 */

export interface QueueFreshness {
  /** A publish that waits longer, in milliseconds, is refused: some shard has no leader. */
  readonly timeoutMs: number;
  /** Monotonic milliseconds of this node; the zero means nothing. */
  now(): number;
  /**
   * Whether a publish that came at `cameMs` may be routed now, at `nowMs` (both of `now`). Cheap,
   * for the way of each publish. Asks those shards again of which half of the time is over, so
   * that it stays true under load, and so that somebody answers where it is false.
   */
  covers(cameMs: number, nowMs: number): boolean;
  /** Registers once: called when a shard has answered, or could not be asked; never in a call. */
  onAnswer(listener: () => void): void;
}
