/**
 * A cluster configuration: who is a member, and in which role (thesis 4.1, 4.2.1).
 *
 * A value, never changed. Members are sorted by id, so that two replicas that hold the same
 * configuration hold it in the same order. Only voters count for elections and commitment.
 */

import type { LogIndex, ServerId, Term } from './ids.ts';

/** `joining` is a learner that the leader makes a voter as soon as it has caught up. */
export type MemberRole = 'voter' | 'learner' | 'joining';

export interface Member {
  readonly id: ServerId;
  readonly role: MemberRole;
  /** Where to reach it; opaque to the core. */
  readonly address: string;
  /** Of a founder: the name of the log that it began with (`founding.ts`). */
  readonly incarnation?: string;
}

export interface Configuration {
  readonly members: readonly Member[];
  /** The cluster lost its majority, and went on without it: the last time. */
  readonly rescue?: Rescue;
}

/** What an operator has decided, kept in every later configuration. */
export interface Rescue {
  /** Who, as the command told. */
  readonly by: string;
  readonly atMs: number;
  /** The last entry before it, which may never have been committed. */
  readonly lastIndex: LogIndex;
  readonly lastTerm: Term;
  /** Who was a member: under these names nobody takes part any more. */
  readonly givenUp: readonly ServerId[];
}

/** A configuration, and the index of its entry: 0 for the one a cluster was made with. */
export interface ConfigurationAt {
  readonly index: LogIndex;
  readonly configuration: Configuration;
}

/** One server at a time (thesis 4.1). */
export type MembershipChange =
  | {
      readonly kind: 'add';
      readonly id: ServerId;
      readonly address: string;
      readonly role: 'learner' | 'joining';
    }
  | { readonly kind: 'promote'; readonly id: ServerId }
  | { readonly kind: 'demote'; readonly id: ServerId }
  | { readonly kind: 'remove'; readonly id: ServerId };

/** Sorted as the members are. */
export function votersOf(configuration: Configuration): readonly ServerId[] {
  const voters: ServerId[] = [];
  for (const { id, role } of configuration.members) if (role === 'voter') voters.push(id);
  return voters;
}

export function compareIds(a: ServerId, b: ServerId): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

/** How many of so many voters are a majority. */
export function majority(voters: number): number {
  return Math.floor(voters / 2) + 1;
}

/** A configuration to start a cluster with. Every member must be given in the same roles. */
export function configurationOf(members: readonly Member[]): Configuration {
  return { members: [...members].sort((a, b) => compareIds(a.id, b.id)) };
}
