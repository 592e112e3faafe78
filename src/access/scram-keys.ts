/**
 * By what SCRAM-SHA-256 knows a password (RFC 5802 section 3, RFC 7677): a word of the users file,
 * beside or in place of that of scrypt.
 *
 *     scram-sha-256:<iterations>:<salt>:<StoredKey>:<ServerKey>      the last three in base64
 *
 *     SaltedPassword = PBKDF2(SHA-256, SASLprep(password), salt, iterations)
 *     StoredKey      = SHA-256(HMAC(SaltedPassword, "Client Key"))
 *     ServerKey      = HMAC(SaltedPassword, "Server Key")
 *
 * The client computes PBKDF2 at each login, the server only here, when the word is made. Neither
 * key lets anybody in as the client; who has ServerKey can pass for the server.
 */

import { createHash, createHmac, pbkdf2, randomBytes } from 'node:crypto';

import { prepareStored } from './saslprep.ts';

export interface ScramKeys {
  /** As in the file: two that are the same know the same password. */
  readonly word: string;
  readonly iterations: number;
  readonly salt: Buffer;
  readonly storedKey: Buffer;
  readonly serverKey: Buffer;
}

/** Iterations of PBKDF2. RFC 7677 section 4 asks for the least; more is dearer for clients. */
export const ITERATIONS_RANGE = { least: 4096, most: 10_000_000 } as const;
export const SCRAM_SALT_BYTES = 16;
export const SCRAM_KEY_BYTES = 32;

export const SCRAM_PREFIX = 'scram-sha-256:';
const SALT_BYTES_RANGE = [16, 64] as const;

/** Undefined: SASLprep has no form of the password. Takes its time in the thread pool. */
export async function makeScramKeys(
  password: string,
  iterations: number,
  salt: Buffer = randomBytes(SCRAM_SALT_BYTES),
): Promise<ScramKeys | undefined> {
  const prepared = prepareStored(password);
  if (prepared === undefined) return undefined;
  const salted = await derive(prepared, { salt, iterations });
  const storedKey = createHash('sha256').update(mac(salted, 'Client Key')).digest();
  const serverKey = mac(salted, 'Server Key');
  const parts = [salt, storedKey, serverKey].map((bytes) => bytes.toString('base64'));
  const word = `${SCRAM_PREFIX}${[iterations, ...parts].join(':')}`;
  return { word, iterations, salt, storedKey, serverKey };
}

/** Undefined: it is none, or its numbers are out of range. */
export function parseScramKeys(word: string): ScramKeys | undefined {
  const form = /^scram-sha-256:(\d{1,8}):([^:]+):([^:]+):([^:]+)$/;
  const [, number, saltWord = '', storedWord = '', serverWord = ''] = form.exec(word) ?? [];
  const iterations = Number(number);
  const { least, most } = ITERATIONS_RANGE;
  if (!(iterations >= least && iterations <= most)) return undefined;
  const [saltLeast, saltMost] = SALT_BYTES_RANGE;
  const salt = bytesOf(saltWord);
  const storedKey = bytesOf(storedWord);
  const serverKey = bytesOf(serverWord);
  if (salt === undefined || salt.length < saltLeast || salt.length > saltMost) return undefined;
  if (storedKey?.length !== SCRAM_KEY_BYTES) return undefined;
  if (serverKey?.length !== SCRAM_KEY_BYTES) return undefined;
  return { word, iterations, salt, storedKey, serverKey };
}

/** Undefined: it is no base64 as RFC 4648 section 4 writes it, with its padding. */
export function bytesOf(word: string): Buffer | undefined {
  const bytes = Buffer.from(word, 'base64');
  return bytes.toString('base64') === word ? bytes : undefined;
}

export function mac(key: Uint8Array, text: string | Uint8Array): Buffer {
  return createHmac('sha256', key).update(text).digest();
}

function derive(
  prepared: string,
  { salt, iterations }: Pick<ScramKeys, 'salt' | 'iterations'>,
): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    pbkdf2(prepared, salt, iterations, SCRAM_KEY_BYTES, 'sha256', (error, key) => {
      if (error === null) resolve(key);
      else reject(error);
    });
  });
}
