/**
 * CONNECT (MQTT 3.1).
 *
 *     protocol name (string "MQTT") | level (u8) | flags (u8) | keep alive (u16, seconds)
 *     properties (5.0) | client identifier | will properties (5.0) | will topic | will payload
 *     user name | password
 *
 *     flags: user name | password | will retain | will QoS (2) | will | clean start | reserved 0
 *
 * The name and level come first and decide in which version the rest is read, and in which an
 * answer can be given. Nothing here decides who may connect.
 */

import type { ByteReader } from '../bytes.ts';
import { conclude, readBinary, readString } from './fields.ts';
import type { ConnectPacket, MqttVersion, Qos, Will } from './packet.ts';
import { Carrier, readProperties } from './properties.ts';
import { Faults, type ProtocolError } from './protocol-error.ts';
import { isTopicName } from './topic.ts';

type Reader = ByteReader<ProtocolError>;

export interface DecodedConnect {
  /** In which an answer can be given; undefined if the packet does not even begin like MQTT. */
  readonly version: MqttVersion | undefined;
  readonly packet: ConnectPacket | ProtocolError;
}

const FLAG = {
  reserved: 0x01,
  cleanStart: 0x02,
  will: 0x04,
  willQos: 0x18,
  willRetain: 0x20,
  password: 0x40,
  username: 0x80,
} as const;

export function decodeConnect(reader: Reader): DecodedConnect {
  const name = readString(reader);
  const level = reader.u8();
  if (reader.fault !== undefined) return { version: undefined, packet: reader.fault };
  // "MQIsdp" is MQTT 3.1, which is refused in the words of 3.1.1.
  if (name !== 'MQTT' && name !== 'MQIsdp') {
    return { version: undefined, packet: Faults.protocolName };
  }
  if (name !== 'MQTT' || (level !== 4 && level !== 5)) {
    // Bit 7 is how bridges mark themselves: 0x83 and 0x84 are 3.1 and 3.1.1.
    return { version: (level & 0x7f) < 5 ? 4 : 5, packet: Faults.protocolVersion };
  }
  return { version: level, packet: conclude(reader, decodeRest(reader, level)) };
}

/** Meaningless when the reader has a fault. */
function decodeRest(reader: Reader, version: MqttVersion): ConnectPacket | ProtocolError {
  const flags = reader.u8();
  const fault = flagsFault(flags, version);
  if (fault !== undefined) return fault;
  const keepAliveSeconds = reader.u16();
  const properties = version === 5 ? readProperties(reader, Carrier.connect) : undefined;
  if (
    properties?.authenticationData !== undefined &&
    properties.authenticationMethod === undefined
  ) {
    return Faults.authDataWithoutMethod;
  }
  const clientId = readString(reader);
  const will = (flags & FLAG.will) === 0 ? undefined : readWill(reader, flags, version);
  const username = (flags & FLAG.username) === 0 ? undefined : readString(reader);
  const password = (flags & FLAG.password) === 0 ? undefined : readBinary(reader);
  return {
    kind: 'connect',
    version,
    clientId,
    cleanStart: (flags & FLAG.cleanStart) !== 0,
    keepAliveSeconds,
    will,
    username,
    password,
    properties,
  };
}

function flagsFault(flags: number, version: MqttVersion): ProtocolError | undefined {
  if ((flags & FLAG.reserved) !== 0) return Faults.connectFlags;
  if ((flags & FLAG.will) === 0) {
    if ((flags & (FLAG.willQos | FLAG.willRetain)) !== 0) return Faults.willFlags;
  } else if ((flags & FLAG.willQos) === FLAG.willQos) {
    return Faults.willQos3;
  }
  const passwordAlone = (flags & FLAG.password) !== 0 && (flags & FLAG.username) === 0;
  return passwordAlone && version === 4 ? Faults.passwordWithoutUsername : undefined;
}

function readWill(reader: Reader, flags: number, version: MqttVersion): Will {
  const properties = version === 5 ? readProperties(reader, Carrier.will) : undefined;
  const topic = readString(reader);
  const payload = readBinary(reader);
  if (!isTopicName(topic)) reader.fail(Faults.willTopic);
  return {
    topic,
    payload,
    qos: ((flags & FLAG.willQos) >> 3) as Qos,
    retain: (flags & FLAG.willRetain) !== 0,
    properties,
  };
}
