/**
 * The reason codes of MQTT 5.0 (2.4), which of them each packet may carry, and the words that 3.1.1
 * has instead.
 *
 * The sets are those of the tables in 3.4.2.1, 3.5.2.1, 3.6.2.1, 3.7.2.1, 3.14.2.1 and 3.15.2.1. A
 * code that a client may not send is a protocol error; it is never mapped to a neighbour.
 */

export const ReasonCode = {
  success: 0x00,
  grantedQos1: 0x01,
  grantedQos2: 0x02,
  disconnectWithWill: 0x04,
  noMatchingSubscribers: 0x10,
  noSubscriptionExisted: 0x11,
  continueAuthentication: 0x18,
  reauthenticate: 0x19,
  unspecifiedError: 0x80,
  malformedPacket: 0x81,
  protocolError: 0x82,
  implementationSpecificError: 0x83,
  unsupportedProtocolVersion: 0x84,
  clientIdentifierNotValid: 0x85,
  badUserNameOrPassword: 0x86,
  notAuthorized: 0x87,
  serverUnavailable: 0x88,
  serverBusy: 0x89,
  banned: 0x8a,
  serverShuttingDown: 0x8b,
  badAuthenticationMethod: 0x8c,
  keepAliveTimeout: 0x8d,
  sessionTakenOver: 0x8e,
  topicFilterInvalid: 0x8f,
  topicNameInvalid: 0x90,
  packetIdentifierInUse: 0x91,
  packetIdentifierNotFound: 0x92,
  receiveMaximumExceeded: 0x93,
  topicAliasInvalid: 0x94,
  packetTooLarge: 0x95,
  messageRateTooHigh: 0x96,
  quotaExceeded: 0x97,
  administrativeAction: 0x98,
  payloadFormatInvalid: 0x99,
  retainNotSupported: 0x9a,
  qosNotSupported: 0x9b,
  useAnotherServer: 0x9c,
  serverMoved: 0x9d,
  sharedSubscriptionsNotSupported: 0x9e,
  connectionRateExceeded: 0x9f,
  maximumConnectTime: 0xa0,
  subscriptionIdentifiersNotSupported: 0xa1,
  wildcardSubscriptionsNotSupported: 0xa2,
} as const;

export type ReasonCode = (typeof ReasonCode)[keyof typeof ReasonCode];

/**
 * What a server may answer to a PUBLISH that it did not take (PUBACK and PUBREC have the same
 * table).
 */
export type PublishRefusal =
  | typeof ReasonCode.unspecifiedError
  | typeof ReasonCode.implementationSpecificError
  | typeof ReasonCode.notAuthorized
  | typeof ReasonCode.topicNameInvalid
  | typeof ReasonCode.packetIdentifierInUse
  | typeof ReasonCode.quotaExceeded
  | typeof ReasonCode.payloadFormatInvalid;

/** PUBACK and PUBREC [MQTT-3.4.2-1], [MQTT-3.5.2-1]. */
export type PublishReason =
  | typeof ReasonCode.success
  | typeof ReasonCode.noMatchingSubscribers
  | PublishRefusal;

/** PUBREL and PUBCOMP [MQTT-3.6.2-1], [MQTT-3.7.2-1]. */
export type ReleaseReason = typeof ReasonCode.success | typeof ReasonCode.packetIdentifierNotFound;

/** AUTH [MQTT-3.15.2-1]. */
export type AuthReason =
  | typeof ReasonCode.success
  | typeof ReasonCode.continueAuthentication
  | typeof ReasonCode.reauthenticate;

/** One entry of a SUBACK [MQTT-3.9.3-2]. */
export type SubscribeReason =
  | typeof ReasonCode.success
  | typeof ReasonCode.grantedQos1
  | typeof ReasonCode.grantedQos2
  | typeof ReasonCode.unspecifiedError
  | typeof ReasonCode.implementationSpecificError
  | typeof ReasonCode.notAuthorized
  | typeof ReasonCode.topicFilterInvalid
  | typeof ReasonCode.packetIdentifierInUse
  | typeof ReasonCode.quotaExceeded
  | typeof ReasonCode.sharedSubscriptionsNotSupported
  | typeof ReasonCode.subscriptionIdentifiersNotSupported
  | typeof ReasonCode.wildcardSubscriptionsNotSupported;

/** One entry of an UNSUBACK [MQTT-3.11.3-2]. */
export type UnsubscribeReason =
  | typeof ReasonCode.success
  | typeof ReasonCode.noSubscriptionExisted
  | typeof ReasonCode.unspecifiedError
  | typeof ReasonCode.implementationSpecificError
  | typeof ReasonCode.notAuthorized
  | typeof ReasonCode.topicFilterInvalid
  | typeof ReasonCode.packetIdentifierInUse;

