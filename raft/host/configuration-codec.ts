/**
 * A configuration as bytes: the payload of its entry in the log and on the wire, and what a
 * checkpoint says of it. Little-endian.
 *
 *   offset size
 *        0  u8   format version, 2; 1 where no member has an incarnation
 *        1  u16  number of members
 *        3       each: u8 role, u16 length of the id, id, u16 length of the address, address,
 *                in format 2: u16 length of the incarnation, incarnation; length 0: it has none
 *
 * Names are UTF-8. Bytes that are no configuration are told as a `ConfigurationError`, never taken
 * for one.
 */

import type { Configuration, Member, MemberRole } from '../core/configuration.ts';

const FORMAT = 2;
const FORMAT_WITHOUT_INCARNATIONS = 1;
const HEAD_BYTES = 3;
const ROLE_BYTES = 1;
const LENGTH_BYTES = 2;
const NAME_BYTES_MAX = 0xffff;
const ROLES = ['voter', 'learner', 'joining'] as const satisfies readonly MemberRole[];

export class ConfigurationError extends Error {
  constructor(what: string) {
    super(`a configuration cannot be read: ${what}`);
    this.name = 'ConfigurationError';
  }
}

export function encodeConfiguration({ members }: Configuration): Uint8Array {
  const encoder = new TextEncoder();
  const isKnown = members.some(({ incarnation }) => incarnation !== undefined);
  const named = members.map(({ id, role, address, incarnation = '' }) => {
    const names = [encoder.encode(id), encoder.encode(address)];
    if (isKnown) names.push(encoder.encode(incarnation));
    for (const { length } of names) {
      if (length > NAME_BYTES_MAX) throw new RangeError(`the name of member ${id} is too long`);
    }
    return { role: ROLES.indexOf(role), names };
  });
  let length = HEAD_BYTES;
  for (const { names } of named) {
    length += ROLE_BYTES;
    for (const name of names) length += LENGTH_BYTES + name.length;
  }
  const bytes = new Uint8Array(length);
  const view = new DataView(bytes.buffer);
  bytes[0] = isKnown ? FORMAT : FORMAT_WITHOUT_INCARNATIONS;
  view.setUint16(1, members.length, true);
  let at = HEAD_BYTES;
  for (const { role, names } of named) {
    bytes[at++] = role;
    for (const name of names) {
      view.setUint16(at, name.length, true);
      bytes.set(name, at + LENGTH_BYTES);
      at += LENGTH_BYTES + name.length;
    }
  }
  return bytes;
}

/** Throws `ConfigurationError`. */
export function decodeConfiguration(bytes: Uint8Array): Configuration {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < HEAD_BYTES) throw new ConfigurationError('it is cut off');
  const format = bytes[0] ?? 0;
  if (format !== FORMAT && format !== FORMAT_WITHOUT_INCARNATIONS) {
    throw new ConfigurationError(`it has format ${format}`);
  }
  const members: Member[] = [];
  let at = HEAD_BYTES;
  const name = (): string => {
    if (at + LENGTH_BYTES > bytes.length) throw new ConfigurationError('it is cut off');
    const end = at + LENGTH_BYTES + view.getUint16(at, true);
    if (end > bytes.length) throw new ConfigurationError('it is cut off');
    const text = textOf(bytes.subarray(at + LENGTH_BYTES, end));
    at = end;
    return text;
  };
  for (let left = view.getUint16(1, true); left > 0; left--) {
    const number = bytes[at++];
    const role = number === undefined ? undefined : ROLES[number];
    if (role === undefined) throw new ConfigurationError(`a member has role ${number ?? 'none'}`);
    const member = { id: name(), role, address: name() };
    const incarnation = format === FORMAT ? name() : '';
    members.push(incarnation === '' ? member : { ...member, incarnation });
  }
  if (at !== bytes.length) throw new ConfigurationError('something stands behind it');
  return { members };
}

function textOf(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new ConfigurationError('a name is not UTF-8');
  }
}
