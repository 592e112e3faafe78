/**
 * The storage of one simulated machine: its disk with what can go wrong with it, and the logs that
 * a replica opens on it.
 *
 * Damage at rest is single bits that flip in what a log has written: never in the zeros ahead of
 * it, and never so that a whole sector reads as zeros, because the log itself cannot tell that from
 * a write that a power cut tore (storage.md, "Recovery").
 */

import { Log } from '#storage';
import type { Files, StorageError } from '#storage';
import type { SimulatedDisk } from './disk/disk.ts';
import { DIRECTORY } from './disk/names.ts';
import type { DiskFault } from './node.ts';
import type { Random } from './random.ts';
import type { VirtualClock } from './virtual-clock.ts';

/** Of the log and of checkpoints. */
export interface HostLimits {
  readonly segmentBytes: number;
  readonly prewriteBytes: number;
  readonly maxWriteBytes: number;
  readonly syncMode: 'prewritten-dsync' | 'fdatasync';
  readonly copyBytes: number;
  readonly checkpointEntries: number;
  /** Entries below a checkpoint that stay for replicas that are a little behind. */
  readonly keptEntries: number;
}

/** How long a call to the disk takes. */
export interface DiskPace {
  readonly leastUs: number;
  readonly mostUs: number;
  /** Faults under way that make it slow. */
  slowedBy: number;
}

export function callUs(pace: DiskPace, random: Random): number {
  return random.between(pace.leastUs, pace.slowedBy > 0 ? SLOW_MOST_US : pace.mostUs);
}

export interface HostStorageOptions {
  readonly disk: SimulatedDisk;
  readonly pace: DiskPace;
  readonly clock: VirtualClock;
  readonly limits: HostLimits;
  readonly random: Random;
}

/** Of one process. */
export interface LogPlace {
  readonly files: Files;
  readonly directory: string;
  /** A new log goes on behind this entry. */
  readonly behind?: { readonly index: number; readonly term: number };
  readonly onFailure: (error: StorageError) => void;
}

const SLOW_MOST_US = 60_000;
const SHORT_WRITES = 5;
const REPAIRS = 'repairs';
const FLIPS_MOST = 3;

export class HostStorage {
  readonly #options: HostStorageOptions;

  constructor(options: HostStorageOptions) {
    this.#options = options;
  }

  /** As a process sees it that starts now. */
  mount(): Files {
    return this.#options.disk.mount();
  }

  cutPower(): void {
    this.#options.disk.cutPower();
  }

  wipe(): void {
    this.#options.disk.wipe();
  }

  async openLog({ files, directory, behind, onFailure }: LogPlace): Promise<Log> {
    const { limits, clock } = this.#options;
    const { segmentBytes, prewriteBytes, maxWriteBytes, syncMode, copyBytes } = limits;
    const isBehind = behind !== undefined && behind.index > 0;
    const { log } = await Log.open({
      files,
      directory,
      now: () => clock.wallMs(),
      segmentBytes,
      prewriteBytes,
      maxWriteBytes,
      syncMode,
      copyBytes,
      idleMarkMs: 0,
      newLogId: () => this.#logId(),
      ...(isBehind && { beginsBehind: { index: behind.index, epoch: behind.term } }),
      onFailure,
    });
    return log;
  }

  /** The log of repaired entries, inside the folder of the log that they belong to. */
  async openRepairs(place: LogPlace, how: 'if-there' | 'make'): Promise<Log | undefined> {
    const { files, directory, onFailure } = place;
    const names = await files.list(directory);
    if (how === 'if-there' && !names.includes(REPAIRS)) return undefined;
    return this.openLog({ files, directory: `${directory}/${REPAIRS}`, onFailure });
  }

  /** Until the result is called. */
  break(fault: DiskFault): () => void {
    const { disk, pace, random } = this.#options;
    const times = Number.MAX_SAFE_INTEGER;
    switch (fault) {
      case 'slow': {
        pace.slowedBy += 1;
        return () => (pace.slowedBy -= 1);
      }
      case 'hung':
        return released(disk.inject({ kind: 'hung', on: 'write', times }));
      case 'failing':
        return released(disk.inject({ kind: 'eio', on: random.pick(['write', 'sync']) }));
      case 'full':
        return released(disk.inject({ kind: 'enospc', on: 'write' }));
      case 'short writes':
        return released(disk.inject({ kind: 'short', on: 'write', times: SHORT_WRITES }));
    }
  }

  /** Flips some bits of what a log in this folder has written. Says where. */
  damage(directory: string, random: Random): string | undefined {
    const { disk } = this.#options;
    if (disk.names.get(directory) !== DIRECTORY) return undefined;
    const segments = disk.names.children(directory).filter((name) => name.endsWith('.log'));
    if (segments.length === 0) return undefined;
    const path = `${directory}/${random.pick(segments)}`;
    const written = disk.bytesOf(path).findLastIndex((byte) => byte !== 0) + 1;
    if (written === 0) return undefined;
    const places: number[] = [];
    const first = random.below(written);
    for (let left = random.between(1, FLIPS_MOST); left > 0; left -= 1) {
      const place = Math.min(written - 1, first + random.below(256));
      disk.flipBit(path, place, random.below(8));
      places.push(place);
    }
    return `${path} at ${places.join(', ')}`;
  }

  #logId(): string {
    const { random } = this.#options;
    const half = (): string => random.below(0x1_0000_0000).toString(16).padStart(8, '0');
    return half() + half();
  }
}

function released(injected: { release(): void }): () => void {
  return () => injected.release();
}
