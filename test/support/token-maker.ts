/** Keys in files, and tokens that are signed with them. */

import { createHmac, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { type CryptoKey, SignJWT } from 'jose';
import type { TokenKeyFile } from '../../src/access/token-keys.ts';
import type { TokenSettings } from '../../src/access/tokens.ts';

/** Seconds of the wall clock of tests. */
export const NOW = 1_800_000_000;
export const SECRET = 'a secret that is long enough for HS256';

export const TOKENS: TokenSettings = {
  from: 'password',
  checkUserName: true,
  algorithms: ['HS256'],
  issuer: 'https://idp',
  audience: 'broker',
  userClaim: 'sub',
  groupsClaim: 'groups',
  rightsClaim: 'acl',
  toleranceMs: 10_000,
};

export const CLAIMS = { sub: 'tom', iss: 'https://idp', aud: 'broker', exp: NOW + 60 };

export interface Signing {
  readonly alg?: string;
  readonly key?: CryptoKey | KeyObject | Uint8Array;
  readonly kid?: string;
}

/** A claim that is undefined is left out. */
export function token(
  claims: Readonly<Record<string, unknown>> = {},
  { alg = 'HS256', key = Buffer.from(SECRET), kid }: Signing = {},
): Promise<string> {
  const header = { alg, ...(kid !== undefined && { kid }) };
  return new SignJWT({ ...CLAIMS, ...claims }).setProtectedHeader(header).sign(key);
}

/** With any header, also such as no library would sign. */
export function forged(header: unknown, claims: unknown, secret?: string | Buffer): string {
  const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const signed = `${part(header)}.${part(claims)}`;
  if (secret === undefined) return `${signed}.`;
  return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`;
}

export function rsa(modulusLength = 2048): {
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject;
} {
  return generateKeyPairSync('rsa', { modulusLength });
}

export function ec(): { readonly publicKey: KeyObject; readonly privateKey: KeyObject } {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' });
}

export function pem(key: KeyObject): string {
  return key.export({ type: 'spki', format: 'pem' }).toString();
}

export function jwks(...keys: readonly (readonly [string, KeyObject])[]): string {
  const members = keys.map(([kid, key]) => ({ ...key.export({ format: 'jwk' }), kid }));
  return JSON.stringify({ keys: members });
}

/** Writes the file of the keys, and names it. */
export async function keyFile(
  folder: string,
  kind: TokenKeyFile['kind'],
  { text, algorithms }: { readonly text: string; readonly algorithms: readonly string[] },
): Promise<TokenKeyFile> {
  const path = join(folder, 'keys');
  await writeFile(path, text);
  return { kind, path, algorithms };
}
