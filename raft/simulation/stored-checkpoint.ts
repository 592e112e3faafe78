/** A checkpoint as a simulated replica stores it: where it stands, and the ledger there. */

import type { ConfigurationAt } from '../raft.ts';
import type { LedgerState } from './ledger.ts';

export interface StoredCheckpoint {
  readonly index: number;
  readonly term: number;
  /** In use at `index`. */
  readonly configuration: ConfigurationAt;
  readonly ledger: LedgerState;
}

/** Of a replica that has nothing yet. */
export function emptyCheckpoint(configuration: ConfigurationAt): StoredCheckpoint {
  const ledger = { applied: 0, digest: 0, last: [], history: [] };
  return { index: 0, term: 0, configuration, ledger };
}
