/** What comes out of runs: outcomes of reads, and damage by its name. Types only. */

import type { RunBlock, RunKey } from './run-block.ts';

export const RUN_FAULTS = [
  /** The file is not there. */
  'missing-file',
  /** No block's header stands where one has to be, or one of another block. */
  'bad-header',
  'bad-body',
  /** The file ends before the block does. */
  'missing-bytes',
  /** The disk does not give it. */
  'unreadable',
] as const;
export type RunFault = (typeof RUN_FAULTS)[number];

/** A part of a run that cannot be read: what lies in it is lost, and nothing else. */
export interface RunDamage {
  readonly runId: number;
  readonly fault: RunFault;
  /** -1: the whole run. */
  readonly block: number;
  readonly position: number;
  /** First byte behind it. */
  readonly end: number;
  /** Every lost key lies from `first` to `last`, both included. */
  readonly first: RunKey;
  readonly last: RunKey;
  /** For people: file, block, position, what was found. */
  readonly detail: string;
}

export type RunRead =
  /** In order, without gaps; at least one. They may share their memory with their neighbours. */
  | { readonly kind: 'blocks'; readonly blocks: readonly RunBlock[] }
  | { readonly kind: 'damaged'; readonly damage: RunDamage }
  /** The run has no key at or behind this one. */
  | { readonly kind: 'end' };

export interface RunReadLimits {
  /** Bytes of blocks; the first is read whatever its size. */
  readonly maxBytes: number;
  /** The blocks may lie in here afterwards; they do not where they have no room. */
  readonly into?: Uint8Array;
}
