/**
 * DISCONNECT and AUTH (MQTT 3.14, 3.15): one layout.
 *
 *     reason code (u8, may be left out) | properties (may be left out)
 *
 * DISCONNECT of 3.1.1 is empty. AUTH exists in 5.0 only; an empty one is legal and means success.
 */

import type { ByteReader } from '../bytes.ts';
import type {
  AuthPacket,
  AuthProperties,
  DisconnectPacket,
  DisconnectProperties,
  MqttVersion,
} from './packet.ts';
import { Carrier, readProperties } from './properties.ts';
import { Faults, type ProtocolError } from './protocol-error.ts';
import { isAuthReason, isClientDisconnectReason, ReasonCode } from './reason-codes.ts';

type Reader = ByteReader<ProtocolError>;

export function decodeDisconnect(
  reader: Reader,
  version: MqttVersion,
): DisconnectPacket | ProtocolError {
  let reasonCode: number = ReasonCode.success;
  let properties: DisconnectProperties | undefined;
  if (version === 5 && reader.remaining > 0) {
    reasonCode = reader.u8();
    if (reader.remaining > 0) properties = readProperties(reader, Carrier.disconnect);
  }
  if (!isClientDisconnectReason(reasonCode)) return Faults.reasonCode;
  return { kind: 'disconnect', reasonCode, properties };
}

export function decodeAuth(reader: Reader): AuthPacket | ProtocolError {
  if (reader.remaining === 0) {
    return { kind: 'auth', reasonCode: ReasonCode.success, properties: undefined };
  }
  const reasonCode = reader.u8();
  const properties: AuthProperties | undefined =
    reader.remaining > 0 ? readProperties(reader, Carrier.auth) : undefined;
  if (!isAuthReason(reasonCode)) return Faults.reasonCode;
  // It may be missing only together with everything else (3.15.2.2.2).
  if (properties?.authenticationMethod === undefined) return Faults.authMethodMissing;
  return { kind: 'auth', reasonCode, properties };
}
