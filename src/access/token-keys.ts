/**
 * The keys by which tokens are judged, from a file: a secret, a public key, or a set of public keys
 * (RFC 7517).
 *
 * A file has keys of one kind, and each kind its own algorithms, so that a public key is never used
 * as a secret (RFC 8725 3.1, 3.2). Private keys are refused where public ones belong: a broker has
 * no use for them. Each key has an id by its content, by which a token is known to be of a key that
 * is gone.
 */

import { createHash, createPublicKey, type JsonWebKey, KeyObject } from 'node:crypto';
import {
  createLocalJWKSet,
  type CryptoKey,
  errors,
  type JSONWebKeySet,
  type JWTVerifyGetKey,
} from 'jose';
import { type AccessFile, AccessFileError, readText } from './lines.ts';

/** Those with a shared secret; the bytes that it has at least (RFC 7518 3.2). */
export const SECRET_BYTES: Readonly<Record<string, number>> = { HS256: 32, HS384: 48, HS512: 64 };
/** The kind of key of each (RFC 7518 3.1, RFC 8037 3.1, RFC 9864). */
export const KEY_TYPES: Readonly<Record<string, string>> = {
  RS256: 'rsa',
  RS384: 'rsa',
  RS512: 'rsa',
  PS256: 'rsa',
  PS384: 'rsa',
  PS512: 'rsa',
  ES256: 'prime256v1',
  ES384: 'secp384r1',
  ES512: 'secp521r1',
  EdDSA: 'ed25519',
  Ed25519: 'ed25519',
};

export interface TokenKeyFile {
  readonly kind: 'secret' | 'public-key' | 'jwks';
  readonly path: string;
  /** Of `SECRET_BYTES` for a secret, else of `KEY_TYPES`. */
  readonly algorithms: readonly string[];
}

export interface TokenKeys {
  readonly find: JWTVerifyGetKey;
  /** Whether the key with this id is still among them. */
  has(id: string): boolean;
  idOf(key: CryptoKey | KeyObject | Uint8Array): string;
}

const SETTINGS = {
  secret: 'access.jwt.secret_file',
  'public-key': 'access.jwt.public_key_file',
  jwks: 'access.jwt.jwks_file',
} as const;
const FILE_BYTES_MAX = 1024 * 1024;
const KEYS_MAX = 100;
const RSA_BITS_MIN = 2048;

/** Rejects with an `AccessFileError`; what the file holds is not told. */
export async function readTokenKeys(wanted: TokenKeyFile): Promise<TokenKeys> {
  const { kind, path, algorithms } = wanted;
  const file = { key: SETTINGS[kind], path, maxBytes: FILE_BYTES_MAX };
  const text = await readText(file);
  if (kind === 'secret') return ofSecret(file, text, algorithms);
  return kind === 'jwks' ? ofSet(file, text, algorithms) : ofPublicKey(file, text, algorithms);
}

function ofSecret(file: AccessFile, text: string, algorithms: readonly string[]): TokenKeys {
  const secret = Buffer.from(text.replace(/\r?\n$/, ''));
  const least = Math.max(...algorithms.map((name) => SECRET_BYTES[name] ?? 0));
  if (secret.length < least) {
    throw new AccessFileError(file, `the secret has less than the ${least} bytes that it needs`);
  }
  return keysOf([contentId(secret)], async () => secret);
}

function ofPublicKey(file: AccessFile, text: string, algorithms: readonly string[]): TokenKeys {
  if (text.includes('PRIVATE KEY')) throw new AccessFileError(file, PRIVATE);
  let key: KeyObject;
  try {
    key = createPublicKey(text);
  } catch {
    throw new AccessFileError(file, 'is not a public key in PEM');
  }
  const problem = keyProblem(key, algorithms);
  if (problem !== undefined) throw new AccessFileError(file, problem);
  const kind = kindOf(key);
  return keysOf([contentId(key)], async ({ alg }) => {
    if (KEY_TYPES[alg] !== kind) throw new errors.JWKSNoMatchingKey();
    return key;
  });
}

function ofSet(file: AccessFile, text: string, algorithms: readonly string[]): TokenKeys {
  const set = parseSet(text);
  if (set === undefined) throw new AccessFileError(file, 'is not a set of JSON web keys');
  if (set.keys.length > KEYS_MAX) {
    throw new AccessFileError(file, `has more than ${KEYS_MAX} keys`);
  }
  const ids: string[] = [];
  const fitting: JSONWebKeySet['keys'] = [];
  let problem = 'has no key for the algorithms of access.jwt.algorithms';
  for (const each of set.keys) {
    if ('k' in each || 'd' in each) throw new AccessFileError(file, PRIVATE);
    const key = publicKeyOf(each as JsonWebKey);
    // RFC 7517 5: what is not understood is passed over.
    if (key === undefined) continue;
    const wrong = keyProblem(key, algorithms);
    if (wrong === undefined) {
      ids.push(contentId(key));
      fitting.push(each);
    } else problem = wrong;
  }
  if (fitting.length === 0) throw new AccessFileError(file, problem);
  return keysOf(ids, createLocalJWKSet({ keys: fitting }));
}

const PRIVATE = 'has a private or secret key, where only public ones belong';

function parseSet(text: string): JSONWebKeySet | undefined {
  try {
    const set: unknown = JSON.parse(text);
    if (typeof set !== 'object' || set === null || !('keys' in set)) return undefined;
    const { keys } = set;
    const isGood =
      Array.isArray(keys) && keys.every((key) => typeof key === 'object' && key !== null);
    return isGood ? (set as JSONWebKeySet) : undefined;
  } catch {
    return undefined;
  }
}

function publicKeyOf(key: JsonWebKey): KeyObject | undefined {
  try {
    return createPublicKey({ key, format: 'jwk' });
  } catch {
    return undefined;
  }
}

/** In words; undefined: it serves one of the algorithms. */
function keyProblem(key: KeyObject, algorithms: readonly string[]): string | undefined {
  const bits = key.asymmetricKeyDetails?.modulusLength;
  if (bits !== undefined && bits < RSA_BITS_MIN) {
    return `has an RSA key of less than ${RSA_BITS_MIN} bits`;
  }
  const kind = kindOf(key);
  const fits = algorithms.some((name) => KEY_TYPES[name] === kind);
  return fits ? undefined : 'has no key for the algorithms of access.jwt.algorithms';
}

/** In the words of `KEY_TYPES`. */
function kindOf({
  asymmetricKeyType: type,
  asymmetricKeyDetails: details,
}: KeyObject): string | undefined {
  return type === 'ec' ? details?.namedCurve : type;
}

function keysOf(ids: readonly string[], find: JWTVerifyGetKey): TokenKeys {
  const known = new Set(ids);
  const computed = new WeakMap<object, string>();
  return {
    find,
    has: (id) => known.has(id),
    idOf(key) {
      let id = computed.get(key);
      if (id === undefined) {
        id = contentId(key);
        computed.set(key, id);
      }
      return id;
    },
  };
}

function contentId(key: CryptoKey | KeyObject | Uint8Array): string {
  const hash = createHash('sha256');
  if (key instanceof Uint8Array) return hash.update(key).digest('base64');
  const object = key instanceof KeyObject ? key : KeyObject.from(key);
  return hash.update(object.export({ type: 'spki', format: 'der' })).digest('base64');
}
