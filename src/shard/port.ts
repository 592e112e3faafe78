/**
 * What lies between the client and the shard: batches of bytes, in order, none lost while both
 * sides live.
 *
 * `post` takes the bytes for good: they are alone in their memory, the sender encoded them itself,
 * and the sender's view of them is empty afterwards (the memory is transferred, not copied). What
 * arrives is the receiver's own, and never arrives during a `post`. One port goes over a
 * MessagePort, between threads; the other stays within a thread and behaves the same. What one side
 * posted before it closed still arrives; at the side that closed nothing arrives any more, and
 * `post` does nothing on either.
 */

import type { MessagePort } from 'node:worker_threads';

export interface BatchPort {
  post(bytes: Uint8Array): void;
  /** One listener; batches that come before it is set wait for it. */
  onBatch(listener: (bytes: Uint8Array) => void): void;
  /** One listener; called at most once, when the other side closed or its thread ended. */
  onClosed(listener: () => void): void;
  close(): void;
}

/** Over one end of a MessageChannel, of which the other thread has the other end. */
export class ThreadBatchPort implements BatchPort {
  readonly #port: MessagePort;
  #closed = false;

  constructor(port: MessagePort) {
    this.#port = port;
  }

  post(bytes: Uint8Array): void {
    if (!this.#closed) this.#port.postMessage(bytes, [bytes.buffer as ArrayBuffer]);
  }

  onBatch(listener: (bytes: Uint8Array) => void): void {
    this.#port.on('message', (bytes: Uint8Array) => {
      if (!this.#closed) listener(bytes);
    });
  }

  onClosed(listener: () => void): void {
    this.#port.once('close', () => {
      if (this.#closed) return;
      this.#closed = true;
      listener();
    });
  }

  close(): void {
    this.#closed = true;
    this.#port.close();
  }
}

class LoopbackPort implements BatchPort {
  #other: LoopbackPort | undefined;
  #arrived: Uint8Array[] = [];
  #scheduled = false;
  #closed = false;
  #otherClosed = false;
  #batch: ((bytes: Uint8Array) => void) | undefined;
  #gone: (() => void) | undefined;

  static pair(): [LoopbackPort, LoopbackPort] {
    const one = new LoopbackPort();
    const other = new LoopbackPort();
    one.#other = other;
    other.#other = one;
    return [one, other];
  }

  post(bytes: Uint8Array): void {
    const other = this.#other;
    if (this.#closed || this.#otherClosed || other === undefined) return;
    other.#arrive(structuredClone(bytes, { transfer: [bytes.buffer as ArrayBuffer] }));
  }

  onBatch(listener: (bytes: Uint8Array) => void): void {
    this.#batch = listener;
    this.#schedule();
  }

  onClosed(listener: () => void): void {
    this.#gone = listener;
    this.#schedule();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#arrived = [];
    const other = this.#other;
    if (other === undefined) return;
    other.#otherClosed = true;
    other.#schedule();
  }

  #arrive(bytes: Uint8Array): void {
    if (this.#closed) return;
    this.#arrived.push(bytes);
    this.#schedule();
  }

  #schedule(): void {
    if (this.#scheduled || this.#closed) return;
    this.#scheduled = true;
    setImmediate(() => this.#turn());
  }

  #turn(): void {
    this.#scheduled = false;
    const listener = this.#batch;
    if (listener !== undefined) {
      const arrived = this.#arrived;
      this.#arrived = [];
      for (const bytes of arrived) {
        if (this.#closed) return;
        listener(bytes);
      }
    }
    const gone = this.#gone;
    if (!this.#otherClosed || this.#closed || gone === undefined || this.#arrived.length > 0)
      return;
    this.#closed = true;
    gone();
  }
}

/** Two ends within one thread: what one posts, the other gets in a later turn of the event loop. */
export function loopback(): [BatchPort, BatchPort] {
  return LoopbackPort.pair();
}
