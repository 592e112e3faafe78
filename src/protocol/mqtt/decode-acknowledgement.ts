/**
 * PUBACK, PUBREC, PUBREL and PUBCOMP (MQTT 3.4 to 3.7): one layout.
 *
 *     packet identifier (u16) | reason code (u8, may be left out) | properties (may be left out)
 *
 * In 3.1.1 the identifier is all. In 5.0 a body of 2 bytes means success, one of 3 has no
 * properties.
 */

import type { ByteReader } from '../bytes.ts';
import { readPacketId } from './fields.ts';
import {
  type DiagnosticProperties,
  type MqttVersion,
  PacketType,
  type PubackPacket,
  type PubcompPacket,
  type PubrecPacket,
  type PubrelPacket,
} from './packet.ts';
import { Carrier, readProperties } from './properties.ts';
import { Faults, type ProtocolError } from './protocol-error.ts';
import { isPublishReason, isReleaseReason, ReasonCode } from './reason-codes.ts';

type Acknowledgement = PubackPacket | PubrecPacket | PubrelPacket | PubcompPacket;
type AcknowledgementType =
  | typeof PacketType.puback
  | typeof PacketType.pubrec
  | typeof PacketType.pubrel
  | typeof PacketType.pubcomp;

export function decodeAcknowledgement(
  reader: ByteReader<ProtocolError>,
  type: AcknowledgementType,
  version: MqttVersion,
): Acknowledgement | ProtocolError {
  const packetId = readPacketId(reader);
  let reasonCode: number = ReasonCode.success;
  let properties: DiagnosticProperties | undefined;
  if (version === 5 && reader.remaining > 0) {
    reasonCode = reader.u8();
    if (reader.remaining > 0) properties = readProperties(reader, Carrier.acknowledgement);
  }
  switch (type) {
    case PacketType.puback:
      if (!isPublishReason(reasonCode)) return Faults.reasonCode;
      return { kind: 'puback', packetId, reasonCode, properties };
    case PacketType.pubrec:
      if (!isPublishReason(reasonCode)) return Faults.reasonCode;
      return { kind: 'pubrec', packetId, reasonCode, properties };
    case PacketType.pubrel:
      if (!isReleaseReason(reasonCode)) return Faults.reasonCode;
      return { kind: 'pubrel', packetId, reasonCode, properties };
    case PacketType.pubcomp:
      if (!isReleaseReason(reasonCode)) return Faults.reasonCode;
      return { kind: 'pubcomp', packetId, reasonCode, properties };
  }
}
