/** What the listener for health and metrics is told, and what it may cost. */

export interface OpsOptions {
  readonly host: string;
  /** 0 lets the system choose. */
  readonly port: number;
  /** Further ones are closed at once. */
  readonly maxConnections: number;
  /** From accepting a connection, or from the answer before, to a whole request. */
  readonly requestTimeoutMs: number;
  /** Queues with series of their own; all others are one sum. */
  readonly maxQueues: number;
  /** Groups with series of their own; all others of a queue are one sum. */
  readonly maxGroups: number;
  /** A thread that has not turned for so long is not alive. */
  readonly liveWithinMs: number;
}
