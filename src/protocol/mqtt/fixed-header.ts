/**
 * The first byte of a packet (MQTT 2.1.2, 2.1.3): which of the 256 values a client may send, and
 * when.
 *
 * Judged from one table a phase, so that a packet of a type that has no business here costs its
 * sender one byte and us nothing.
 */

import { type MqttVersion, PacketType } from './packet.ts';
import { Faults, type ProtocolError } from './protocol-error.ts';

/** Before CONNECT only CONNECT may come; after it everything else that the version has. */
export type Phase = 'before-connect' | MqttVersion;

function publishFault(flags: number): ProtocolError | undefined {
  const qos = (flags >> 1) & 3;
  if (qos === 3) return Faults.publishQos3;
  return qos === 0 && (flags & 8) !== 0 ? Faults.dupAtQos0 : undefined;
}

function requireFlags(flags: number, expected: number): ProtocolError | undefined {
  return flags === expected ? undefined : Faults.reservedFlags;
}

function judge(phase: Phase, type: number, flags: number): ProtocolError | undefined {
  if (phase === 'before-connect') {
    return type === PacketType.connect ? requireFlags(flags, 0) : Faults.notConnect;
  }
  switch (type) {
    case PacketType.connect:
      return Faults.secondConnect;
    case PacketType.publish:
      return publishFault(flags);
    case PacketType.puback:
    case PacketType.pubrec:
    case PacketType.pubcomp:
    case PacketType.pingreq:
    case PacketType.disconnect:
      return requireFlags(flags, 0);
    case PacketType.pubrel:
    case PacketType.subscribe:
    case PacketType.unsubscribe:
      return requireFlags(flags, 2);
    case PacketType.auth:
      return phase === 5 ? requireFlags(flags, 0) : Faults.reservedType;
    case PacketType.connack:
    case PacketType.suback:
    case PacketType.unsuback:
    case PacketType.pingresp:
      return Faults.serverPacket;
    default:
      return Faults.reservedType;
  }
}

function tableOf(phase: Phase): readonly (ProtocolError | undefined)[] {
  return Array.from({ length: 256 }, (_, byte) => judge(phase, byte >> 4, byte & 15));
}

const BEFORE_CONNECT = tableOf('before-connect');
const VERSION_4 = tableOf(4);
const VERSION_5 = tableOf(5);

/** By the first byte: what is wrong with it, or undefined. */
export function headerFaults(phase: Phase): readonly (ProtocolError | undefined)[] {
  if (phase === 'before-connect') return BEFORE_CONNECT;
  return phase === 4 ? VERSION_4 : VERSION_5;
}