/** CONNACK [MQTT-3.2.2-8]. */
export type ConnectReason =
  | typeof ReasonCode.success
  | typeof ReasonCode.unspecifiedError
  | typeof ReasonCode.malformedPacket
  | typeof ReasonCode.protocolError
  | typeof ReasonCode.implementationSpecificError
  | typeof ReasonCode.unsupportedProtocolVersion
  | typeof ReasonCode.clientIdentifierNotValid
  | typeof ReasonCode.badUserNameOrPassword
  | typeof ReasonCode.notAuthorized
  | typeof ReasonCode.serverUnavailable
  | typeof ReasonCode.serverBusy
  | typeof ReasonCode.banned
  | typeof ReasonCode.badAuthenticationMethod
  | typeof ReasonCode.topicNameInvalid
  | typeof ReasonCode.packetTooLarge
  | typeof ReasonCode.quotaExceeded
  | typeof ReasonCode.payloadFormatInvalid
  | typeof ReasonCode.retainNotSupported
  | typeof ReasonCode.qosNotSupported
  | typeof ReasonCode.useAnotherServer
  | typeof ReasonCode.serverMoved
  | typeof ReasonCode.connectionRateExceeded;

/** DISCONNECT as a client may send it [MQTT-3.14.2-1]. */
export type ClientDisconnectReason =
  | typeof ReasonCode.success
  | typeof ReasonCode.disconnectWithWill
  | typeof ReasonCode.unspecifiedError
  | typeof ReasonCode.malformedPacket
  | typeof ReasonCode.protocolError
  | typeof ReasonCode.implementationSpecificError
  | typeof ReasonCode.topicNameInvalid
  | typeof ReasonCode.receiveMaximumExceeded
  | typeof ReasonCode.topicAliasInvalid
  | typeof ReasonCode.packetTooLarge
  | typeof ReasonCode.messageRateTooHigh
  | typeof ReasonCode.quotaExceeded
  | typeof ReasonCode.administrativeAction
  | typeof ReasonCode.payloadFormatInvalid;

/** DISCONNECT as a server may send it [MQTT-3.14.2-1]. */
export type ServerDisconnectReason =
  | Exclude<ClientDisconnectReason, typeof ReasonCode.disconnectWithWill>
  | typeof ReasonCode.notAuthorized
  | typeof ReasonCode.serverBusy
  | typeof ReasonCode.serverShuttingDown
  | typeof ReasonCode.keepAliveTimeout
  | typeof ReasonCode.sessionTakenOver
  | typeof ReasonCode.topicFilterInvalid
  | typeof ReasonCode.retainNotSupported
  | typeof ReasonCode.qosNotSupported
  | typeof ReasonCode.useAnotherServer
  | typeof ReasonCode.serverMoved
  | typeof ReasonCode.sharedSubscriptionsNotSupported
  | typeof ReasonCode.connectionRateExceeded
  | typeof ReasonCode.maximumConnectTime
  | typeof ReasonCode.subscriptionIdentifiersNotSupported
  | typeof ReasonCode.wildcardSubscriptionsNotSupported;

/**
 * `{ 0x10: true }` as an object type: a table that lacks a code, or has one too many, does not
 * compile.
 */
type AllOf<Code extends number> = { readonly [code in Code]: true };

function setOf(codes: object): ReadonlySet<number> {
  return new Set(Object.keys(codes).map(Number));
}

const PUBLISH_REASONS = setOf({
  0x00: true,
  0x10: true,
  0x80: true,
  0x83: true,
  0x87: true,
  0x90: true,
  0x91: true,
  0x97: true,
  0x99: true,
} satisfies AllOf<PublishReason>);

const CLIENT_DISCONNECT_REASONS = setOf({
  0x00: true,
  0x04: true,
  0x80: true,
  0x81: true,
  0x82: true,
  0x83: true,
  0x90: true,
  0x93: true,
  0x94: true,
  0x95: true,
  0x96: true,
  0x97: true,
  0x98: true,
  0x99: true,
} satisfies AllOf<ClientDisconnectReason>);

export function isPublishReason(code: number): code is PublishReason {
  return PUBLISH_REASONS.has(code);
}

export function isReleaseReason(code: number): code is ReleaseReason {
  return code === ReasonCode.success || code === ReasonCode.packetIdentifierNotFound;
}

export function isClientDisconnectReason(code: number): code is ClientDisconnectReason {
  return CLIENT_DISCONNECT_REASONS.has(code);
}

export function isAuthReason(code: number): code is AuthReason {
  return (
    code === ReasonCode.success ||
    code === ReasonCode.continueAuthentication ||
    code === ReasonCode.reauthenticate
  );
}

/**
 * The return code of a 3.1.1 CONNACK (3.2.2.3) for a reason, or undefined where 3.1.1 has no word
 * for it: then the connection is closed without a CONNACK (3.1.1 [MQTT-3.2.2-6]).
 */
export function connectReturnCode(reason: ConnectReason): 0 | 1 | 2 | 3 | 4 | 5 | undefined {
  switch (reason) {
    case ReasonCode.success:
      return 0;
    case ReasonCode.unsupportedProtocolVersion:
      return 1;
    case ReasonCode.clientIdentifierNotValid:
      return 2;
    case ReasonCode.serverUnavailable:
    case ReasonCode.serverBusy:
    case ReasonCode.useAnotherServer:
    case ReasonCode.serverMoved:
    case ReasonCode.connectionRateExceeded:
    case ReasonCode.quotaExceeded:
      return 3;
    case ReasonCode.badUserNameOrPassword:
      return 4;
    case ReasonCode.notAuthorized:
    case ReasonCode.banned:
      return 5;
    default:
      return undefined;
  }
}
