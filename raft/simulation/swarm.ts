/**
 * What one seed is about: how many nodes, which limits, which faults (swarm testing: each seed
 * leaves some kinds out altogether, because faults hide one another), and how often they come.
 *
 * Half of the seeds have tiny limits, so that the rare branches of large ones are their daily
 * bread.
 */

import type { LinkFaults } from './network.ts';
import type { Random } from './random.ts';

/** Of each message; they are counted by the network. */
export const LINK_KINDS = ['loss', 'duplication', 'replay', 'reordering'] as const;

/** Installed now and then, one at a time. */
export const STEP_KINDS = [
  'clog',
  'partition: alone',
  'partition: halves',
  'partition: bridge',
  'partition: ring',
  'partition: one-way',
  'partition: one-link',
  'leader alone',
  'stale tail',
  'crash: one',
  'crash: leader',
  'crash: majority',
  'crash: all',
  'crash: at a promise',
  'crash: while installing',
  'clean restart',
  'pause',
  'pause: leader',
  'disk: slow',
  'disk: hung',
  'disk: failing',
  'disk: full',
  'disk: short writes',
  'clock: rate',
  'clock: wall jump',
  'transfer',
  'member: add',
  'member: remove',
  'member: remove leader',
  'member: replace',
  'member: two at once',
  'disk: damage at rest',
  'disk lost',
  'disk wiped',
  'wiped and re-added',
] as const;
/** Faults of files: there are none where the core is driven alone. */
const HOST_KINDS = ['disk: full', 'disk: short writes'];
export type StepKind = (typeof STEP_KINDS)[number];
type LinkKind = (typeof LINK_KINDS)[number];

export interface Limits {
  readonly segmentBytes: number;
  readonly prewriteBytes: number;
  readonly maxWriteBytes: number;
  readonly windowMessages: number;
  readonly windowBytes: number;
  readonly messageBytes: number;
  readonly maxEntryBytes: number;
  readonly maxUncommittedBytes: number;
  readonly keptBytes: number;
  readonly checkpointEntries: number;
  /** Below a checkpoint, for replicas that are a little behind. */
  readonly keptEntries: number;
}

export interface Plan {
  /** The whole host over the storage engine, or the core alone. */
  readonly level: 'host' | 'core';
  readonly nodes: number;
  readonly tiny: boolean;
  readonly limits: Limits;
  readonly links: LinkFaults;
  readonly linkKinds: readonly LinkKind[];
  readonly stepKinds: readonly StepKind[];
  readonly syncMode: 'prewritten-dsync' | 'fdatasync';
  /** Writes of the log of so many bytes are copied beside a sync, where no zeros lie ahead. */
  readonly copyBytes: number;
  /** Nothing goes wrong before the cluster has begun: that wants all of its members. */
  readonly calmStart: boolean;
  readonly safetyUs: number;
  readonly stepEveryUs: number;
  /** Whether a partition stays for a while when all else is healed. */
  readonly partialPhase: boolean;
  readonly clients: number;
  readonly clientWindow: number;
  readonly thinkUs: number;
}

const KIB = 1024;
const MILLISECOND_US = 1000;
const SECOND_US = 1_000_000;

const TINY: Limits = {
  segmentBytes: 4 * KIB,
  prewriteBytes: 4 * KIB,
  maxWriteBytes: 4 * KIB,
  windowMessages: 2,
  windowBytes: KIB,
  messageBytes: 300,
  maxEntryBytes: 512,
  maxUncommittedBytes: 4 * KIB,
  keptBytes: KIB,
  checkpointEntries: 10,
  keptEntries: 2,
};

const ROOMY: Limits = {
  segmentBytes: 64 * KIB,
  prewriteBytes: 16 * KIB,
  maxWriteBytes: 64 * KIB,
  windowMessages: 64,
  windowBytes: 64 * KIB,
  messageBytes: 4 * KIB,
  maxEntryBytes: 8 * KIB,
  maxUncommittedBytes: 256 * KIB,
  keptBytes: 32 * KIB,
  checkpointEntries: 100,
  keptEntries: 20,
};

export function planOf(random: Random): Plan {
  const tiny = random.chance(0.5);
  const linkKinds = LINK_KINDS.filter(() => random.chance(0.5));
  const share = random.pick([0.15, 0.35, 0.6]);
  const has = (kind: LinkKind): boolean => linkKinds.includes(kind);
  const slow = random.chance(0.3);
  return {
    level: 'host',
    nodes: random.pick([1, 2, 3, 3, 3, 3, 3, 4, 5, 5]),
    tiny,
    limits: tiny ? TINY : ROOMY,
    linkKinds,
    links: {
      loss: has('loss') ? random.pick([0.01, 0.05, 0.2]) : 0,
      duplication: has('duplication') ? random.pick([0.01, 0.1]) : 0,
      replay: has('replay') ? random.pick([0.005, 0.05]) : 0,
      reorders: has('reordering'),
      delayLeastUs: 100,
      delayMostUs: (slow ? 40 : random.pick([1, 5])) * MILLISECOND_US,
    },
    syncMode: random.chance(0.75) ? 'prewritten-dsync' : 'fdatasync',
    stepKinds: STEP_KINDS.filter(() => random.chance(share)),
    safetyUs: random.between(4, 12) * SECOND_US,
    stepEveryUs: random.pick([150, 500, 1500]) * MILLISECOND_US,
    partialPhase: random.chance(0.35),
    clients: random.between(1, 4),
    clientWindow: random.pick([1, 4, 16]),
    thinkUs: random.pick([5, 20, 80]) * MILLISECOND_US,
    calmStart: random.chance(0.75),
    copyBytes: random.chance(0.5) ? 1 : 64 * KIB,
  };
}

/** For a reproduction that is smaller than its seed. */
export interface PlanChanges {
  readonly without?: readonly string[];
  readonly safetyUs?: number;
  readonly level?: Plan['level'];
}

export function changedPlan(plan: Plan, changes: PlanChanges): Plan {
  const { without = [], safetyUs = plan.safetyUs, level = plan.level } = changes;
  const missing: readonly string[] = level === 'core' ? HOST_KINDS : [];
  const stays = (kind: string): boolean => !without.includes(kind) && !missing.includes(kind);
  const { links } = plan;
  return {
    ...plan,
    level,
    safetyUs,
    stepKinds: plan.stepKinds.filter(stays),
    linkKinds: plan.linkKinds.filter(stays),
    links: {
      ...links,
      loss: stays('loss') ? links.loss : 0,
      duplication: stays('duplication') ? links.duplication : 0,
      replay: stays('replay') ? links.replay : 0,
      reorders: stays('reordering') && links.reorders,
    },
  };
}
