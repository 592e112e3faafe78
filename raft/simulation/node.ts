/**
 * A replica as the simulation handles it, whatever drives it: the core alone over a store in
 * memory, or the whole host over the storage engine.
 *
 * A node is `starting`, `up`, `paused` (its messages, ticks and completions wait), `down` (crashed
 * or stopped; its disk is there) or `failed` (it stopped by itself, and said why).
 */

import type {
  Changed,
  Configuration,
  ConfigurationAt,
  Cursors,
  FaultyRange,
  MembershipChange,
  Transferred,
} from '../raft.ts';
import type { Random } from './random.ts';
import type { ReplicaView } from './safety-checks.ts';

export type NodeState = 'starting' | 'up' | 'paused' | 'down' | 'failed';

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

/** What can go wrong with a disk that keeps what it has. */
export const DISK_FAULTS = ['slow', 'hung', 'failing', 'full', 'short writes'] as const;
export type DiskFault = (typeof DISK_FAULTS)[number];

export interface SimulatedNode {
  readonly id: string;
  readonly state: NodeState;
  /** Undefined while it is not up. */
  view(): ReplicaView | undefined;
  /** Returns at once; it is up later, or `failed`. */
  start(): void;
  /** The power goes: what is not durable may be lost. */
  crash(): void;
  /** Stops in order: it is down later. */
  stop(): void;
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
  /** Until the result is called. Undefined: this disk knows no such fault. */
  breakDisk(fault: DiskFault): (() => void) | undefined;
  /** While it is down: something that was durable goes bad. Says what; undefined: it cannot. */
  damage(random: Random): string | undefined;
  /** While it is down: an empty disk takes the place of its own. */
  wipe(): void;
  /** Something was durable and cannot be read; an end that was cut off for it is not back. */
  readonly isDamaged: boolean;
  /** Voters of every configuration that it may go by, now or after a restart. */
  voterSets(): readonly (readonly string[])[];
  /** History of each client in its state machine. */
  history(): ReadonlyMap<string, readonly number[]>;
  digest(): number;
}

/** What the checks see of a replica; `applied` is in its state machine. */
export function viewOf(cursors: Cursors, applied: number, checkpoint: number): ReplicaView {
  const { configuration, faulty, commitIndex } = cursors;
  const { voters, members } = namesIn(configuration.configuration);
  return {
    term: cursors.term,
    vote: cursors.vote ?? '',
    leads: cursors.role === 'leader',
    start: cursors.start,
    applied,
    committed: commitIndex,
    last: cursors.accepted,
    voters,
    members,
    settled: configuration.index <= commitIndex,
    damaged: faulty.length > 0,
    needsRepair: isNeeded(faulty, checkpoint),
  };
}

interface Names {
  readonly voters: readonly string[];
  readonly members: readonly string[];
}

/** A configuration never changes: another one takes its place. */
const namesOf = new WeakMap<Configuration, Names>();

function namesIn(configuration: Configuration): Names {
  let names = namesOf.get(configuration);
  if (names === undefined) {
    const members = configuration.members.map(({ id }) => id);
    names = { voters: votersOf({ configuration }), members };
    namesOf.set(configuration, names);
  }
  return names;
}

/** Whether some damage lies above the checkpoint. */
function isNeeded(faulty: readonly FaultyRange[], checkpoint: number): boolean {
  return faulty.some(({ through }) => through === undefined || through > checkpoint);
}

export function votersOf({
  configuration,
}: Pick<ConfigurationAt, 'configuration'>): readonly string[] {
  return configuration.members.filter(({ role }) => role === 'voter').map(({ id }) => id);
}
