/**
 * The next segment's file, made ready in the background so that a roll-over does not wait for it:
 * created, its first piece of zeros written and synced. It has a name that recovery removes, until
 * a roll-over renames it.
 */

import { StorageError } from '../errors.ts';
import { hasCode, removeIfThere } from './file-bytes.ts';
import { inDirectory, spareFileName } from './file-names.ts';
import type { SegmentId } from './positions.ts';
import { writeZeros } from './prewriter.ts';
import type { LogSettings } from './settings.ts';

export interface Spare {
  readonly segmentId: SegmentId;
  readonly path: string;
  readonly fileBytes: number;
}

export class SpareSegment {
  readonly #settings: LogSettings;
  readonly #nextId: () => SegmentId;
  readonly #onFailure: (error: unknown) => void;
  #ready: Promise<Spare | undefined> | undefined;

  /** `nextId` gives an id that was never used. */
  constructor(settings: LogSettings, nextId: () => SegmentId, onFailure: (error: unknown) => void) {
    this.#settings = settings;
    this.#nextId = nextId;
    this.#onFailure = onFailure;
  }

  /** Makes one ready, if none is; with its first piece of zeros, if writes are small. */
  prepare(prewrite: boolean): void {
    this.#ready ??= this.#create(prewrite).catch((error: unknown) => {
      if (!hasCode(error, 'ENOSPC')) this.#onFailure(error);
      return undefined;
    });
  }

  /** The one that is ready, or a new one. */
  async take(prewrite: boolean): Promise<Spare> {
    const ready = await this.#ready;
    this.#ready = undefined;
    return ready ?? this.#create(prewrite);
  }

  async discard(): Promise<void> {
    const ready = await this.#ready;
    this.#ready = undefined;
    if (ready !== undefined) await removeIfThere(this.#settings.files, ready.path);
  }

  async #create(prewrite: boolean): Promise<Spare> {
    const { files, directory, prewriteBytes, segmentBytes } = this.#settings;
    const segmentId = this.#nextId();
    if (segmentId > 0xffff_ffff) throw new StorageError('full', 'the log has no segment id left');
    const path = inDirectory(directory, spareFileName(segmentId));
    const file = await files.open(path, {
      access: 'write',
      create: 'exclusive',
      durability: 'on-sync',
    });
    let zeros = 0;
    try {
      if (prewrite && (await this.#hasRoom())) {
        const wanted = Math.min(prewriteBytes, segmentBytes);
        if (await writeZeros(file, 0, wanted)) {
          zeros = wanted;
          this.#settings.prewritten(wanted);
        }
      }
    } finally {
      await file.close();
    }
    return { segmentId, path, fileBytes: zeros };
  }

  async #hasRoom(): Promise<boolean> {
    const { freeBytes } = await this.#settings.files.space(this.#settings.directory);
    return freeBytes >= 2 * this.#settings.prewriteBytes;
  }
}
