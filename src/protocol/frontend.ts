/** What every protocol frontend is to the node that runs it. */

export interface Frontend {
  /** Resolves when it accepts connections; rejects when the address cannot be had. */
  start(): Promise<void>;
  /**
   * Tells the clients, hands back what consumers hold, and resolves when all connections are
   * closed.
   */
  stop(): Promise<void>;
  /**
   * Where it listens, with the port that the system chose for port 0; undefined before and after.
   */
  readonly address: { readonly host: string; readonly port: number } | undefined;
}
