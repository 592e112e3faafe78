/**
 * Reads the topic name of PUBLISH, and remembers the one of last time, as bytes and as text.
 *
 * Most clients publish to one topic many times. Comparing the bytes costs a quarter of making a new
 * string, and the same string object again has its hash at hand for the router. It never changes
 * what is decoded.
 */

import { Buffer } from 'node:buffer';

import { utf8Text } from '../bytes.ts';
import { Faults, type ProtocolError } from './protocol-error.ts';
import { topicNameFault } from './topic.ts';

/** A longer topic is not remembered: a connection pins little. */
const BYTES_MAX = 128;

const HASH = 0x23;
const PLUS = 0x2b;

export class TopicReader {
  #bytes: Buffer | undefined;
  /** 0: none is remembered. */
  #length = 0;
  #text = '';

  /** The topic name in `bytes` from `start` to `end`; empty is for the caller to judge. */
  read(bytes: Buffer, start: number, end: number): string | ProtocolError {
    const length = end - start;
    if (length === 0) return '';
    if (length === this.#length && this.#isSame(bytes, start)) return this.#text;
    return length <= BYTES_MAX && this.#remember(bytes, start, length)
      ? this.#text
      : readTopicName(bytes, start, end);
  }

  #isSame(bytes: Buffer, start: number): boolean {
    const known = this.#bytes as Buffer;
    for (let index = 0; index < this.#length; index++) {
      if (known[index] !== bytes[start + index]) return false;
    }
    return true;
  }

  /** Checks and copies in one pass; false if the name is not plain ASCII or not valid. */
  #remember(bytes: Buffer, start: number, length: number): boolean {
    const known = (this.#bytes ??= Buffer.allocUnsafeSlow(BYTES_MAX));
    this.#length = 0;
    for (let index = 0; index < length; index++) {
      const byte = bytes[start + index] as number;
      if (byte >= 0x80 || byte === HASH || byte === PLUS || byte === 0) return false;
      known[index] = byte;
    }
    this.#length = length;
    this.#text = bytes.toString('latin1', start, start + length);
    return true;
  }
}

function readTopicName(bytes: Buffer, start: number, end: number): string | ProtocolError {
  const topic = utf8Text(bytes, start, end);
  if (topic === undefined) return Faults.invalidUtf8;
  switch (topicNameFault(topic)) {
    case undefined:
      return topic;
    case 'nul':
      return Faults.nulInString;
    case 'wildcard':
      return Faults.topicWildcard;
    case 'empty':
      return Faults.topicEmpty;
  }
}
