/** A checkpoint as a simulated replica stores it: where it stands, and the state there. */

import type { ConfigurationAt } from '../raft.ts';
import { EMPTY_STATE } from './state-machine.ts';
import type { MachineState } from './state-machine.ts';

export interface StoredCheckpoint {
  readonly index: number;
  readonly term: number;
  /** In use at `index`. */
  readonly configuration: ConfigurationAt;
  readonly state: MachineState;
}

/** Of a replica that has nothing yet. */
export function emptyCheckpoint(configuration: ConfigurationAt): StoredCheckpoint {
  return { index: 0, term: 0, configuration, state: EMPTY_STATE };
}
