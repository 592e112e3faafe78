/**
 * The packets of MQTT 3.1.1 and 5.0 as the server sees them: what it receives (`ClientPacket`) and
 * what it sends (`ConnackPacket`, `SubackPacket`, ...). Plain data, no behaviour.
 *
 * Ownership: `payload`, `password` and binary properties of a received packet are views of the
 * receive buffer, valid until the next chunk is pushed. Who keeps one copies it. Strings are owned.
 *
 * Everything here has passed the checks of `decode.ts`: the values are in the ranges that the types
 * and comments tell.
 */

import type {
  AuthReason,
  ClientDisconnectReason,
  ConnectReason,
  PublishReason,
  ReleaseReason,
  ServerDisconnectReason,
  SubscribeReason,
  UnsubscribeReason,
} from './reason-codes.ts';

/** The protocol level of CONNECT: 4 is MQTT 3.1.1, 5 is MQTT 5.0. */
export type MqttVersion = 4 | 5;

export type Qos = 0 | 1 | 2;

/** The packet types of the fixed header (2.1.2). */
export const PacketType = {
  connect: 1,
  connack: 2,
  publish: 3,
  puback: 4,
  pubrec: 5,
  pubrel: 6,
  pubcomp: 7,
  subscribe: 8,
  suback: 9,
  unsubscribe: 10,
  unsuback: 11,
  pingreq: 12,
  pingresp: 13,
  disconnect: 14,
  auth: 15,
} as const;
export type PacketType = (typeof PacketType)[keyof typeof PacketType];

/** In the order of the sender; names may repeat [MQTT-3.3.2-18]. */
export type UserProperties = readonly (readonly [name: string, value: string])[];

/** All properties of MQTT 5.0 (2.2.2.2). What a packet may carry is its `Pick` below. */
export interface Properties {
  /** 1: the payload is UTF-8 text. */
  readonly payloadFormatIndicator?: 0 | 1;
  /** Seconds. */
  readonly messageExpiryInterval?: number;
  readonly contentType?: string;
  readonly responseTopic?: string;
  readonly correlationData?: Uint8Array;
  /** 1 to 268,435,455 each; more than one only in a PUBLISH of the server. */
  readonly subscriptionIdentifiers?: readonly number[];
  /** Seconds; 0xFFFFFFFF never expires. */
  readonly sessionExpiryInterval?: number;
  readonly assignedClientIdentifier?: string;
  /** Seconds. */
  readonly serverKeepAlive?: number;
  readonly authenticationMethod?: string;
  readonly authenticationData?: Uint8Array;
  readonly requestProblemInformation?: boolean;
  /** Seconds. */
  readonly willDelayInterval?: number;
  readonly requestResponseInformation?: boolean;
  readonly responseInformation?: string;
  readonly serverReference?: string;
  readonly reasonString?: string;
  /** 1 to 65,535. */
  readonly receiveMaximum?: number;
  readonly topicAliasMaximum?: number;
  /** 1 to 65,535; above the maximum that was told is for the connection to refuse. */
  readonly topicAlias?: number;
  readonly maximumQos?: 0 | 1;
  readonly retainAvailable?: boolean;
  readonly userProperties?: UserProperties;
  /** Bytes, at least 1. */
  readonly maximumPacketSize?: number;
  readonly wildcardSubscriptionAvailable?: boolean;
  readonly subscriptionIdentifierAvailable?: boolean;
  readonly sharedSubscriptionAvailable?: boolean;
}

type MessagePropertyNames =
  | 'payloadFormatIndicator'
  | 'messageExpiryInterval'
  | 'contentType'
  | 'responseTopic'
  | 'correlationData'
  | 'userProperties';

export type PublishProperties = Pick<
  Properties,
  MessagePropertyNames | 'topicAlias' | 'subscriptionIdentifiers'
>;
export type WillProperties = Pick<Properties, MessagePropertyNames | 'willDelayInterval'>;
export type ConnectProperties = Pick<
  Properties,
  | 'sessionExpiryInterval'
  | 'receiveMaximum'
  | 'maximumPacketSize'
  | 'topicAliasMaximum'
  | 'requestResponseInformation'
  | 'requestProblemInformation'
  | 'userProperties'
  | 'authenticationMethod'
  | 'authenticationData'
>;
export type ConnackProperties = Pick<
  Properties,
  | 'sessionExpiryInterval'
  | 'receiveMaximum'
  | 'maximumQos'
  | 'retainAvailable'
  | 'maximumPacketSize'
  | 'assignedClientIdentifier'
  | 'topicAliasMaximum'
  | 'reasonString'
  | 'userProperties'
  | 'wildcardSubscriptionAvailable'
  | 'subscriptionIdentifierAvailable'
  | 'sharedSubscriptionAvailable'
  | 'serverKeepAlive'
  | 'responseInformation'
  | 'serverReference'
  | 'authenticationMethod'
  | 'authenticationData'
>;
/** PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK. */
export type DiagnosticProperties = Pick<Properties, 'reasonString' | 'userProperties'>;
export type SubscribeProperties = Pick<Properties, 'subscriptionIdentifiers' | 'userProperties'>;
export type UnsubscribeProperties = Pick<Properties, 'userProperties'>;
export type DisconnectProperties = Pick<
  Properties,
  'sessionExpiryInterval' | 'reasonString' | 'userProperties' | 'serverReference'
