/**
 * What the server sends, PUBLISH excepted (`encode-publish.ts`): each function appends one packet
 * to what a connection sends this turn.
 *
 * A positive acknowledgement demands the proof that the message is where it must be
 * (`Acknowledgeable`), or that the settlement is (`SettleProof`), so that acknowledging early does
 * not compile.
 *
 * No packet is larger than the recipient's Maximum Packet Size [MQTT-3.1.2-24]: user properties and
 * then the reason string, which are there for people, are left out where they do not fit
 * ([MQTT-3.2.2-19] and its like for each packet). Where the rest does not fit either, nothing is
 * written and the function says false.
 */

import type { Acknowledgeable, SettleProof } from '../../broker/ports.ts';
import type { ByteWriter } from '../bytes.ts';
import { sizeOfVarint, writeVarint } from './fields.ts';
import {
  type ConnackPacket,
  type DiagnosticProperties,
  type MqttVersion,
  PacketType,
  type Properties,
  type ServerAuth,
  type ServerDisconnect,
  type SubackPacket,
  type UnsubackPacket,
} from './packet.ts';
import { sizeOfProperties, writeProperties } from './properties.ts';
import {
  connectReturnCode,
  type PublishRefusal,
  ReasonCode,
  type ReleaseReason,
} from './reason-codes.ts';

/** What must be known of a client to write to it. */
export interface Recipient {
  readonly version: MqttVersion;
  /** What the client said in CONNECT; `Infinity` if it did not. */
  readonly maximumPacketSize: number;
}

/** The size of a packet whose body has `length` bytes. */
export function packetSize(length: number): number {
  return 1 + sizeOfVarint(length) + length;
}

/**
 * The properties that fit beside `fixed` bytes of body, with their size; undefined: not even none.
 */
function fitting(
  recipient: Recipient,
  fixed: number,
  properties: Properties | undefined,
): { readonly properties: Properties | undefined; readonly size: number } | undefined {
  const limit = recipient.maximumPacketSize;
  let kept = properties;
  for (;;) {
    const size = sizeOfProperties(kept);
    if (packetSize(fixed + sizeOfVarint(size) + size) <= limit) return { properties: kept, size };
    if (kept?.userProperties !== undefined) {
      const { userProperties: _, ...rest } = kept;
      kept = rest;
    } else if (kept?.reasonString !== undefined) {
      const { reasonString: _, ...rest } = kept;
      kept = rest;
    } else {
      return undefined;
    }
  }
}

function writeHeader(out: ByteWriter, header: number, length: number): void {
  out.u8(header);
  writeVarint(out, length);
}

/**
 * False if nothing was written: 3.1.1 has no return code for the reason (then the connection is
 * closed without an answer, 3.1.1 [MQTT-3.2.2-6]), or the client takes no packet of that size.
 */
export function encodeConnack(
  out: ByteWriter,
  recipient: Recipient,
  connack: ConnackPacket,
): boolean {
  // [MQTT-3.2.2-6]
  const flags = connack.sessionPresent && connack.reasonCode === ReasonCode.success ? 1 : 0;
  if (recipient.version === 4) {
    const returnCode = connectReturnCode(connack.reasonCode);
    if (returnCode === undefined) return false;
    out.u32((PacketType.connack << 28) | (2 << 16) | (flags << 8) | returnCode);
    return true;
  }
  const fit = fitting(recipient, 2, connack.properties);
  if (fit === undefined) return false;
  writeHeader(out, PacketType.connack << 4, 2 + sizeOfVarint(fit.size) + fit.size);
  out.u8(flags);
  out.u8(connack.reasonCode);
  writeProperties(out, fit.properties, fit.size);
  return true;
}

/** The four bytes that an acknowledgement without a reason code has in both versions (3.4.2.1). */
function writeShort(out: ByteWriter, header: number, packetId: number): void {
  const at = out.reserve(4);
  const bytes = out.bytes;
  bytes[at] = header;
  bytes[at + 1] = 2;
  bytes[at + 2] = packetId >>> 8;
  bytes[at + 3] = packetId;
}

/** With a reason code, 5.0 only: without properties where there are none or none fit. */
function writeReasoned(
  out: ByteWriter,
  header: number,
  answer: {
    readonly recipient: Recipient;
    readonly packetId: number;
    readonly reasonCode: number;
    readonly properties: DiagnosticProperties | undefined;
  },
): void {
  const fit = fitting(answer.recipient, 3, answer.properties);
  const size = fit === undefined ? 0 : fit.size;
  writeHeader(out, header, size === 0 ? 3 : 3 + sizeOfVarint(size) + size);
  out.u16(answer.packetId);
  out.u8(answer.reasonCode);
  if (fit !== undefined && size > 0) writeProperties(out, fit.properties, size);
}

const PUBACK = PacketType.puback << 4;
const PUBREC = PacketType.pubrec << 4;
const PUBREL = (PacketType.pubrel << 4) | 2;
const PUBCOMP = PacketType.pubcomp << 4;

export type Proof = Acknowledgeable | SettleProof;

/** Both versions. The proof is all that it is for: its value is not sent. */
export function encodePuback(out: ByteWriter, packetId: number, _proof: Proof): void {
  writeShort(out, PUBACK, packetId);
}

/** Both versions; the first half of QoS 2, which takes the message over [MQTT-4.3.3-8]. */
export function encodePubrec(out: ByteWriter, packetId: number, _proof: Proof): void {
  writeShort(out, PUBREC, packetId);
}

