/** The header of what goes over a link for a shard (the layout is in `peer-links.ts`). */

import { LINK_HEADER_BYTES, LinkKind } from './peer-links.ts';
import { CodecError, readU64, writeU64 } from './wire.ts';

export interface LinkFrame {
  readonly kind: LinkKind;
  readonly session: number;
  /** A view. */
  readonly body: Uint8Array;
}

const SESSION_AT = 4;

export function linkHeader(kind: LinkKind, session: number): Uint8Array {
  const header = new Uint8Array(LINK_HEADER_BYTES);
  header[0] = kind;
  writeU64(header, SESSION_AT, session);
  return header;
}

export function readLinkFrame(bytes: Uint8Array): LinkFrame {
  if (bytes.length < LINK_HEADER_BYTES) throw new CodecError('truncated', 'no header of a link');
  const kind = Object.values(LinkKind).find((each) => each === bytes[0]);
  if (kind === undefined) throw new CodecError('unknown-kind', 'an unknown word over a link');
  return { kind, session: readU64(bytes, SESSION_AT), body: bytes.subarray(LINK_HEADER_BYTES) };
}
