/**
 * The side of the client of SCRAM-SHA-256 (RFC 5802, RFC 7677), written from the formulas, and by
 * fields that a test may spoil.
 */

import { createHash, createHmac, pbkdf2Sync, randomBytes } from 'node:crypto';

export const METHOD = 'SCRAM-SHA-256';

export interface ScramClientParts {
  readonly user: string;
  readonly password: string;
  readonly nonce?: string;
  /** With the comma at its end. */
  readonly header?: string;
}

const hmac = (key: Uint8Array, text: string): Buffer =>
  createHmac('sha256', key).update(text).digest();

export class ScramClient {
  readonly #parts: ScramClientParts;
  readonly header: string;
  readonly bare: string;
  /** What the server has to show, once `final` was asked for. */
  serverSignature = '';

  constructor(parts: ScramClientParts) {
    const { user, nonce = randomBytes(18).toString('base64'), header = 'n,,' } = parts;
    this.#parts = parts;
    this.header = header;
    this.bare = `n=${user.replaceAll('=', '=3D').replaceAll(',', '=2C')},r=${nonce}`;
  }

  get first(): Buffer {
    return Buffer.from(this.header + this.bare);
  }

  /** To what the server said; `spoil` changes a field of it before it is signed. */
  final(challenge: Uint8Array, spoil: { header?: string; nonce?: string } = {}): Buffer {
    const said = Buffer.from(challenge).toString();
    const { nonce, salt, iterations } = challengeOf(said);
    const key = pbkdf2Sync(this.#parts.password, salt, iterations, 32, 'sha256');
    const clientKey = hmac(key, 'Client Key');
    const storedKey = createHash('sha256').update(clientKey).digest();
    const header = Buffer.from(spoil.header ?? this.header).toString('base64');
    const without = `c=${header},r=${spoil.nonce ?? nonce}`;
    const authMessage = `${this.bare},${said},${without}`;
    const signature = hmac(storedKey, authMessage);
    const proof = clientKey.map((byte, at) => byte ^ (signature[at] as number));
    const serverKey = hmac(key, 'Server Key');
    this.serverSignature = `v=${hmac(serverKey, authMessage).toString('base64')}`;
    return Buffer.from(`${without},p=${Buffer.from(proof).toString('base64')}`);
  }
}

export function challengeOf(said: Uint8Array | string): {
  readonly nonce: string;
  readonly salt: Buffer;
  readonly iterations: number;
} {
  const text = typeof said === 'string' ? said : Buffer.from(said).toString();
  const [, nonce = '', salt = '', iterations] = /^r=([^,]+),s=([^,]+),i=(\d+)$/.exec(text) ?? [];
  return { nonce, salt: Buffer.from(salt, 'base64'), iterations: Number(iterations) };
}
