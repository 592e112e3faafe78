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

const packr = new Packr({
  useRecords: false,
  mapsAsObjects: false,
  int64AsType: 'number',
  copyBuffers: true,
});

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
  const version = bytes[0];
  if (version !== RECORD_FORMAT_VERSION) {
    throw new RecordFormatError(
      `record format ${version ?? 'none'} is not ${RECORD_FORMAT_VERSION}`,
    );
  }
  let value: unknown;
  try {
    value = packr.unpack(bytes.subarray(1));
  } catch (cause) {
    throw new RecordFormatError('record is not MessagePack', { cause });
  }
  return plain(value, 0);
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
