/**
 * A configuration as bytes: the payload of its entry in the log and on the wire, and what a
 * checkpoint says of it. Little-endian.
 *
 *   offset size
 *        0  u8   format version, 1
 *        1  u16  number of members
 *        3       each: u8 role, u16 length of the id, id, u16 length of the address, address
 *
 * Names are UTF-8. Bytes that are no configuration are told as a `ConfigurationError`, never taken
 * for one.
 */

import type { Configuration, Member, MemberRole } from '../core/configuration.ts';

const FORMAT = 1;
const HEAD_BYTES = 3;
const MEMBER_BYTES = 5;
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
  const named = members.map(({ id, role, address }) => {
    const names = [encoder.encode(id), encoder.encode(address)] as const;
    for (const { length } of names) {
      if (length > NAME_BYTES_MAX) throw new RangeError(`the name of member ${id} is too long`);
    }
    return { role: ROLES.indexOf(role), names };
  });
  let length = HEAD_BYTES;
  for (const { names } of named) length += MEMBER_BYTES + names[0].length + names[1].length;
  const bytes = new Uint8Array(length);
  const view = new DataView(bytes.buffer);
  bytes[0] = FORMAT;
  view.setUint16(1, members.length, true);
  let at = HEAD_BYTES;
  for (const { role, names } of named) {
    bytes[at++] = role;
    for (const name of names) {
      view.setUint16(at, name.length, true);
      bytes.set(name, at + 2);
      at += 2 + name.length;
    }
  }
  return bytes;
}

/** Throws `ConfigurationError`. */
export function decodeConfiguration(bytes: Uint8Array): Configuration {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < HEAD_BYTES) throw new ConfigurationError('it is cut off');
  if (bytes[0] !== FORMAT) throw new ConfigurationError(`it has format ${bytes[0] ?? 'none'}`);
  const members: Member[] = [];
  let at = HEAD_BYTES;
  const name = (): string => {
    if (at + 2 > bytes.length) throw new ConfigurationError('it is cut off');
    const end = at + 2 + view.getUint16(at, true);
    if (end > bytes.length) throw new ConfigurationError('it is cut off');
    const text = textOf(bytes.subarray(at + 2, end));
    at = end;
    return text;
  };
  for (let left = view.getUint16(1, true); left > 0; left--) {
    const number = bytes[at++];
    const role = number === undefined ? undefined : ROLES[number];
    if (role === undefined) throw new ConfigurationError(`a member has role ${number ?? 'none'}`);
    members.push({ id: name(), role, address: name() });
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
