/**
 * What every protocol frontend is to the node that runs it, and what it gets from it besides the broker.
 */

export interface Frontend {
  /** Resolves when it accepts connections; rejects when the address cannot be had. */
  start(): Promise<void>;
  /** Tells the clients, hands back what consumers hold, and resolves when all connections are closed. */
  stop(): Promise<void>;
  /** Where it listens, with the port that the system chose for port 0; undefined before and after. */
  readonly address: { readonly host: string; readonly port: number } | undefined;
}

/** The logger as a frontend needs it: fields are plain values, never payloads and never secrets. */
export interface FrontendLog {
  debug(fields: Record<string, unknown>, message: string): void;
  info(fields: Record<string, unknown>, message: string): void;
  warn(fields: Record<string, unknown>, message: string): void;
}
