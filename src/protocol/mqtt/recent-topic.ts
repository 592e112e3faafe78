/**
 * The topic that a client published to last, as bytes and as text.
 *
 * Most clients publish to one topic many times. Comparing the bytes costs a quarter of making a new string,
 * and the same string object again has its hash at hand for the router. It never changes what is decoded.
 */

import { Buffer } from 'node:buffer';

/** A longer topic is not remembered: a connection pins little. */
const BYTES_MAX = 128;

export class RecentTopic {
  #bytes: Buffer | undefined;
  #length = 0;
  #text = '';

  /** The text of these bytes if they are the topic of last time. */
  find(bytes: Buffer, start: number, length: number): string | undefined {
    const known = this.#bytes;
    if (known === undefined || length !== this.#length) return undefined;
    for (let index = 0; index < length; index++) {
      if (known[index] !== bytes[start + index]) return undefined;
    }
    return this.#text;
  }

  /** `text` must be the text of these bytes, and a valid topic name. */
  remember(bytes: Buffer, start: number, text: string): void {
    if (text.length === 0 || text.length > BYTES_MAX) return;
    const length = Buffer.byteLength(text);
    if (length > BYTES_MAX) return;
    this.#bytes ??= Buffer.allocUnsafe(BYTES_MAX);
    bytes.copy(this.#bytes, 0, start, start + length);
    this.#length = length;
    this.#text = text;
  }
}
