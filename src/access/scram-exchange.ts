/**
 * One exchange of SCRAM-SHA-256, on the side of the server (RFC 5802 section 3, RFC 7677):
 *
 *     client: name, nonce              server: nonce of both, salt, iterations
 *     client: proof over all of that   server: its own signature over it
 *
 * It takes some 40 us of hashing and waits for nothing. The names that are there and those that are
 * not take the same way to the end: `keysOf` has keys for everybody. What fails ends it.
 */

import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';

import { prepareQuery } from './saslprep.ts';
import { mac, SCRAM_KEY_BYTES, type ScramKeys } from './scram-keys.ts';
import {
  type ClientFirst,
  type MessageFault,
  parseClientFinal,
  parseClientFirst,
} from './scram-message.ts';

export type ScramStep =
  | { readonly kind: 'ask'; readonly data: Uint8Array }
  /** Whoever has the password of these keys is there; `data` shows him that we have the keys. */
  | {
      readonly kind: 'proved';
      readonly user: string;
      readonly keys: ScramKeys;
      readonly data: Uint8Array;
    }
  | { readonly kind: 'failed'; readonly why: MessageFault | 'wrong' };

/** RFC 5802 section 5.1 asks for a nonce that nobody guesses or sees again: 24 bytes at random. */
const NONCE_BYTES = 24;

export interface ScramParts {
  /** Of a user in the form of SASLprep; such as are not there have keys that no password fits. */
  readonly keysOf: (user: string) => ScramKeys;
  /** Printable and without a comma. */
  readonly serverNonce?: string;
}

interface Challenge {
  readonly first: ClientFirst;
  readonly user: string;
  readonly keys: ScramKeys;
  readonly nonce: string;
  readonly text: string;
}

export class ScramExchange {
  readonly #parts: ScramParts;
  #challenge: Challenge | undefined;
  #over = false;

  constructor(parts: ScramParts) {
    this.#parts = parts;
  }

  /** What the client says next. `data` is looked at during the call. */
  next(data: Uint8Array): ScramStep {
    if (this.#over) return { kind: 'failed', why: 'malformed' };
    const step =
      this.#challenge === undefined ? this.#ask(data) : this.#judge(this.#challenge, data);
    this.#over = step.kind !== 'ask';
    return step;
  }

  #ask(data: Uint8Array): ScramStep {
    const first = parseClientFirst(data);
    if (typeof first === 'string') return { kind: 'failed', why: first };
    const user = prepareQuery(first.user);
    if (user === undefined) return { kind: 'failed', why: 'malformed' };
    const keys = this.#parts.keysOf(user);
    const { serverNonce = randomBytes(NONCE_BYTES).toString('base64') } = this.#parts;
    const nonce = first.nonce + serverNonce;
    const text = `r=${nonce},s=${keys.salt.toString('base64')},i=${keys.iterations}`;
    this.#challenge = { first, user, keys, nonce, text };
    return { kind: 'ask', data: Buffer.from(text) };
  }

  #judge({ first, user, keys, nonce, text }: Challenge, data: Uint8Array): ScramStep {
    const final = parseClientFinal(data);
    if (typeof final === 'string') return { kind: 'failed', why: final };
    const authMessage = `${first.bare},${text},${final.withoutProof}`;
    const isBound = final.gs2Header.equals(Buffer.from(first.gs2Header)) && final.nonce === nonce;
    // There is nobody who acts for others (RFC 5802 section 5.1, "a=").
    const isForItself = first.actsFor === undefined || prepareQuery(first.actsFor) === user;
    if (!isProof(final.proof, keys, authMessage) || !isBound || !isForItself) {
      return { kind: 'failed', why: 'wrong' };
    }
    const signature = mac(keys.serverKey, authMessage).toString('base64');
    return { kind: 'proved', user, keys, data: Buffer.from(`v=${signature}`) };
  }
}

/** ClientProof = ClientKey XOR HMAC(StoredKey, AuthMessage), and StoredKey = H(ClientKey). */
function isProof(proof: Buffer, { storedKey }: ScramKeys, authMessage: string): boolean {
  if (proof.length !== SCRAM_KEY_BYTES) return false;
  const clientKey = mac(storedKey, authMessage);
  for (let at = 0; at < SCRAM_KEY_BYTES; at++) {
    clientKey[at] = (clientKey[at] as number) ^ (proof[at] as number);
  }
  return timingSafeEqual(createHash('sha256').update(clientKey).digest(), storedKey);
}
