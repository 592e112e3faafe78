/**
 * Requests that the client has made and the shard has not answered: each is resolved by its reply,
 * or rejected with a ShardError when the shard refuses it or is gone. What a refusal says for
 * programs is its code, for people its words.
 */

import type { WireWriter } from './wire.ts';
import { writeRequest } from './client-frames.ts';
import { decodeRefusal, encodeRequest } from './requests.ts';
import type { ShardRequest } from './requests.ts';
import { ShardError } from './shard-error.ts';
import type { ShardFrame } from './shard-frames.ts';

interface Waiting {
  resolve(body: Uint8Array): void;
  reject(error: Error): void;
}

export class ShardRequests {
  readonly #control: WireWriter;
  readonly #wake: () => void;
  readonly #waiting = new Map<number, Waiting>();
  #nextId = 1;
  #closed: string | undefined;

  /** `control`: where frames to the shard are written; `wake`: something was. */
  constructor(control: WireWriter, wake: () => void) {
    this.#control = control;
    this.#wake = wake;
  }

  /** The body of the reply. */
  make(request: ShardRequest): Promise<Uint8Array> {
    if (this.#closed !== undefined) {
      return Promise.reject(new ShardError('unavailable', this.#closed));
    }
    const id = this.#nextId++;
    writeRequest(this.#control, id, encodeRequest(request));
    this.#wake();
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
    });
  }

  replied({ id, accepted, body }: Extract<ShardFrame, { kind: 'reply' }>): void {
    const waiting = this.#waiting.get(id);
    if (waiting === undefined) return;
    this.#waiting.delete(id);
    // The body is a view of its batch, and the waiter reads it later.
    if (accepted) waiting.resolve(body.slice());
    else waiting.reject(decodeRefusal(body));
  }

  /** The shard is gone. */
  fail(why: string): void {
    this.#closed = why;
    for (const waiting of this.#waiting.values()) {
      waiting.reject(new ShardError('unavailable', why));
    }
    this.#waiting.clear();
  }
}
