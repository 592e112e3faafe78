/**
 * A configuration as bytes: the payload of its entry in the log and on the wire, and what a
 * checkpoint says of it. Little-endian.
 *
 *   offset size
 *        0  u8   format version, 3; 2 without a rescue; 1 where no member has an incarnation either
 *        1  u16  number of members
 *        3       each: u8 role, u16 length of the id, id, u16 length of the address, address,
 *                from format 2: u16 length of the incarnation, incarnation; length 0: it has none
 *                in format 3, the rescue behind the members: u64 time in ms, u64 last index,
 *                u64 last term, u16 length of who, who, u16 number of those that were given up,
 *                each: u16 length of the id, id
 *
 * Names are UTF-8. Bytes that are no configuration are told as a `ConfigurationError`, never taken
 * for one.
 */

import type { Configuration, Member, MemberRole, Rescue } from '../core/configuration.ts';

const FORMAT = 3;
const FORMAT_WITHOUT_RESCUE = 2;
const FORMAT_WITHOUT_INCARNATIONS = 1;
const NOTHING = new Uint8Array(0);
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

/** Fields of a rescue before its names. */
const RESCUE_BYTES = 24;
const LOW = 2 ** 32;

export function encodeConfiguration({ members, rescue }: Configuration): Uint8Array {
  const encoder = new TextEncoder();
  const isKnown =
    rescue !== undefined || members.some(({ incarnation }) => incarnation !== undefined);
  const named = members.map(({ id, role, address, incarnation = '' }) => {
    const names = [encoder.encode(id), encoder.encode(address)];
    if (isKnown) names.push(encoder.encode(incarnation));
    return { role: ROLES.indexOf(role), names };
  });
  const given = [rescue?.by ?? '', ...(rescue?.givenUp ?? [])].map((name) => encoder.encode(name));
  const all = [...named.flatMap(({ names }) => names), ...(rescue === undefined ? [] : given)];
  let length = HEAD_BYTES + named.length * ROLE_BYTES;
  for (const name of all) {
    if (name.length > NAME_BYTES_MAX) throw new RangeError('the name of a member is too long');
    length += LENGTH_BYTES + name.length;
  }
  const bytes = new Uint8Array(length + (rescue === undefined ? 0 : RESCUE_BYTES + LENGTH_BYTES));
  const writer = new Writer(bytes);
  writer.u8(formatOf(isKnown, rescue !== undefined));
  writer.u16(members.length);
  for (const { role, names } of named) {
    writer.u8(role);
    for (const name of names) writer.name(name);
  }
  if (rescue === undefined) return bytes;
  for (const number of [rescue.atMs, rescue.lastIndex, rescue.lastTerm]) writer.u64(number);
  const [by = NOTHING, ...givenUp] = given;
  writer.name(by);
  writer.u16(givenUp.length);
  for (const name of givenUp) writer.name(name);
  return bytes;
}

function formatOf(isKnown: boolean, isRescued: boolean): number {
  if (isRescued) return FORMAT;
  return isKnown ? FORMAT_WITHOUT_RESCUE : FORMAT_WITHOUT_INCARNATIONS;
}

/** Throws `ConfigurationError`. */
export function decodeConfiguration(bytes: Uint8Array): Configuration {
  const reader = new Reader(bytes);
  const format = reader.u8();
  const isKnown = format === FORMAT || format === FORMAT_WITHOUT_RESCUE;
  if (!isKnown && format !== FORMAT_WITHOUT_INCARNATIONS) {
    throw new ConfigurationError(`it has format ${format}`);
  }
  const members: Member[] = [];
  for (let left = reader.u16(); left > 0; left--) {
    const number = reader.u8();
    const role = ROLES[number];
    if (role === undefined) throw new ConfigurationError(`a member has role ${number}`);
    const member = { id: reader.name(), role, address: reader.name() };
    const incarnation = isKnown ? reader.name() : '';
    members.push(incarnation === '' ? member : { ...member, incarnation });
  }
  // What can be written in one form is read in one.
  if (format === FORMAT_WITHOUT_RESCUE && members.every(({ incarnation }) => !incarnation)) {
    throw new ConfigurationError(`it has format ${format}, and no member has an incarnation`);
  }
  const rescue = format === FORMAT ? rescueIn(reader) : undefined;
  if (!reader.isAtEnd) throw new ConfigurationError('something stands behind it');
  return rescue === undefined ? { members } : { members, rescue };
}

function rescueIn(reader: Reader): Rescue {
  const [atMs, lastIndex, lastTerm] = [reader.u64(), reader.u64(), reader.u64()];
  const by = reader.name();
  const givenUp: string[] = [];
  for (let left = reader.u16(); left > 0; left--) givenUp.push(reader.name());
  return { by, atMs, lastIndex, lastTerm, givenUp };
}

class Writer {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer);
  }

  u8(value: number): void {
    this.#view.setUint8(this.#at, value);
    this.#at += 1;
  }

  u16(value: number): void {
    this.#view.setUint16(this.#at, value, true);
    this.#at += 2;
  }

  u64(value: number): void {
    this.#view.setUint32(this.#at, value % LOW, true);
    this.#view.setUint32(this.#at + 4, Math.floor(value / LOW), true);
    this.#at += 8;
  }

  name(name: Uint8Array): void {
    this.u16(name.length);
    this.#bytes.set(name, this.#at);
    this.#at += name.length;
  }
}

class Reader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get isAtEnd(): boolean {
    return this.#at === this.#bytes.length;
  }

  u8(): number {
    return this.#view.getUint8(this.#take(1));
  }

  u16(): number {
    return this.#view.getUint16(this.#take(2), true);
  }

  u64(): number {
    const at = this.#take(8);
    const value = this.#view.getUint32(at + 4, true) * LOW + this.#view.getUint32(at, true);
    if (!Number.isSafeInteger(value)) throw new ConfigurationError('a number is too large');
    return value;
  }

  name(): string {
    const length = this.u16();
    const at = this.#take(length);
    return textOf(this.#bytes.subarray(at, at + length));
  }

  /** Where so many bytes begin. */
  #take(count: number): number {
    const at = this.#at;
    if (at + count > this.#bytes.length) throw new ConfigurationError('it is cut off');
    this.#at += count;
    return at;
  }
}

function textOf(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new ConfigurationError('a name is not UTF-8');
  }
}
