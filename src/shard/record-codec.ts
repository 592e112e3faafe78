/**
 * How a record of the machine (or of the location index) becomes bytes in the record store, and
 * back.
 *
 * ```
 *  0        1
 *  +--------+----------------------------------+
 *  | version| MessagePack of plain data        |
 *  +--------+----------------------------------+
 * ```
 *
 * Plain data is numbers, strings, byte arrays, booleans, null and arrays of those: no maps, no
 * objects, so that nothing read from a disk can name a property or a class. The checksum over key
 * and value belongs to the store; this file never sees damaged bytes unless the store's checksum
 * missed them, and then it throws `RecordFormatError`, which the host treats as a damaged store. It
 * must never give back anything that it did not understand whole.
 */

import { Packr } from 'msgpackr';

export type PlainData = number | string | boolean | null | Uint8Array | readonly PlainData[];

const RECORD_FORMAT_VERSION = 1;

const LEVELS_MAX = 16;

export class RecordFormatError extends Error {
  constructor(message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'RecordFormatError';
  }
}

const OPTIONS = { useRecords: false, mapsAsObjects: false, int64AsType: 'number' } as const;
const packr = new Packr({ ...OPTIONS, copyBuffers: true });
const viewing = new Packr({ ...OPTIONS, copyBuffers: false });

/** The bytes belong to the caller and are never changed afterwards. */
export function encodeRecord(data: PlainData): Uint8Array {
  const packed = packr.pack(data);
  const bytes = new Uint8Array(packed.length + 1);
  bytes[0] = RECORD_FORMAT_VERSION;
  bytes.set(packed, 1);
  return bytes;
}

/** The result shares no memory with `bytes`. */
export function decodeRecord(bytes: Uint8Array): PlainData {
  return decodeBy(packr, bytes);
}

function decodeBy(by: Packr, bytes: Uint8Array): PlainData {
  const version = bytes[0];
  if (version !== RECORD_FORMAT_VERSION) {
    throw new RecordFormatError(
      `record format ${version ?? 'none'} is not ${RECORD_FORMAT_VERSION}`,
    );
  }
  let value: unknown;
  try {
    value = by.unpack(bytes.subarray(1));
  } catch (cause) {
    throw new RecordFormatError('record is not MessagePack', { cause });
  }
  return plain(value, 0);
}

/**
 * The same for bytes that no checksum of ours covers: nothing is allocated by a length alone.
 * `views`: byte arrays in it are views of `bytes`.
 */
export function decodeForeign(bytes: Uint8Array, how: 'copies' | 'views' = 'copies'): PlainData {
  checkLengths(bytes);
  return decodeBy(how === 'views' ? viewing : packr, bytes);
}

const MSGPACK_FIXED_BYTES: Readonly<Record<number, number>> = {
  0xc0: 0,
  0xc2: 0,
  0xc3: 0,
  0xca: 4,
  0xcb: 8,
  0xcc: 1,
  0xcd: 2,
  0xce: 4,
  0xcf: 8,
  0xd0: 1,
  0xd1: 2,
  0xd2: 4,
  0xd3: 8,
};
/** Of texts, byte arrays and lists that tell their length: how many bytes tell it. */
const MSGPACK_LENGTH_BYTES: Readonly<Record<number, number>> = {
  0xc4: 1,
  0xc5: 2,
  0xc6: 4,
  0xd9: 1,
  0xda: 2,
  0xdb: 4,
  0xdc: 2,
  0xdd: 4,
};

/** Each value takes a byte at least, so that no list may have more elements than bytes are left. */
function checkLengths(bytes: Uint8Array): void {
  let at = 1;
  let values = 1;
  while (values > 0) {
    const type = bytes[at++];
    if (type === undefined) throw new RecordFormatError('record ends too early');
    values--;
    if (type < 0x80 || type >= 0xe0) continue;
    let elements = 0;
    if (type >= 0x90 && type < 0xa0) elements = type & 0x0f;
    else if (type >= 0xa0 && type < 0xc0) at += type & 0x1f;
    else {
      const lengthBytes = MSGPACK_LENGTH_BYTES[type];
      const fixedBytes = MSGPACK_FIXED_BYTES[type];
      if (lengthBytes !== undefined) {
        let length = 0;
        for (let left = lengthBytes; left > 0; left--) length = length * 256 + (bytes[at++] ?? 0);
        if (type >= 0xdc) elements = length;
        else at += length;
      } else if (fixedBytes === undefined) {
        throw new RecordFormatError(
          `record holds a value of type ${type}, which is not plain data`,
        );
      } else at += fixedBytes;
    }
    values += elements;
    if (at + values > bytes.length) throw new RecordFormatError('record ends too early');
  }
  if (at !== bytes.length) throw new RecordFormatError('record is longer than what it holds');
}

function plain(value: unknown, level: number): PlainData {
  if (level > LEVELS_MAX) throw new RecordFormatError('record is nested too deep');
  switch (typeof value) {
    case 'number':
    case 'string':
    case 'boolean':
      return value;
    case 'object':
      if (value === null) return null;
      if (value instanceof Uint8Array) {
        return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
      }
      if (Array.isArray(value)) {
        for (const element of value) plain(element, level + 1);
        return value as readonly PlainData[];
      }
      break;
    default:
  }
  throw new RecordFormatError(`record holds a ${typeof value} that is not plain data`);
}
