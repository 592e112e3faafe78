/**
 * Whether this node lives, and whether it can be used: pure, from figures to an answer with every
 * reason.
 *
 * Alive: its threads turn. A supervisor may start a node again that is not; so nothing counts here
 * that a new start would not cure. Ready: publishes can be stored and clients can connect. What is
 * wrong and hinders neither is told as well, and is no reason to send nobody here.
 */

import type { Figures, Stage, ThreadFigures } from './figures.ts';

export interface Reason {
  readonly code: ReasonCode;
  readonly detail: string;
  /** Nobody should be sent here while it lasts. */
  readonly blocks: boolean;
}

export const REASON_CODES = [
  'starting',
  'stopping',
  'store-failed',
  'shard-silent',
  'listener-closed',
  'disk-reserve',
  'log-damaged',
  'records-lost',
  'run-damaged',
  'spill-late',
  'damaged',
  'group-lost',
  'stuck',
] as const;
export type ReasonCode = (typeof REASON_CODES)[number];

export interface HealthFigures {
  readonly stage: Stage;
  readonly storeFailure: string | undefined;
  readonly closedListeners: readonly string[];
  /** Undefined: they did not answer in time. */
  readonly shards: Figures | undefined;
}

export interface Readiness {
  readonly status: 'ready' | 'degraded' | 'not-ready';
  readonly reasons: readonly Reason[];
}

/** An answer is for people and for one look. */
const REASONS_MAX = 32;

/** Alarms of the shards that are one for the whole, and those that are one for each queue. */
const WHOLE = {
  'disk-reserve': 'the disk is inside its reserve: publishes into queues are refused',
  'log-damaged': 'a part of the log that was applied before cannot be read',
  'records-lost': 'the records of this replica are lost, and being got from the others',
  'run-damaged': 'a run, or a part of one, cannot be read',
  'spill-late':
    'the log is twice its window, and is not spilled as fast: publishes wait where this node leads',
} as const;
const OF_QUEUES = {
  damaged: 'queues with messages that cannot be read',
  'group-lost': 'groups that are held because a damaged record told what they have settled',
  stuck: 'queues whose new messages wait for one that nobody settles',
} as const;

export function readinessOf(figures: HealthFigures): Readiness {
  const reasons: Reason[] = [];
  const add = (code: ReasonCode, detail: string, blocks = true): void => {
    if (reasons.length < REASONS_MAX) reasons.push({ code, detail, blocks });
  };
  const { stage, storeFailure, shards } = figures;
  if (stage === 'starting') add('starting', 'recovery is under way');
  if (stage === 'stopping') add('stopping', 'the broker was asked to stop');
  if (storeFailure !== undefined) add('store-failed', storeFailure);
  if (stage === 'running') {
    for (const address of figures.closedListeners) {
      add('listener-closed', `nobody can connect to ${address}`);
    }
    if (shards === undefined && storeFailure === undefined) {
      add('shard-silent', 'the thread of the shards did not answer in time');
    }
  }
  if (shards !== undefined) addAlarms(shards, add);
  const blocked = reasons.some(({ blocks }) => blocks);
  const status = blocked ? 'not-ready' : reasons.length > 0 ? 'degraded' : 'ready';
  return { status, reasons };
}

function addAlarms(
  shards: Figures,
  add: (code: ReasonCode, detail: string, blocks?: boolean) => void,
): void {
  const alarms = alarmCounts(shards);
  const inReserve = alarms.has('disk-reserve') || shards.get('disk/inside-reserve') === 1;
  if (inReserve) add('disk-reserve', WHOLE['disk-reserve']);
  for (const kind of ['log-damaged', 'records-lost', 'run-damaged', 'spill-late'] as const) {
    if (alarms.has(kind)) add(kind, WHOLE[kind], false);
  }
  for (const kind of ['damaged', 'group-lost', 'stuck'] as const) {
    const queues = alarms.get(kind);
    if (queues !== undefined) add(kind, `${queues} ${OF_QUEUES[kind]}`, false);
  }
}

/** How many alarms of each kind there are: `alarm/<kind>[/...]`. */
export function alarmCounts(shards: Figures): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const name of shards.keys()) {
    if (!name.startsWith('alarm/')) continue;
    const [, kind = ''] = name.split('/', 2);
    counts.set(kind, (counts.get(kind) ?? 0) + 1);
  }
  return counts;
}

export interface Liveness {
  readonly alive: boolean;
  /** Milliseconds since each thread last turned. */
  readonly threads: Readonly<Record<string, number>>;
}

/** The shards' thread counts once the node runs: before, it may read a large log in long turns. */
export function livenessOf(
  {
    stage,
    shardThread,
  }: { readonly stage: Stage; readonly shardThread: ThreadFigures | undefined },
  mainThread: ThreadFigures,
  withinMs: number,
): Liveness {
  const counted = stage === 'running' ? shardThread : undefined;
  const threads: Record<string, number> = { main: Math.round(mainThread.silentMs) };
  if (counted !== undefined) threads['shards'] = Math.round(counted.silentMs);
  return { alive: Object.values(threads).every((silent) => silent <= withinMs), threads };
}
