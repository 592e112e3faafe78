/**
 * The messages of SCRAM as clients write them (RFC 5802 section 7). Pure; what is no message is a
 * word, and nothing of it is kept.
 *
 *     first:  gs2-header "n=" saslname ",r=" c-nonce ["," extensions]
 *     final:  "c=" base64(gs2-header) ",r=" nonce ["," extensions] ",p=" base64(ClientProof)
 *
 *     gs2-header = ("n" | "y" | "p=" cb-name) "," ["a=" saslname] ","
 *
 * A mandatory extension ("m=...") is refused, as section 5.1 asks; others are let through.
 */

import { isUtf8 } from 'node:buffer';

import { bytesOf } from './scram-keys.ts';

/**
 * Of a message, in bytes: a name of 256 characters that are all escaped, an authorization id of the
 * same, and nonces far larger than anybody has.
 */
export const MESSAGE_BYTES_MAX = 8192;

export interface ClientFirst {
  /** Repeated by the last message, under "c=". */
  readonly gs2Header: string;
  /** As it was written, less escapes. */
  readonly user: string;
  /** For whom it wants to act; undefined: for itself. */
  readonly actsFor: string | undefined;
  readonly nonce: string;
  /** The message without its gs2-header, as it was written. */
  readonly bare: string;
}

export interface ClientFinal {
  readonly gs2Header: Buffer;
  readonly nonce: string;
  readonly proof: Buffer;
  /** As it was written. */
  readonly withoutProof: string;
}

export type MessageFault = 'malformed' | 'channel-binding';

const EXTENSIONS = '(?:,[A-Za-z]=[^,\\0]+)*';
const NONCE = '[\\x21-\\x2b\\x2d-\\x7e]+';
const HEADER = /^([ny]|p=[A-Za-z0-9.-]+),(?:a=([^,\0]+))?,/;
const FIRST = new RegExp(`^n=([^,\\0]+),r=(${NONCE})${EXTENSIONS}$`);
const FINAL = new RegExp(`^(c=([A-Za-z0-9+/=]+),r=(${NONCE})${EXTENSIONS}),p=([A-Za-z0-9+/=]+)$`);

export function parseClientFirst(data: Uint8Array): ClientFirst | MessageFault {
  const text = textOf(data);
  const [gs2Header, flag = '', actsForName] = HEADER.exec(text ?? '') ?? [];
  if (text === undefined || gs2Header === undefined) return 'malformed';
  if (flag.startsWith('p=')) return 'channel-binding';
  const bare = text.slice(gs2Header.length);
  const [, name = '', nonce] = FIRST.exec(bare) ?? [];
  const user = unescaped(name);
  const actsFor = actsForName === undefined ? undefined : unescaped(actsForName);
  const isGood = user !== undefined && (actsForName === undefined || actsFor !== undefined);
  if (nonce === undefined || !isGood) return 'malformed';
  return { gs2Header, user, actsFor, nonce, bare };
}

export function parseClientFinal(data: Uint8Array): ClientFinal | MessageFault {
  const [, withoutProof, headerWord = '', nonce, proofWord = ''] =
    FINAL.exec(textOf(data) ?? '') ?? [];
  const gs2Header = bytesOf(headerWord);
  const proof = bytesOf(proofWord);
  if (withoutProof === undefined || nonce === undefined) return 'malformed';
  if (gs2Header === undefined || proof === undefined) return 'malformed';
  return { gs2Header, nonce, proof, withoutProof };
}

function textOf(data: Uint8Array): string | undefined {
  if (data.length > MESSAGE_BYTES_MAX || !isUtf8(data)) return undefined;
  return Buffer.from(data).toString();
}

/** A name in which "," is "=2C" and "=" is "=3D"; undefined: it has another "=". */
function unescaped(saslname: string): string | undefined {
  if (/=(?!2C|3D)/.test(saslname)) return undefined;
  return saslname.replaceAll('=2C', ',').replaceAll('=3D', '=');
}
