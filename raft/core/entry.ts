/**
 * Log entries (Raft 5.3). One entry carries a batch of commands, and is one batch of the storage.
 *
 * An entry is a value: neither the core nor a host changes one after it was made, and its payload
 * may be in a write, in messages to several peers and in the state machine at the same time.
 */

import type { Configuration } from './configuration.ts';
import type { LogIndex, Term } from './ids.ts';

/** `empty`: what a new leader appends so that it can commit (Raft 8, thesis 6.4). */
export type EntryKind = 'commands' | 'configuration' | 'empty';

export interface Entry {
  readonly index: LogIndex;
  readonly term: Term;
  readonly kind: EntryKind;
  /** The commands, encoded once by the leader; no bytes in the other kinds. */
  readonly payload: Uint8Array;
  /** In kind `configuration` alone. */
  readonly configuration: Configuration | undefined;
  /**
   * What the proposer wants to find again at `Ready.apply` on the same replica, such as the decoded
   * commands. Neither stored nor sent: undefined on every other replica, after a restart, and where
   * the state machine is so far behind that entries are fetched from the log.
   */
  readonly local: unknown;
}

/** What an entry counts beyond its payload, against bounds in bytes. */
export const ENTRY_OVERHEAD_BYTES = 64;
