/**
 * What a shard that leads needs of the others: where a name is, and that they take a message. Types
 * only; `shard-to-shard.ts` does it through their clients.
 *
 * Nothing rejects for what another shard does or does not: `not-now` means that nothing is known,
 * and that it may be asked again.
 */

import type { RouteEnd } from '../machine/command.ts';
import type { QueueDefinition } from '../machine/definitions.ts';
import type { QueueId } from '../machine/ids.ts';
import type { QueuePlace } from '../machine/names.ts';

/** Nobody answers, or not that; for people. */
export interface NotNow {
  readonly kind: 'not-now';
  readonly detail: string;
}

export type FoundQueue =
  | { readonly kind: 'there'; readonly queueId: QueueId }
  /** It belongs into the shard that asks; `placed` is for its declaration. */
  | { readonly kind: 'here'; readonly placed: number | undefined }
  | { readonly kind: 'none' }
  | NotNow;

export interface Arrived {
  readonly kind: RouteEnd;
  readonly next: number;
}

/** The other shards, as one of them sees them. What cannot be done now may be asked again. */
export interface OtherShards {
  /** Where the queue of this name is. */
  find(name: string): Promise<FoundQueue>;
  /** The same; declared where it is missing, beside the queue `near` (`''`: of none). */
  findOrDeclare(queue: QueueDefinition, near: string): Promise<FoundQueue>;
  /** Of a queue of another shard; undefined: it is not known there. */
  nameOf(queueId: QueueId): Promise<string | undefined | NotNow>;
  /**
   * Of these names those whose queue is not in the shard, once nothing is made there any more for a
   * place of version `fence` or below (0: whatever may be made).
   */
  missing(
    shard: number,
    names: readonly string[],
    fence: number,
  ): Promise<readonly string[] | NotNow>;
  /** The shard in which a queue of this name is or is to be; undefined: in none. */
  placeOf(name: string): Promise<QueuePlace | undefined | NotNow>;
  /** The queue of this name is gone: so is its place, if it is still of this version. */
  unplace(name: string, version: number): Promise<undefined | NotNow>;
  /** The keys of a session's publishes are in no shard but the one that asks; undefined: done. */
  endKeys(session: string): Promise<undefined | NotNow>;
  /**
   * Of these names of publish keys (`key-names.ts`), which are in some shard already, those that
   * are over as the shard of their sessions has it.
   */
  overKeys(shard: number, names: readonly string[]): Promise<readonly string[] | NotNow>;
  /** An encoded `take-transfer`, whose bytes must not change. */
  take(shard: number, command: Uint8Array): Promise<Arrived | NotNow>;
}
