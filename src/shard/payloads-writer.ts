/**
 * An answer to a question for payloads, as it is being made: each message is copied once, to where
 * it leaves from.
 *
 *     [ room for the head | bin | bin | bin ... ]
 *       `finish` writes the head right in front of the first message
 *
 * The bytes are those of `catch-up-codec.ts`. A backlog goes through here as fast as it can be
 * read, and each further copy outside of the heap would be one more look for garbage for every few
 * MiB. Bounded by who adds: the messages of one answer. How large the next one will be is guessed
 * from the last; a guess that is wrong costs a copy.
 */

import { uninitialised } from '#storage';
import { encodePayloadsHead } from './catch-up-codec.ts';

/** MessagePack: `bin 32`, and its length. */
const BIN_32 = 0xc6;
const BIN_HEAD_BYTES = 5;
const HEAD_BYTES_MIN = 256;
const FIRST_BYTES = 64 * 1024;
/** A guess is no larger: one large message says little of the next ones. */
const GUESS_BYTES_MAX = 1 << 20;

/** In bytes: what an answer will come to, most likely. */
export interface AnswerSizes {
  head: number;
  messages: number;
}

export function firstSizes(): AnswerSizes {
  return { head: HEAD_BYTES_MIN, messages: FIRST_BYTES };
}

export class PayloadsWriter {
  readonly #sizes: AnswerSizes;
  readonly #offsets: number[] = [];
  readonly #indexes: number[] = [];
  #room: Uint8Array;
  /** The first message stands here. */
  readonly #start: number;
  #end: number;

  /** `finish` learns `sizes` for the next one. */
  constructor(sizes: AnswerSizes) {
    this.#sizes = sizes;
    this.#start = sizes.head;
    this.#end = sizes.head;
    this.#room = uninitialised(sizes.head + sizes.messages);
  }

  /** Copies the message: the bytes may be another's afterwards. */
  add(offset: number, index: number, message: Uint8Array): void {
    const { length } = message;
    const at = this.#end;
    const from = at + BIN_HEAD_BYTES;
    this.#end = from + length;
    if (this.#end > this.#room.length) this.#grow(at);
    const room = this.#room;
    room[at] = BIN_32;
    room[at + 1] = length >>> 24;
    room[at + 2] = length >>> 16;
    room[at + 3] = length >>> 8;
    room[at + 4] = length;
    room.set(message, from);
    this.#offsets.push(offset);
    this.#indexes.push(index);
  }

  /** Once, and nothing is added behind it. The bytes belong to the caller. */
  finish(next: number, goneAt: number): Uint8Array {
    const head = encodePayloadsHead({
      next,
      goneAt,
      offsets: this.#offsets,
      indexes: this.#indexes,
    });
    const messages = this.#end - this.#start;
    this.#sizes.head = guess(head.length, HEAD_BYTES_MIN);
    this.#sizes.messages = guess(messages, FIRST_BYTES);
    if (head.length <= this.#start) {
      this.#room.set(head, this.#start - head.length);
      return this.#room.subarray(this.#start - head.length, this.#end);
    }
    const answer = uninitialised(head.length + messages);
    answer.set(head);
    answer.set(this.#room.subarray(this.#start, this.#end), head.length);
    return answer;
  }

  /** Up to `used` there is something to keep. */
  #grow(used: number): void {
    const larger = uninitialised(Math.max(this.#end, 2 * this.#room.length));
    larger.set(this.#room.subarray(0, used));
    this.#room = larger;
  }
}

function guess(bytes: number, least: number): number {
  return Math.min(Math.max(bytes + (bytes >>> 3), least), GUESS_BYTES_MAX);
}
