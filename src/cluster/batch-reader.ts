/**
 * From the bytes of a connection, as they come, to whole batches.
 *
 * What is read goes to one place that all connections of a thread share, because Node.js reads only
 * from its loop and calls back before it reads again: a batch that came whole, and is small, is
 * handed on as a view of that place, which holds for the call alone. Any other batch gets memory of
 * its own, which the kernel then fills without a copy; whoever hears it may keep that.
 *
 * Nothing is made larger than `batchBytesMax`, which is that of a hello until the other end is
 * known. A length above it is an error as soon as its eight bytes are there.
 */

import { BATCH_HEAD_BYTES, batchBytes } from './batch.ts';
import { malformed } from './frame-bytes.ts';
import { HELLO_BYTES_MAX, READ_BYTES } from './peer-limits.ts';
import { PeerError } from './refusals.ts';

const SHARED = Buffer.allocUnsafeSlow(READ_BYTES);
/** So that no body in the shared place is half of it, and `ownBytes` copies each one. */
const IN_PLACE_BYTES_MAX = READ_BYTES / 2 - BATCH_HEAD_BYTES;

export class BatchReader {
  /** Of a batch with its head. */
  batchBytesMax = HELLO_BYTES_MAX;
  readonly #onBatch: (batch: Buffer) => void;
  /** As much as came of a head. */
  readonly #head = Buffer.alloc(BATCH_HEAD_BYTES);
  #headBytes = 0;
  /** One that did not come whole yet, and how much of it is there. */
  #batch: Buffer | undefined;
  #bytes = 0;

  constructor(onBatch: (batch: Buffer) => void) {
    this.#onBatch = onBatch;
  }

  /** Where the next bytes belong; never empty. */
  get room(): Uint8Array {
    return this.#batch === undefined ? SHARED : this.#batch.subarray(this.#bytes);
  }

  /** In `room`, or anywhere else. Throws a `PeerError`, and what `onBatch` throws. */
  take(bytes: Buffer): void {
    for (let at = 0; at < bytes.length;) {
      if (this.#batch === undefined) at += this.#begin(bytes, at);
      else at += this.#fill(this.#batch, bytes, at);
    }
  }

  /** How many of the bytes it took. */
  #begin(bytes: Buffer, at: number): number {
    const left = bytes.length - at;
    if (this.#headBytes === 0 && left >= BATCH_HEAD_BYTES) {
      const length = this.#lengthIn(bytes, at);
      if (length > left || length > IN_PLACE_BYTES_MAX) {
        this.#batch = Buffer.allocUnsafeSlow(length);
        return 0;
      }
      this.#onBatch(bytes.subarray(at, at + length));
      return length;
    }
    const took = bytes.copy(this.#head, this.#headBytes, at);
    this.#headBytes += took;
    if (this.#headBytes < BATCH_HEAD_BYTES) return took;
    this.#headBytes = 0;
    const batch = Buffer.allocUnsafeSlow(this.#lengthIn(this.#head, 0));
    this.#head.copy(batch);
    this.#batch = batch;
    this.#bytes = BATCH_HEAD_BYTES;
    this.#ifWhole(batch);
    return took;
  }

  #fill(batch: Buffer, bytes: Buffer, at: number): number {
    const took = Math.min(batch.length - this.#bytes, bytes.length - at);
    // What was read to where it belongs is there already.
    if (bytes.buffer !== batch.buffer) bytes.copy(batch, this.#bytes, at, at + took);
    this.#bytes += took;
    this.#ifWhole(batch);
    return took;
  }

  #ifWhole(batch: Buffer): void {
    if (this.#bytes < batch.length) return;
    this.#batch = undefined;
    this.#bytes = 0;
    this.#onBatch(batch);
  }

  #lengthIn(bytes: Buffer, at: number): number {
    const length = batchBytes(bytes, at);
    if (length <= this.batchBytesMax) return length;
    if (isHttp2(bytes.subarray(at, at + BATCH_HEAD_BYTES))) {
      throw new PeerError('version', 'it speaks HTTP/2, as version 1 of the protocol did');
    }
    throw malformed(`a batch of ${length} bytes`);
  }
}

/** How the preface of a client, and the settings of a server, begin (RFC 9113 3.4, 6.5). */
function isHttp2(head: Buffer): boolean {
  const isPreface = head.toString('latin1') === 'PRI * HT';
  return isPreface || (head[3] === 4 && head.readUInt32LE(4) === 0);
}
