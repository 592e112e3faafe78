/**
 * Requests that the client has made and the shard has not answered: each is resolved by its reply,
 * or rejected with a ShardError when the shard refuses it or is gone. What a refusal says for
 * programs is its code, for people its words.
 *
 * Over a route, what is asked while no leader is reached waits for one, for `ack_timeout` at most;
 * when a leader is lost, declarations and what concerns names, shards and sessions are asked for
 * again of the next one, and of all else the outcome is unknown.
 */

import { AdminError } from '../broker/ports.ts';
import type { WireWriter } from './wire.ts';
import { writeRequest } from './client-frames.ts';
import {
  decodeRefusal,
  encodeRequest,
  isPlaceRequest,
  isRetainedRequest,
  isSessionRequest,
} from './requests.ts';
import type { ShardRequest } from './requests.ts';
import { ShardError } from './shard-error.ts';
import type { ShardFrame } from './shard-frames.ts';

const LEADER_LOST =
  'the leader of the shard was lost while it worked: whether it was done is not known';
const NOBODY_LEADS = 'no leader of the shard is reached: a majority of its nodes is needed';

interface Waiting {
  readonly request: ShardRequest;
  readonly arrived: number;
  isSent: boolean;
  resolve(body: Uint8Array): void;
  reject(error: Error): void;
}

export class ShardRequests {
  readonly #control: WireWriter;
  readonly #wake: () => void;
  readonly #waiting = new Map<number, Waiting>();
  #nextId: number;
  readonly #step: number;
  /** Somebody would hear it. */
  #reached: boolean;
  /** Monotonic milliseconds, set by the owner once a turn. */
  now = 0;
  #closed: string | undefined;

  /**
   * `control`: where frames to the shard are written; `wake`: something was. Ids are
   * `firstId` and every `step`th behind it.
   */
  constructor(
    control: WireWriter,
    wake: () => void,
    more = { isReached: true, firstId: 1, step: 1 },
  ) {
    this.#control = control;
    this.#wake = wake;
    this.#nextId = more.firstId;
    this.#step = more.step;
    this.#reached = more.isReached;
  }

  /** When the oldest that is not sent arrived; Infinity: there is none. */
  get oldest(): number {
    if (this.#reached) return Number.POSITIVE_INFINITY;
    for (const { isSent, arrived } of this.#waiting.values()) if (!isSent) return arrived;
    return Number.POSITIVE_INFINITY;
  }

  /** The body of the reply. */
  make(request: ShardRequest): Promise<Uint8Array> {
    if (this.#closed !== undefined) {
      return Promise.reject(new ShardError('unavailable', this.#closed));
    }
    const id = this.#nextId;
    this.#nextId += this.#step;
    this.#wake();
    if (this.#reached) writeRequest(this.#control, id, encodeRequest(request));
    const state = { request, arrived: this.now, isSent: this.#reached };
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { ...state, resolve, reject });
    });
  }

  /** A leader is reached: it hears what waits. */
  reached(): void {
    this.#reached = true;
    for (const [id, waiting] of this.#waiting) {
      if (!waiting.isSent) writeRequest(this.#control, id, encodeRequest(waiting.request));
      waiting.isSent = true;
    }
  }

  /** The leader is lost. */
  lost(): void {
    this.#reached = false;
    for (const [id, waiting] of this.#waiting) {
      if (isRepeatable(waiting.request)) waiting.isSent = false;
      else if (waiting.isSent) this.#refuse(id, waiting, LEADER_LOST);
    }
  }

  /** Those that arrived at `before` or earlier, and that nobody has heard, are given up. */
  expire(before: number): void {
    if (this.#reached) return;
    for (const [id, waiting] of this.#waiting) {
      if (!waiting.isSent && waiting.arrived <= before) this.#refuse(id, waiting, NOBODY_LEADS);
    }
  }

  /** False: nothing of the kind was asked here. */
  replied({ id, accepted, body }: Extract<ShardFrame, { kind: 'reply' }>): boolean {
    const waiting = this.#waiting.get(id);
    if (waiting === undefined) return false;
    this.#waiting.delete(id);
    // The body is a view of its batch, and the waiter reads it later.
    if (accepted) waiting.resolve(body.slice());
    else waiting.reject(decodeRefusal(body));
    return true;
  }

  #refuse(id: number, waiting: Waiting, words: string): void {
    this.#waiting.delete(id);
    waiting.reject(new AdminError('unavailable', words));
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

/** Done twice, it is as if done once. */
function isRepeatable(request: ShardRequest): boolean {
  const { kind } = request;
  if (kind === 'declare' || kind === 'take-transfer') return true;
  // These change nothing.
  if (kind === 'list' || kind === 'show' || kind === 'peek') return true;
  return isPlaceRequest(request) || isSessionRequest(request) || isRetainedRequest(request);
}
