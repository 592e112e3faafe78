/**
 * Large writes that were copied into the active segment and are synced beside the copy of the next:
 * one sync at a time, each of all that was copied before it began.
 *
 * What is in here is written and not durable: no end of a segment, no mark, no hard state and no
 * report tells of it before `synced` hands it back, in the order of the copies. After a failure,
 * its own or another, nothing is handed back any more, also not by a sync that ends well later: who
 * waits gets the error. A crash loses any sectors of it, as of one write that was torn.
 */

import { assert, AssertionFailure } from '../assert.ts';
import type { LogSegment } from './log-segment.ts';
import { deferred } from './deferred.ts';
import type { FilePosition, LogIndex } from './positions.ts';
import type { CollectedWrite } from './write-queue.ts';

/** How far the log reaches with a piece of a collected write: true once that piece is synced. */
export interface Reach {
  readonly segment: LogSegment;
  readonly end: FilePosition;
  /** The last entry of the segment. */
  readonly lastIndex: LogIndex;
  readonly chain: number;
  readonly largestTimeMs: number;
  readonly item: CollectedWrite;
  /** Of the buffer of the item: the piece ends here. */
  readonly upTo: number;
  /** The item ends with this piece: who waits for it is told. */
  readonly isLast: boolean;
}

export interface SyncedFile {
  sync(): Promise<void>;
}

export interface CopiedOwner {
  /** A sync begins; at its end `synced` or `fail` is called, or nothing once the log has failed. */
  syncing(): void;
  synced(reaches: readonly Reach[]): void;
  fail(cause: unknown): Error;
}

export class CopiedWrites {
  readonly #owner: CopiedOwner;
  readonly #mostBytes: number;
  readonly #reaches: { readonly reach: Reach; readonly bytes: number }[] = [];
  #bytes = 0;
  #underWay: Promise<void> | undefined;
  #ended = false;

  /** Takes no more than `mostBytes` that are not synced, or one write that is larger. */
  constructor(owner: CopiedOwner, mostBytes: number) {
    this.#owner = owner;
    this.#mostBytes = mostBytes;
  }

  /** Something is copied and not known to be synced. */
  get isBusy(): boolean {
    return this.#underWay !== undefined;
  }

  /** The last of what is copied and not known to be synced. */
  get last(): Reach | undefined {
    return this.#reaches.at(-1)?.reach;
  }

  hasRoom(bytes: number): boolean {
    return this.#bytes === 0 || this.#bytes + bytes <= this.#mostBytes;
  }

  /** These bytes lie in the file behind all that was added before; all of it in the same file. */
  add(file: SyncedFile, reach: Reach, bytes: number): void {
    assert(!this.#ended, 'nothing counts as copied once the log has failed');
    this.#reaches.push({ reach, bytes });
    this.#bytes += bytes;
    this.#underWay ??= this.#sync(file);
  }

  /** Resolves when nothing is unsynced, or the log has failed: the caller looks. */
  async settled(): Promise<void> {
    await this.#underWay;
  }

  /** Resolves when the copy that holds this index is durable; undefined if none holds it. */
  waitFor(index: LogIndex): Promise<void> | undefined {
    const item = this.#reaches.find(({ reach }) => reach.lastIndex >= index)?.reach.item;
    if (item === undefined) return undefined;
    item.done ??= deferred();
    return item.done.promise;
  }

  /** The log has failed: everybody who waits gets this error, whatever the sync under way says. */
  end(error: Error): void {
    this.#ended = true;
    for (const { reach } of this.#reaches.splice(0)) reach.item.done?.reject(error);
  }

  async #sync(file: SyncedFile): Promise<void> {
    try {
      while (this.#reaches.length > 0) {
        const count = this.#reaches.length;
        this.#owner.syncing();
        await file.sync();
        if (this.#ended) return;
        const covered = this.#reaches.splice(0, count);
        for (const { bytes } of covered) this.#bytes -= bytes;
        this.#owner.synced(covered.map(({ reach }) => reach));
      }
    } catch (cause) {
      if (cause instanceof AssertionFailure) throw cause;
      this.#owner.fail(cause);
    } finally {
      this.#underWay = undefined;
    }
  }
}
