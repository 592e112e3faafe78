/**
 * Answers to what a host asks for. A refusal is a value with a closed code: nothing was changed,
 * and the code says what to do. What was accepted may still be lost with the leadership: only
 * `Ready.apply`, with the same index and term, proves that it is committed.
 */

import type { LogIndex, ServerId, Term } from './ids.ts';

export const PROPOSE_REFUSALS = [
  /** Ask `leader`, where it is known. */
  'not-leader',
  /** Leadership is being transferred: hold it, then forward it or propose it again. */
  'transferring',
  /** Too many bytes are proposed and not committed. */
  'busy',
  'too-large',
  /** A write failed: this replica does nothing any more. */
  'stopped',
] as const;
export type ProposeRefusal = (typeof PROPOSE_REFUSALS)[number];

export type Proposed =
  | { readonly kind: 'accepted'; readonly index: LogIndex; readonly term: Term }
  | {
      readonly kind: 'refused';
      readonly code: ProposeRefusal;
      readonly leader: ServerId | undefined;
    };

export const CHANGE_REFUSALS = [
  'not-leader',
  'transferring',
  'stopped',
  /** Nothing of this term is committed yet: ask again soon (thesis 4.1, correction of 2015). */
  'not-ready',
  /** Another change is not committed yet. */
  'pending',
  'already-member',
  /** It was given up in a rescue: what it knows is of another history. */
  'given-up',
  'not-member',
  'not-learner',
  'not-voter',
  /** The learner is too far behind to become a voter. */
  'not-caught-up',
  /** The last voter cannot go. */
  'last-voter',
] as const;
export type ChangeRefusal = (typeof CHANGE_REFUSALS)[number];

export type Changed =
  | { readonly kind: 'accepted'; readonly index: LogIndex; readonly term: Term }
  | {
      readonly kind: 'refused';
      readonly code: ChangeRefusal;
      readonly leader: ServerId | undefined;
    };

export const RESCUE_REFUSALS = [
  'stopped',
  'not-voter',
  /** Somebody leads, so nothing is to be rescued. */
  'has-leader',
  /** Its own log or state is damaged: it has not what it would go on with. */
  'damaged',
  /** It has not listened to the others for long enough: ask again. */
  'listening',
  /** A majority of the voters is heard. */
  'quorum',
  /** Another voter that is heard has more, or may have. */
  'shorter-log',
  /** Nobody else is a member: there is nobody to go on without. */
  'alone',
] as const;
export type RescueRefusal = (typeof RESCUE_REFUSALS)[number];

export type Rescued =
  | { readonly kind: 'accepted'; readonly index: LogIndex; readonly term: Term }
  | { readonly kind: 'refused'; readonly code: RescueRefusal };

export const TRANSFER_REFUSALS = [
  'not-leader',
  'stopped',
  /** Another transfer is under way. */
  'transferring',
  'already-leader',
  'not-voter',
] as const;
export type TransferRefusal = (typeof TRANSFER_REFUSALS)[number];

export type Transferred =
  | { readonly kind: 'started' }
  | { readonly kind: 'refused'; readonly code: TransferRefusal };

export const INSTALL_REFUSALS = [
  'stopped',
  /** What it has is as new. */
  'stale',
  /** It knows another server under this one's name (`founding.ts`). */
  'stranger',
  /** Another one is being made durable. */
  'installing',
  /** Entries are being applied: wait for `applied`, then ask again. */
  'applying',
] as const;
export type InstallRefusal = (typeof INSTALL_REFUSALS)[number];

export type InstallOutcome =
  | { readonly kind: 'accepted' }
  | { readonly kind: 'refused'; readonly code: InstallRefusal };
