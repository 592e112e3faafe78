/**
 * Requests from the thread of the shards to whoever leads one of them, over a route of its own: a
 * session without a sender, which is told of no queue and no delivery.
 *
 * A request waits for a leader, at most `ASK_MS`; when the leader is lost while it works the
 * outcome is unknown, and the request is rejected. Whoever asks again must ask for what is safe to
 * be done twice. Bounded: more than `ASKS_MAX` at once are refused.
 */

import { AdminError } from '../broker/ports.ts';
import { CLIENT_BATCH_HEADER_BYTES, writeClientBatchHeader } from './client-frames.ts';
import type { BatchPort } from './port.ts';
import type { PlainData } from './record-codec.ts';
import { type ShardRequest, decodeBody } from './requests.ts';
import { ShardBatch } from './shard-frames.ts';
import { ShardRequests } from './shard-requests.ts';
import { CodecError, WireWriter } from './wire.ts';

/** Longer than an election, shorter than the patience of a person. */
const ASK_MS = 5_000;
const ASKS_MAX = 1_024;
const CONTROL_BYTES = 256;
/** The leader hears at the latest after so many bytes that they are worked off. */
const TAKEN_UNTOLD_MAX = 65_536;

export interface LeaderAsksOptions {
  /** That of a route. */
  readonly port: BatchPort;
  monotonicMs(): number;
  after(ms: number, action: () => void): { cancel(): void };
}

export class LeaderAsks {
  readonly #options: LeaderAsksOptions;
  readonly #control = new WireWriter(CONTROL_BYTES);
  readonly #requests: ShardRequests;
  #session = 0;
  #underWay = 0;
  #takenBytes = 0;
  #takenTold = 0;
  #turn: NodeJS.Immediate | undefined;
  #timer: { cancel(): void } | undefined;

  constructor(options: LeaderAsksOptions) {
    this.#options = options;
    this.#control.reserve(CLIENT_BATCH_HEADER_BYTES);
    const ids = { firstId: 1, step: 1, isReached: false };
    this.#requests = new ShardRequests(this.#control, () => this.#postSoon(), ids);
    options.port.onBatch((bytes) => this.#take(bytes));
  }

  /** Rejects with an AdminError: the leader's word, or `unavailable`. */
  async ask(request: ShardRequest): Promise<PlainData> {
    if (this.#underWay >= ASKS_MAX) {
      throw new AdminError('unavailable', 'too much is asked of the leader at once');
    }
    this.#requests.now = this.#options.monotonicMs();
    this.#underWay++;
    try {
      const answer = this.#requests.make(request);
      this.#watchTime();
      return decodeBody(await answer);
    } finally {
      this.#underWay--;
    }
  }

  close(): void {
    this.#timer?.cancel();
    clearImmediate(this.#turn);
    this.#requests.fail('the node stops');
    this.#options.port.close();
  }

  #watchTime(): void {
    const { oldest } = this.#requests;
    if (this.#timer !== undefined || oldest === Number.POSITIVE_INFINITY) return;
    const waitMs = Math.max(1, oldest + ASK_MS - this.#options.monotonicMs());
    this.#timer = this.#options.after(Math.ceil(waitMs), () => {
      this.#timer = undefined;
      this.#requests.expire(this.#options.monotonicMs() - ASK_MS);
      this.#watchTime();
    });
  }

  #postSoon(): void {
    this.#turn ??= setImmediate(() => {
      this.#turn = undefined;
      this.#post();
    });
  }

  #post(): void {
    const hasFrames = this.#control.length > CLIENT_BATCH_HEADER_BYTES;
    const isUntold = this.#takenBytes - this.#takenTold >= TAKEN_UNTOLD_MAX;
    if (this.#session === 0 || !(hasFrames || isUntold)) return;
    const bytes = this.#takeControl();
    const nothing = { boot: 0, firstNumber: 0, answeredUpTo: 0, commands: 0, commandBytes: 0 };
    const state = { takenBytes: this.#takenBytes, session: this.#session };
    writeClientBatchHeader(bytes, { ...nothing, ...state });
    this.#takenTold = this.#takenBytes;
    this.#options.port.post(bytes);
  }

  #takeControl(): Uint8Array {
    const bytes = this.#control.take();
    this.#control.reserve(CLIENT_BATCH_HEADER_BYTES);
    return bytes;
  }

  #take(bytes: Uint8Array): void {
    this.#takenBytes += bytes.length;
    try {
      const batch = new ShardBatch(bytes);
      for (let frame = batch.next(); frame !== undefined; frame = batch.next()) {
        if (frame.kind === 'session') this.#sessionTold(frame.session);
        else if (frame.kind === 'reply') this.#requests.replied(frame);
      }
    } catch (error) {
      if (!(error instanceof CodecError)) throw error;
      // Nobody knows what was in it, nor for whom.
      this.#requests.lost();
      this.#requests.reached();
    }
    if (this.#takenBytes - this.#takenTold >= TAKEN_UNTOLD_MAX) this.#postSoon();
  }

  /** 0: nobody is reached any more. */
  #sessionTold(session: number): void {
    if (this.#session !== 0) {
      this.#takeControl();
      this.#requests.lost();
    }
    this.#session = session;
    this.#takenBytes = 0;
    this.#takenTold = 0;
    if (session === 0) {
      this.#watchTime();
      return;
    }
    this.#requests.reached();
    this.#postSoon();
  }
}