/** Why a PUBLISH was not taken. 5.0 only: 3.1.1 has no word but closing the connection. */
export interface PublishRefused {
  readonly packetId: number;
  readonly reasonCode: PublishRefusal;
  readonly properties?: DiagnosticProperties | undefined;
}

export function encodePubackRefused(
  out: ByteWriter,
  recipient: Recipient,
  refused: PublishRefused,
): void {
  writeReasoned(out, PUBACK, { properties: undefined, ...refused, recipient });
}

export function encodePubrecRefused(
  out: ByteWriter,
  recipient: Recipient,
  refused: PublishRefused,
): void {
  writeReasoned(out, PUBREC, { properties: undefined, ...refused, recipient });
}

/** A reason other than success is for 5.0 only. */
export function encodePubrel(
  out: ByteWriter,
  packetId: number,
  reasonCode: ReleaseReason = ReasonCode.success,
): void {
  if (reasonCode === ReasonCode.success) writeShort(out, PUBREL, packetId);
  else writeCoded(out, PUBREL, (packetId << 8) | reasonCode);
}

/** A reason other than success is for 5.0 only. */
export function encodePubcomp(
  out: ByteWriter,
  packetId: number,
  reasonCode: ReleaseReason = ReasonCode.success,
): void {
  if (reasonCode === ReasonCode.success) writeShort(out, PUBCOMP, packetId);
  else writeCoded(out, PUBCOMP, (packetId << 8) | reasonCode);
}

/** The five bytes of an acknowledgement with a reason code and no properties. */
function writeCoded(out: ByteWriter, header: number, idAndCode: number): void {
  out.u16((header << 8) | 3);
  out.u16(idAndCode >>> 8);
  out.u8(idAndCode);
}

/** False if the client takes no packet of that size; nothing is written then. */
export function encodeSuback(out: ByteWriter, recipient: Recipient, suback: SubackPacket): boolean {
  const { packetId, reasonCodes } = suback;
  if (recipient.version === 5) return writeCodes(out, PacketType.suback, { recipient, ...suback });
  writeHeader(out, PacketType.suback << 4, 2 + reasonCodes.length);
  out.u16(packetId);
  for (const code of reasonCodes) out.u8(code < 0x80 ? code : 0x80);
  return true;
}

/** False if the client takes no packet of that size; nothing is written then. */
export function encodeUnsuback(
  out: ByteWriter,
  recipient: Recipient,
  unsuback: UnsubackPacket,
): boolean {
  if (recipient.version === 5) {
    return writeCodes(out, PacketType.unsuback, { recipient, ...unsuback });
  }
  writeShort(out, PacketType.unsuback << 4, unsuback.packetId);
  return true;
}

function writeCodes(
  out: ByteWriter,
  type: PacketType,
  answer: {
    readonly recipient: Recipient;
    readonly packetId: number;
    readonly reasonCodes: readonly number[];
    readonly properties?: DiagnosticProperties | undefined;
  },
): boolean {
  const { reasonCodes } = answer;
  const fixed = 2 + reasonCodes.length;
  const fit = fitting(answer.recipient, fixed, answer.properties);
  if (fit === undefined) return false;
  writeHeader(out, type << 4, fixed + sizeOfVarint(fit.size) + fit.size);
  out.u16(answer.packetId);
  writeProperties(out, fit.properties, fit.size);
  for (const code of reasonCodes) out.u8(code);
  return true;
}

export function encodePingresp(out: ByteWriter): void {
  out.u16(PacketType.pingresp << 12);
}

/** 5.0 only; false if the client takes no packet of that size. */
export function encodeDisconnect(
  out: ByteWriter,
  recipient: Recipient,
  disconnect: ServerDisconnect,
): boolean {
  return writeParting(out, PacketType.disconnect, { recipient, ...disconnect });
}

/** 5.0 only; false if the client takes no packet of that size. */
export function encodeAuth(out: ByteWriter, recipient: Recipient, auth: ServerAuth): boolean {
  return writeParting(out, PacketType.auth, { recipient, ...auth });
}

/** DISCONNECT and AUTH: empty for success without properties, one byte without properties. */
function writeParting(
  out: ByteWriter,
  type: PacketType,
  parting: {
    readonly recipient: Recipient;
    readonly reasonCode: number;
    readonly properties?: Properties | undefined;
  },
): boolean {
  const header = type << 4;
  const { recipient, reasonCode, properties } = parting;
  const fit = fitting(recipient, 1, properties);
  const size = fit?.size ?? 0;
  if (size > 0) {
    writeHeader(out, header, 1 + sizeOfVarint(size) + size);
    out.u8(reasonCode);
    writeProperties(out, fit?.properties, size);
    return true;
  }
  // Without properties it is shorter than `fitting` counts; what remains of them is not optional in
  // AUTH.
  const length = reasonCode === ReasonCode.success ? 0 : 1;
  const lost = fit === undefined && properties !== undefined && !isDiagnostic(properties);
  if (lost || packetSize(length) > recipient.maximumPacketSize) return false;
  writeHeader(out, header, length);
  if (length === 1) out.u8(reasonCode);
  return true;
}

/** Nothing in it but what may be left out. */
function isDiagnostic(properties: Properties): boolean {
  for (const name in properties) {
    if (name !== 'reasonString' && name !== 'userProperties') return false;
  }
  return true;
}
