/**
 * What a client can do wrong in the format of its packets: a closed table of values, each with the
 * reason code of MQTT 5.0 and a text that helps whoever reads the log.
 *
 * A fault is never thrown and carries nothing from the wire, so a flood of garbage allocates
 * nothing. Every one ends the connection [MQTT-4.13.1-1]: 5.0 says why in a DISCONNECT (or, before
 * the connection is accepted, in a CONNACK), 3.1.1 just closes (3.1.1 [MQTT-4.8.0-1]).
 */

import { type ConnectReason, ReasonCode, type ServerDisconnectReason } from './reason-codes.ts';

const MALFORMED = ReasonCode.malformedPacket;
const PROTOCOL = ReasonCode.protocolError;

const TABLE = {
  // The fixed header.
  notConnect: [PROTOCOL, 'the first packet is not CONNECT'], // [MQTT-3.1.0-1]
  secondConnect: [PROTOCOL, 'a second CONNECT'], // [MQTT-3.1.0-2]
  serverPacket: [PROTOCOL, 'a packet type that only servers send'], // 2.1.2, table 2-1
  reservedType: [MALFORMED, 'a packet type that does not exist in this version'], // 2.1.2
  // [MQTT-2.1.3-1], [MQTT-3.6.1-1]
  reservedFlags: [MALFORMED, 'reserved flags of the fixed header are set'],
  publishQos3: [MALFORMED, 'PUBLISH with QoS 3'], // [MQTT-3.3.1-4]
  dupAtQos0: [MALFORMED, 'PUBLISH with DUP at QoS 0'], // [MQTT-3.3.1-2]
  lengthTooLong: [MALFORMED, 'the remaining length has more than four bytes'], // 1.5.5, 2.1.4
  // [MQTT-1.5.5-1]
  lengthNotMinimal: [MALFORMED, 'a variable byte integer is longer than it needs to be'],
  // [MQTT-3.2.2-15]
  packetTooLarge: [ReasonCode.packetTooLarge, 'the packet is larger than the maximum packet size'],
  // Any packet.
  truncated: [MALFORMED, 'a field reaches past the end of its packet'],
  trailingBytes: [MALFORMED, 'bytes follow the last field of the packet'],
  // [MQTT-1.5.4-1], 3.1.1 [MQTT-1.5.3-1]
  invalidUtf8: [MALFORMED, 'a string is not well-formed UTF-8'],
  nulInString: [MALFORMED, 'a string contains U+0000'], // [MQTT-1.5.4-2], 3.1.1 [MQTT-1.5.3-2]
  packetIdZero: [PROTOCOL, 'the packet identifier is 0'], // [MQTT-2.2.1-3], 3.1.1 [MQTT-2.3.1-1]
  // [MQTT-3.4.2-1], [MQTT-3.14.2-1]
  reasonCode: [PROTOCOL, 'a reason code that this packet must not carry'],
  // Properties.
  propertyUnknown: [MALFORMED, 'a property that does not exist'], // 2.2.2.2
  propertyNotAllowed: [MALFORMED, 'a property that this packet must not carry'], // 2.2.2.2
  // 3.1.2.11 and following
  propertyRepeated: [PROTOCOL, 'a property that may be there once is there twice'],
  propertyValue: [PROTOCOL, 'a property has a value that is not allowed'], // 3.1.2.11 and following
  subscriptionIdInPublish: [PROTOCOL, 'PUBLISH with a subscription identifier'], // [MQTT-3.3.4-6]
  topicAliasZero: [ReasonCode.topicAliasInvalid, 'the topic alias is 0'], // [MQTT-3.3.2-8]
  authDataWithoutMethod: [PROTOCOL, 'authentication data without a method'], // 3.1.2.11.10
  authMethodMissing: [PROTOCOL, 'AUTH without an authentication method'], // 3.15.2.2.2
  // CONNECT.
  // [MQTT-3.1.2-1]
  protocolName: [ReasonCode.unsupportedProtocolVersion, 'the protocol name is not MQTT'],
  protocolVersion: [
    ReasonCode.unsupportedProtocolVersion,
    'the protocol version is neither 3.1.1 nor 5.0',
  ], // [MQTT-3.1.2-2]
  connectFlags: [MALFORMED, 'the reserved flag of CONNECT is set'], // [MQTT-3.1.2-3]
  // [MQTT-3.1.2-11], [MQTT-3.1.2-13]
  willFlags: [MALFORMED, 'will QoS or will retain without a will'],
  willQos3: [MALFORMED, 'the will has QoS 3'], // [MQTT-3.1.2-12]
  // [MQTT-4.7.0-1], [MQTT-4.7.3-1]
  willTopic: [ReasonCode.topicNameInvalid, 'the will topic is empty or has wildcards'],
  // 3.1.1 [MQTT-3.1.2-22]
  passwordWithoutUsername: [MALFORMED, 'a password without a user name in 3.1.1'],
  // PUBLISH.
  topicEmpty: [PROTOCOL, 'an empty topic name without a topic alias'], // 3.3.2.1, [MQTT-4.7.3-1]
  topicWildcard: [ReasonCode.topicNameInvalid, 'a topic name with a wildcard'], // [MQTT-3.3.2-2]
  responseTopic: [PROTOCOL, 'the response topic is empty or has wildcards'], // [MQTT-3.3.2-14]
  // SUBSCRIBE and UNSUBSCRIBE.
  noTopicFilter: [PROTOCOL, 'no topic filter'], // [MQTT-3.8.3-2], [MQTT-3.10.3-2]
  // [MQTT-4.7.1-1], [MQTT-4.7.1-2]
  topicFilter: [ReasonCode.topicFilterInvalid, 'a topic filter is malformed'],
  // [MQTT-4.8.2-1], [MQTT-4.8.2-2]
  sharedFilter: [ReasonCode.topicFilterInvalid, 'a shared subscription is malformed'],
  // [MQTT-3.8.3-5]
  subscriptionOptions: [MALFORMED, 'reserved bits of the subscription options are set'],
  subscriptionQos3: [PROTOCOL, 'a subscription with QoS 3'], // 3.8.3.1
  retainHandling3: [PROTOCOL, 'a subscription with retain handling 3'], // 3.8.3.1
  noLocalOnShared: [PROTOCOL, 'No Local on a shared subscription'], // [MQTT-3.8.3-4]
} as const;