>;
export type AuthProperties = Pick<
  Properties,
  'authenticationMethod' | 'authenticationData' | 'reasonString' | 'userProperties'
>;

export interface Will {
  /** A valid topic name. */
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly qos: Qos;
  readonly retain: boolean;
  readonly properties: WillProperties | undefined;
}

export interface ConnectPacket {
  readonly kind: 'connect';
  readonly version: MqttVersion;
  /**
   * May be empty: what that means depends on version and `cleanStart` (3.1.3.1), for the
   * connection.
   */
  readonly clientId: string;
  /** 3.1.1 calls it clean session, and it then also ends the session with the connection. */
  readonly cleanStart: boolean;
  readonly keepAliveSeconds: number;
  readonly will: Will | undefined;
  readonly username: string | undefined;
  readonly password: Uint8Array | undefined;
  readonly properties: ConnectProperties | undefined;
}

export interface PublishPacket {
  readonly kind: 'publish';
  /** A valid topic name, or empty when `properties.topicAlias` stands for it (5.0 only). */
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly qos: Qos;
  readonly retain: boolean;
  readonly dup: boolean;
  /** 1 to 65,535; 0 at QoS 0, which has none. */
  readonly packetId: number;
  /** Absent in 3.1.1 and when there are none: the common case costs nothing. */
  readonly properties: PublishProperties | undefined;
}

export interface PubackPacket {
  readonly kind: 'puback';
  readonly packetId: number;
  readonly reasonCode: PublishReason;
  readonly properties: DiagnosticProperties | undefined;
}

export interface PubrecPacket {
  readonly kind: 'pubrec';
  readonly packetId: number;
  readonly reasonCode: PublishReason;
  readonly properties: DiagnosticProperties | undefined;
}

export interface PubrelPacket {
  readonly kind: 'pubrel';
  readonly packetId: number;
  readonly reasonCode: ReleaseReason;
  readonly properties: DiagnosticProperties | undefined;
}

export interface PubcompPacket {
  readonly kind: 'pubcomp';
  readonly packetId: number;
  readonly reasonCode: ReleaseReason;
  readonly properties: DiagnosticProperties | undefined;
}

export interface Subscription {
  /** As it was sent, `$share/<group>/` included: the key of UNSUBSCRIBE [MQTT-3.10.4-1]. */
  readonly topicFilter: string;
  /** What topics are matched against: `topicFilter` without the share. */
  readonly filter: string;
  /** The share name of `$share/<group>/<filter>`. */
  readonly shareName: string | undefined;
  readonly qos: Qos;
  readonly noLocal: boolean;
  readonly retainAsPublished: boolean;
  /** 0 send retained messages, 1 only if the subscription is new, 2 never. */
  readonly retainHandling: 0 | 1 | 2;
}

export interface SubscribePacket {
  readonly kind: 'subscribe';
  readonly packetId: number;
  /** At least one. */
  readonly subscriptions: readonly Subscription[];
  readonly properties: SubscribeProperties | undefined;
}

export interface UnsubscribePacket {
  readonly kind: 'unsubscribe';
  readonly packetId: number;
  /** At least one. */
  readonly topicFilters: readonly string[];
  readonly properties: UnsubscribeProperties | undefined;
}

export interface PingreqPacket {
  readonly kind: 'pingreq';
}

export interface DisconnectPacket {
  readonly kind: 'disconnect';
  /** 0x00 in 3.1.1. */
  readonly reasonCode: ClientDisconnectReason;
  readonly properties: DisconnectProperties | undefined;
}

/** 5.0 only. */
export interface AuthPacket {
  readonly kind: 'auth';
  readonly reasonCode: AuthReason;
  readonly properties: AuthProperties | undefined;
}

/**
 * What a client may send; each at its time (the decoder refuses a second CONNECT, and all before
 * the first).
 */
export type ClientPacket =
  | ConnectPacket
  | PublishPacket
  | PubackPacket
  | PubrecPacket
  | PubrelPacket
  | PubcompPacket
  | SubscribePacket
  | UnsubscribePacket
  | PingreqPacket
  | DisconnectPacket
  | AuthPacket;

/** What the server says about a connection attempt; `properties` are left out in 3.1.1. */
export interface ConnackPacket {
  readonly sessionPresent: boolean;
  readonly reasonCode: ConnectReason;
  readonly properties?: ConnackProperties | undefined;
}

/** In 3.1.1 every failure becomes 0x80. */
export interface SubackPacket {
  readonly packetId: number;
  readonly reasonCodes: readonly SubscribeReason[];
  readonly properties?: DiagnosticProperties | undefined;
}

/** In 3.1.1 the reason codes are left out. */
export interface UnsubackPacket {
  readonly packetId: number;
  readonly reasonCodes: readonly UnsubscribeReason[];
  readonly properties?: DiagnosticProperties | undefined;
}

/** 5.0 only. */
export interface ServerDisconnect {
  readonly reasonCode: ServerDisconnectReason;
  readonly properties?: Omit<DisconnectProperties, 'sessionExpiryInterval'> | undefined;
}

/** 5.0 only. */
export interface ServerAuth {
  readonly reasonCode: AuthReason;
  readonly properties?: AuthProperties | undefined;
}
