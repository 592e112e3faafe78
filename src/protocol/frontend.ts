/** What every protocol frontend is to the node that runs it. */

import type { Door } from './transport.ts';

export interface Frontend {
  /** Resolves when it accepts connections; rejects with a `DoorError`. */
  start(): Promise<void>;
  /**
   * Tells the clients, hands back what consumers hold, and resolves when all connections are
   * closed.
   */
  stop(): Promise<void>;
  /** Where clients come in: open between start and stop. */
  readonly doors: readonly Door[];
}