export type FaultName = keyof typeof TABLE;

/** The reason codes that a fault can have; see `connectReasonOf` and `disconnectReasonOf`. */
export type FaultReason = (typeof TABLE)[FaultName][0];

export interface ProtocolError {
  readonly kind: 'protocol-error';
  readonly fault: FaultName;
  readonly reasonCode: FaultReason;
  readonly text: string;
}

/**
 * The code for a CONNACK, if CONNECT had the fault: its table (3.2.2.2) is not that of DISCONNECT.
 */
export function connectReasonOf({ reasonCode }: Pick<ProtocolError, 'reasonCode'>): ConnectReason {
  const foreign =
    reasonCode === ReasonCode.topicFilterInvalid || reasonCode === ReasonCode.topicAliasInvalid;
  return foreign ? PROTOCOL : reasonCode;
}

/** The code for a DISCONNECT, if a later packet had the fault (3.14.2.1). */
export function disconnectReasonOf({
  reasonCode,
}: Pick<ProtocolError, 'reasonCode'>): ServerDisconnectReason {
  return reasonCode === ReasonCode.unsupportedProtocolVersion ? PROTOCOL : reasonCode;
}

function faultsOf(table: typeof TABLE): { readonly [name in FaultName]: ProtocolError } {
  const entries = (Object.keys(table) as FaultName[]).map((fault) => {
    const [reasonCode, text] = table[fault];
    return [fault, Object.freeze({ kind: 'protocol-error', fault, reasonCode, text })] as const;
  });
  return Object.fromEntries(entries) as { [name in FaultName]: ProtocolError };
}

/** One frozen value a fault. */
export const Faults = faultsOf(TABLE);
