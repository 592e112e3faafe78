/**
 * A replica as the simulation handles it, whatever drives it: the core alone over a store in
 * memory, or the whole host over the storage engine.
 *
 * A node is `up`, `paused` (its messages, ticks and completions wait), `down` (crashed or stopped;
 * its disk is there) or `failed` (it stopped by itself, and said why).
 */

import type { Changed, MembershipChange, Transferred } from '../raft.ts';
import type { ReplicaView } from './safety-checks.ts';

export type NodeState = 'up' | 'paused' | 'down' | 'failed';

export type ProposeOutcome =
  /** In this replica's state machine, at this index; of the client's numbers up to this one. */
  | { readonly kind: 'applied'; readonly index: number; readonly upTo: number }
  /** Not taken, nothing changed. */
  | { readonly kind: 'refused'; readonly leader: string | undefined }
  /** Another entry has its place, or it waited for too long. It may commit later. */
  | { readonly kind: 'unknown' };

export type ReadOutcome =
  | { readonly kind: 'read'; readonly index: number; readonly upTo: number }
  | { readonly kind: 'refused' };

export interface SimulatedNode {
  readonly id: string;
  readonly state: NodeState;
  /** Undefined while it is not up. */
  view(): ReplicaView | undefined;
  start(): Promise<void>;
  /** The power goes: what is not durable may be lost. */
  crash(): void;
  /** Stops in order. */
  stop(): Promise<void>;
  pause(): void;
  resume(): void;
  /** Values of one client, ascending. `done` is called at most once, and never after a crash. */
  propose(
    client: string,
    numbers: readonly number[],
    done: (outcome: ProposeOutcome) => void,
  ): void;
  read(client: string, done: (outcome: ReadOutcome) => void): void;
  change(change: MembershipChange): Changed | undefined;
  transfer(to: string): Transferred | undefined;
  /** History of each client in its state machine. */
  history(): ReadonlyMap<string, readonly number[]>;
  digest(): number;
}
