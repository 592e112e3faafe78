/**
 * The one ordered stream of changes of a log: collected writes, and operations (roll-over apart)
 * between them.
 *
 * While one item is carried out, or its owner is not ready for the next, all batches that arrive
 * are collected behind it; the next item takes all of them, in one write. There is no timer: the
 * next item starts when the turn in which the last one ended, and everybody who waited for it was
 * told, is over. The first failure ends the queue for good.
 */

import { AssertionFailure } from '../assert.ts';
import { StorageError } from '../errors.ts';
import { HEADER_BYTES } from './batch.ts';
import { deferred } from './deferred.ts';
import type { Deferred } from './deferred.ts';
import type { HardState } from './log-types.ts';
import type { LogIndex } from './positions.ts';
import { WriteBuffer } from './write-buffer.ts';
import type { Addition } from './write-buffer.ts';

const MAX_FREE_BUFFERS = 4;

export interface PlacedHardState {
  readonly state: HardState;
  /** Where its batch ends in the buffer: durable once the buffer is written up to here. */
  readonly end: number;
}

export interface CollectedWrite {
  readonly kind: 'write';
  /** Of the queue again, and of other batches, once the write has returned. */
  readonly buffer: WriteBuffer;
  /** Shared by all who wait for it. Its owner resolves it. */
  done: Deferred | undefined;
  /** In the order of the buffer. */
  readonly hardStates: PlacedHardState[];
}

export interface Operation {
  readonly kind: 'operation';
  readonly run: () => Promise<void>;
  readonly done: Deferred;
}

export type QueueItem = CollectedWrite | Operation;

export interface QueueOwner {
  /** Whether this item may be carried out now; where not, `goOn` is called once it may. */
  isReady(item: QueueItem): boolean;
  /** Resolves when the buffer may be used again; the owner tells who waits once it is durable. */
  write(item: CollectedWrite): Promise<void>;
  /** An item failed: turns the cause into the error that everybody gets. */
  fail(cause: unknown): Error;
}

/** An operation found that it cannot be done, and has done nothing. */
function isRefusal(cause: unknown): cause is StorageError {
  return cause instanceof StorageError && cause.code === 'damaged';
}

export class WriteQueue {
  readonly #owner: QueueOwner;
  readonly #bufferBytes: number;
  readonly #items: QueueItem[] = [];
  readonly #free: WriteBuffer[] = [];
  readonly #next = (): void => void this.#carryOut();
  #current: QueueItem | undefined;
  #scheduled = false;
  #ended: Error | undefined;

  constructor(owner: QueueOwner, bufferBytes: number) {
    this.#owner = owner;
    this.#bufferBytes = bufferBytes;
  }

  get isIdle(): boolean {
    return this.#current === undefined && !this.isWaiting;
  }

  /** Something waits, behind what is carried out now. */
  get isWaiting(): boolean {
    return this.#items.length > 0;
  }

  /** Takes a batch; its payload is copied. Not to be called once the queue has ended. */
  add(batch: Addition): CollectedWrite {
    let tail = this.#items.at(-1);
    if (tail?.kind !== 'write' || !tail.buffer.hasRoom(batch.payloadLength)) {
      const buffer = this.#takeBuffer(batch.payloadLength);
      tail = { kind: 'write', buffer, done: undefined, hardStates: [] };
      this.#items.push(tail);
    }
    tail.buffer.add(batch);
    this.#schedule();
    return tail;
  }

  /** Runs after everything that is in the queue now. */
  enqueue(run: () => Promise<void>): Promise<void> {
    const done = deferred();
    if (this.#ended !== undefined) {
      done.reject(this.#ended);
      return done.promise;
    }
    this.#items.push({ kind: 'operation', run, done });
    this.#schedule();
    return done.promise;
  }

  /** The owner may be ready now where it was not. */
  goOn(): void {
    if (this.#items.length > 0) this.#schedule();
  }

  /**
   * Resolves when the write that holds this index is durable; undefined if none holds it that is
   * waiting or under way.
   */
  waitFor(index: LogIndex): Promise<void> | undefined {
    const writes = this.#current === undefined ? this.#items : [this.#current, ...this.#items];
    for (const item of writes) {
      if (item.kind !== 'write' || item.buffer.lastIndex < index) continue;
      item.done ??= deferred();
      return item.done.promise;
    }
    return undefined;
  }

  /** Everybody who waits, and who comes, gets this error. */
  end(error: Error): void {
    this.#ended ??= error;
    for (const item of this.#items.splice(0)) item.done?.reject(error);
  }

  #schedule(): void {
    if (this.#scheduled || this.#current !== undefined) return;
    this.#scheduled = true;
    process.nextTick(this.#next);
  }

  async #carryOut(): Promise<void> {
    this.#scheduled = false;
    const item = this.#items[0];
    if (item === undefined || !this.#owner.isReady(item)) return;
    this.#items.shift();
    this.#current = item;
    try {
      if (item.kind === 'write') await this.#owner.write(item);
      else await this.#run(item);
    } catch (cause) {
      if (cause instanceof AssertionFailure) throw cause;
      if (isRefusal(cause)) {
        item.done?.reject(cause);
      } else {
        const error = this.#owner.fail(cause);
        this.end(error);
        item.done?.reject(error);
      }
    }
    this.#current = undefined;
    if (item.kind === 'write') this.#giveBack(item.buffer);
    this.goOn();
  }

  async #run({ run, done }: Operation): Promise<void> {
    await run();
    // A failure in the background meanwhile: nothing counts as done any more.
    if (this.#ended === undefined) done.resolve();
    else done.reject(this.#ended);
  }

  #takeBuffer(payloadLength: number): WriteBuffer {
    const needed = HEADER_BYTES + payloadLength;
    if (needed > this.#bufferBytes) return new WriteBuffer(needed);
    return this.#free.pop() ?? new WriteBuffer(this.#bufferBytes);
  }

  #giveBack(buffer: WriteBuffer): void {
    if (buffer.capacity !== this.#bufferBytes || this.#free.length >= MAX_FREE_BUFFERS) return;
    buffer.clear();
    this.#free.push(buffer);
  }
}
