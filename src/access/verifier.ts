/**
 * By what a password is known: scrypt (RFC 7914) with its parameters, a word of the users file.
 *
 *     scrypt:<log2 N>:<r>:<p>:<salt, base64>:<key, base64>
 *
 * The parameters stand with the key, so that old ones stay good when new ones get dearer. They are
 * bounded: a check has 128 N r bytes in use, and nothing from a file takes more than 128 MiB.
 */

import { randomBytes, scrypt, timingSafeEqual } from 'node:crypto';

export interface Verifier {
  /** As in the file: two that are the same know the same password. */
  readonly word: string;
  readonly cost: ScryptCost;
  readonly salt: Buffer;
  readonly key: Buffer;
}

export interface ScryptCost {
  readonly logN: number;
  readonly r: number;
  readonly p: number;
}

/** log2 N that may be asked for; each step doubles time and memory. */
export const COST_RANGE = { least: 10, most: 17, usual: 14 } as const;
export const PASSWORD_BYTES_MAX = 1024;

const R = 8;
const R_MAX = 16;
const P_MAX = 16;
const MEMORY_MAX = 128 * 1024 * 1024;
const SALT_BYTES = 16;
const KEY_BYTES = 32;
const BYTES_RANGE = [16, 64] as const;

export async function makeVerifier(password: Uint8Array, logN: number): Promise<Verifier> {
  const cost = { logN, r: R, p: 1 };
  const salt = randomBytes(SALT_BYTES);
  const key = await derive(password, { cost, salt }, KEY_BYTES);
  const parts = ['scrypt', logN, R, 1, salt.toString('base64'), key.toString('base64')];
  return { word: parts.join(':'), cost, salt, key };
}

/** Undefined: it is none, or costs more than may be. */
export function parseVerifier(word: string): Verifier | undefined {
  const form = /^scrypt:(\d{1,2}):(\d{1,2}):(\d{1,2}):([A-Za-z0-9+/]+=*):([A-Za-z0-9+/]+=*)$/;
  const [, logNWord, rWord, pWord, saltWord = '', keyWord = ''] = form.exec(word) ?? [];
  const cost = { logN: Number(logNWord), r: Number(rWord), p: Number(pWord) };
  const salt = bytesOf(saltWord);
  const key = bytesOf(keyWord);
  if (salt === undefined || key === undefined || !isBounded(cost)) return undefined;
  return { word, cost, salt, key };
}

function isBounded({ logN, r, p }: ScryptCost): boolean {
  const inRange = logN >= COST_RANGE.least && r >= 1 && r <= R_MAX && p >= 1 && p <= P_MAX;
  return inRange && logN <= COST_RANGE.most && 128 * 2 ** logN * r <= MEMORY_MAX;
}

/** Undefined: not the base64 of 16 to 64 bytes. */
function bytesOf(word: string): Buffer | undefined {
  const bytes = Buffer.from(word, 'base64');
  const [least, most] = BYTES_RANGE;
  const isGood = bytes.length >= least && bytes.length <= most;
  return isGood && bytes.toString('base64') === word ? bytes : undefined;
}

/** Takes its time in the thread pool; compares in constant time. */
export async function isRight(verifier: Verifier, password: Uint8Array): Promise<boolean> {
  const key = await derive(password, verifier, verifier.key.length);
  return timingSafeEqual(key, verifier.key);
}

function derive(
  password: Uint8Array,
  { cost, salt }: Pick<Verifier, 'cost' | 'salt'>,
  bytes: number,
): Promise<Buffer> {
  const { logN, r, p } = cost;
  const options = { N: 2 ** logN, r, p, maxmem: 2 * MEMORY_MAX };
  return new Promise((resolve, reject) => {
    scrypt(password, salt, bytes, options, (error, key) => {
      if (error === null) resolve(key);
      else reject(error);
    });
  });
}
