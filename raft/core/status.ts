/**
 * What a replica tells about itself: for operators, metrics and checks, never for decisions. It is
 * a copy: nothing in it changes later.
 */

import type { ConfigurationAt } from './configuration.ts';
import type { LogIndex, ServerId, Term } from './ids.ts';
import type { FaultyRange } from './options.ts';
import type { Role } from './ready.ts';
import type { Survivor } from './survivors.ts';

/** `catchUp`: it needs a checkpoint, and gets one outside the core. */
export type ProgressState = 'probe' | 'replicate' | 'catchUp';

export interface PeerStatus {
  readonly id: ServerId;
  readonly state: ProgressState;
  readonly session: number;
  readonly matchIndex: LogIndex;
  readonly nextIndex: LogIndex;
  readonly inFlightMessages: number;
  readonly inFlightBytes: number;
  /** Heard from within the shortest election time-out. */
  readonly active: boolean;
  readonly inReserve: boolean;
  /** Near enough to become a voter. */
  readonly caughtUp: boolean;
}

/** The part that costs nothing to ask for after every event. */
export interface Cursors {
  readonly role: Role;
  readonly term: Term;
  readonly vote: ServerId | undefined;
  readonly configuration: ConfigurationAt;
  readonly start: LogIndex;
  /** accepted >= submitted >= durable. */
  readonly accepted: LogIndex;
  readonly durable: LogIndex;
  readonly commitIndex: LogIndex;
  readonly faulty: readonly FaultyRange[];
}

export interface Status extends Cursors {
  readonly id: ServerId;
  readonly leader: ServerId | undefined;
  /** Of the last entry that is accepted. */
  readonly lastTerm: Term;
  readonly submitted: LogIndex;
  /** Handed out by `Ready.apply`. */
  readonly applying: LogIndex;
  readonly applied: LogIndex;
  readonly uncommittedBytes: number;
  readonly tailEntries: number;
  readonly tailBytes: number;
  readonly pendingReads: number;
  readonly transferTo: ServerId | undefined;
  /** See `HardState.tailLost`. */
  readonly tailLost: boolean;
  /** See `Recovered.stateLost`. */
  readonly stateLost: boolean;
  /** Voters that it hears while nobody leads. */
  readonly survivors: readonly Survivor[];
  /** Of a leader; sorted by id, without itself. */
  readonly peers: readonly PeerStatus[];
}
