/**
 * The data types of MQTT (1.5): variable byte integers, UTF-8 strings and binary data, with their
 * rules.
 *
 *     variable byte integer: 7 bits a byte, least significant first, bit 7 = more, at most 4 bytes
 *     string, binary:        u16 length | bytes
 *
 * Writing assumes values that fit (a string of at most 65,535 bytes, an integer below 2^28): what
 * does not would come out as another packet, so it is an assertion.
 */

import { type ByteReader, type ByteWriter, utf8Size, utf8Text } from '../bytes.ts';
import { Faults, type ProtocolError } from './protocol-error.ts';

type Reader = ByteReader<ProtocolError>;

export const VARINT_MAX = 268_435_455;
export const FIELD_BYTES_MAX = 65_535;

/** At most four bytes, and no more than needed [MQTT-1.5.5-1]. */
export function readVarint(reader: Reader): number {
  let value = 0;
  for (let shift = 0; shift < 28; shift += 7) {
    const byte = reader.u8();
    value |= (byte & 0x7f) << shift;
    if (byte < 0x80) {
      if (byte === 0 && shift > 0) reader.fail(Faults.lengthNotMinimal);
      return value;
    }
  }
  reader.fail(Faults.lengthTooLong);
  return 0;
}

/**
 * Well-formed [MQTT-1.5.4-1], without U+0000 [MQTT-1.5.4-2], with its byte order mark
 * [MQTT-1.5.4-3].
 */
export function readString(reader: Reader): string {
  const length = reader.u16();
  const at = reader.skip(length);
  if (at < 0 || length === 0) return '';
  const text = utf8Text(reader.bytes, at, at + length);
  if (text === undefined) {
    reader.fail(Faults.invalidUtf8);
    return '';
  }
  if (text.includes('\0')) {
    reader.fail(Faults.nulInString);
    return '';
  }
  return text;
}

export function readBinary(reader: Reader): Uint8Array {
  return reader.view(reader.u16());
}

/** Not 0 in any packet that has one [MQTT-2.2.1-3]. */
export function readPacketId(reader: Reader): number {
  const packetId = reader.u16();
  if (packetId === 0) reader.fail(Faults.packetIdZero);
  return packetId;
}

/** The end of every decoder: the reader's fault, the packet's, or that bytes are left over. */
export function conclude<Packet extends { readonly kind: string }>(
  reader: Reader,
  packet: Packet | ProtocolError,
): Packet | ProtocolError {
  if (reader.fault !== undefined) return reader.fault;
  if (packet.kind === 'protocol-error') return packet;
  return reader.remaining > 0 ? Faults.trailingBytes : packet;
}

export function sizeOfVarint(value: number): 1 | 2 | 3 | 4 {
  if (value < 128) return 1;
  if (value < 16_384) return 2;
  return value < 2_097_152 ? 3 : 4;
}

/** Its length prefix included. */
export function sizeOfString(text: string): number {
  const size = utf8Size(text);
  if (size > FIELD_BYTES_MAX) throw new RangeError(`an MQTT string of ${size} bytes`);
  return 2 + size;
}

export function writeVarint(out: ByteWriter, value: number): void {
  if (value > VARINT_MAX) throw new RangeError(`an MQTT variable byte integer of ${value}`);
  let rest = value;
  while (rest > 127) {
    out.u8((rest & 0x7f) | 0x80);
    rest >>>= 7;
  }
  out.u8(rest);
}

export function writeString(out: ByteWriter, text: string): void {
  const size = sizeOfString(text) - 2;
  out.u16(size);
  out.text(text, size);
}

export function writeBinary(out: ByteWriter, bytes: Uint8Array): void {
  if (bytes.length > FIELD_BYTES_MAX) {
    throw new RangeError(`MQTT binary data of ${bytes.length} bytes`);
  }
  out.u16(bytes.length);
  out.append(bytes);
}
