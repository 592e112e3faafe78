/**
 * CONNECT: whether it is granted, with what, and how CONNACK says so (MQTT 5.0 sections 3.1, 3.2).
 *
 * Who the client is, is not asked here (`admission.ts`). What a 5.0 client asks beyond what is
 * granted it is told; where 3.1.1 has no word, the connection is closed.
 */

import { isUtf8 } from 'node:buffer';
import { randomUUID } from 'node:crypto';

import type { Broker, SessionRefusal } from '../../broker/ports.ts';
import { SYSTEM_PREFIX } from '../../broker/queue-topic.ts';
import { type MqttOptions, NEVER_SECONDS } from './options.ts';
import type { Ending } from './context.ts';
import { offeredProperties } from './offered.ts';
import type { ConnackProperties, ConnectPacket, Will } from './packet.ts';
import type { FaultReason } from './protocol-error.ts';
import { type ConnectReason, ReasonCode, type ServerDisconnectReason } from './reason-codes.ts';
import { isTopicName, topicLevels } from './topic.ts';

export type ConnectRefusal = Ending<Exclude<ConnectReason, 0>>;

export interface Grant {
  readonly clientId: string;
  readonly assigned: boolean;
  /** 0: never asked for a sign of life. */
  readonly keepAliveSeconds: number;
  readonly sessionExpirySeconds: number;
  readonly maxInflight: number;
  readonly aliasMaximum: number;
  readonly maximumPacketSize: number;
  /** The client asked not to be told reason strings. */
  readonly terse: boolean;
}

/** What a broker says of topics. */
type TopicBounds = Pick<Broker, 'maxTopicLevels' | 'maxTopicLength'>;

export function judgeConnect(
  packet: ConnectPacket,
  options: MqttOptions,
  bounds: TopicBounds,
): Grant | ConnectRefusal {
  const { version, clientId, will, properties } = packet;
  // 3.1.1 [MQTT-3.1.3-8]: without a name there is nothing to come back to.
  const nameless = clientId === '' && version === 4 && !packet.cleanStart;
  if (nameless || clientId.length > options.maxClientIdLength) {
    const reasonCode = ReasonCode.clientIdentifierNotValid;
    if (nameless) return { reasonCode, text: 'no client id' };
    return { reasonCode, text: 'the client id is too long', limit: 'client-id' };
  }
  const refused = will && judgeWill(will, options, bounds);
  if (refused !== undefined) return refused;
  return {
    // Unguessable, so that nobody takes over the session of a stranger.
    clientId: clientId === '' ? `auto${randomUUID().replaceAll('-', '')}` : clientId,
    assigned: clientId === '',
    keepAliveSeconds: keepAlive(packet, options.keepAliveMaximumSeconds),
    sessionExpirySeconds: sessionExpiry(packet, options),
    maxInflight: Math.min(properties?.receiveMaximum ?? 65_535, options.maxInflight),
    aliasMaximum: Math.min(properties?.topicAliasMaximum ?? 0, options.topicAliasMaximum),
    maximumPacketSize: properties?.maximumPacketSize ?? Number.POSITIVE_INFINITY,
    terse: properties?.requestProblemInformation === false,
  };
}

function judgeWill(
  { topic, payload, qos, retain, properties }: Will,
  options: MqttOptions,
  { maxTopicLevels, maxTopicLength }: TopicBounds,
): ConnectRefusal | undefined {
  // [MQTT-3.2.2-12], [MQTT-3.2.2-13]
  if (qos > options.maxQos) {
    return { reasonCode: ReasonCode.qosNotSupported, text: 'the will is above the maximum QoS' };
  }
  if (retain && !options.retainAvailable) {
    const reasonCode = ReasonCode.retainNotSupported;
    return { reasonCode, text: 'the will has RETAIN, which is off' };
  }
  if (topicLevels(topic, maxTopicLevels) > maxTopicLevels) {
    const reasonCode = ReasonCode.topicNameInvalid;
    return { reasonCode, text: 'the will topic has too many levels', limit: 'topic-levels' };
  }
  if (topic.length > maxTopicLength) {
    const reasonCode = ReasonCode.topicNameInvalid;
    return { reasonCode, text: 'the will topic is too long', limit: 'topic-length' };
  }
  if (topic.startsWith(SYSTEM_PREFIX)) {
    return { reasonCode: ReasonCode.topicNameInvalid, text: 'only the broker publishes to $SYS/' };
  }
  if (properties?.payloadFormatIndicator === 1 && !isUtf8(payload)) {
    const reasonCode = ReasonCode.payloadFormatInvalid;
    return { reasonCode, text: 'the will says that it is UTF-8, and is not' };
  }
  return undefined;
}

function keepAlive({ version, keepAliveSeconds }: ConnectPacket, maximum: number): number {
  if (maximum === 0 || (keepAliveSeconds > 0 && keepAliveSeconds <= maximum)) {
    return keepAliveSeconds;
  }
  // A 3.1.1 client cannot be told that its own is too long: it would be cut keeping its word.
  return version === 4 && keepAliveSeconds > 0 ? keepAliveSeconds : maximum;
}

function sessionExpiry(
  { version, cleanStart, properties }: ConnectPacket,
  options: MqttOptions,
): number {
  const forever = version === 4 && !cleanStart;
  const asked = forever ? NEVER_SECONDS : (properties?.sessionExpiryInterval ?? 0);
  return Math.min(asked, options.sessionExpiryMaximumSeconds);
}

/** Why there is no session for a CONNECT, in a word of its answer; 3.1.1 has one for most. */
export const CLAIM_REFUSALS = {
  'stale-owner': {
    reasonCode: ReasonCode.serverUnavailable,
    text: 'the client id connected to another node at the same time',
  },
  'other-user': {
    reasonCode: ReasonCode.notAuthorized,
    text: 'the session of this client id is that of another user',
  },
  unavailable: {
    reasonCode: ReasonCode.serverUnavailable,
    text: 'the store of sessions does not answer',
  },
  'too-many-sessions': {
    reasonCode: ReasonCode.quotaExceeded,
    text: 'too many sessions',
    limit: 'sessions',
  },
  'too-many-subscriptions': {
    reasonCode: ReasonCode.quotaExceeded,
    text: 'the session has too many subscriptions',
  },
  invalid: {
    reasonCode: ReasonCode.clientIdentifierNotValid,
    text: 'no session can have this client id',
  },
} as const satisfies Record<SessionRefusal, ConnectRefusal>;

/** What a 5.0 client is told: only where it differs from what it asked for or may assume. */
export function connackProperties(
  packet: ConnectPacket,
  grant: Grant,
  options: MqttOptions,
): ConnackProperties {
  const { properties } = packet;
  const { maxQos } = options;
  return {
    ...(grant.sessionExpirySeconds !== (properties?.sessionExpiryInterval ?? 0) && {
      sessionExpiryInterval: grant.sessionExpirySeconds,
    }),
    ...(grant.assigned && { assignedClientIdentifier: grant.clientId }),
    ...(grant.keepAliveSeconds !== packet.keepAliveSeconds && {
      serverKeepAlive: grant.keepAliveSeconds,
    }),
    ...(maxQos !== 2 && { maximumQos: maxQos }),
    ...(!options.retainAvailable && { retainAvailable: false }),
    ...offeredProperties(options),
    ...responseInformation(packet, grant, options),
    receiveMaximum: options.receiveMaximum,
    maximumPacketSize: options.maxPacketSize,
    topicAliasMaximum: options.topicAliasMaximum,
  };
}

/**
 * [MQTT-3.1.2-28]: only to who asks. A client id that would be more than one level of a topic is
 * told nothing (S5).
 */
function responseInformation(
  { properties }: ConnectPacket,
  { clientId }: Grant,
  options: MqttOptions,
): ConnackProperties {
  const pattern = options.responseInformation;
  if (properties?.requestResponseInformation !== true || pattern === '') return {};
  if (!isTopicName(clientId) || clientId.includes('/')) return {};
  return { responseInformation: pattern.replaceAll('%c', () => clientId) };
}

/**
 * The session expiry that a DISCONNECT asks for, as granted; undefined: it may not ask
 * [MQTT-3.14.2-2].
 */
export function expiryAtDisconnect(
  asked: number,
  atConnect: number,
  options: MqttOptions,
): number | undefined {
  if (atConnect === 0 && asked > 0) return undefined;
  return Math.min(asked, options.sessionExpiryMaximumSeconds);
}

/**
 * A fault in CONNECT, in a word that CONNACK may carry: it has none for what only later packets
 * have.
 */
export function connectReason(reason: FaultReason): Exclude<ConnectReason, 0> {
  switch (reason) {
    case ReasonCode.topicAliasInvalid:
    case ReasonCode.topicFilterInvalid:
      return ReasonCode.protocolError;
    default:
      return reason;
  }
}

/** A fault after CONNECT, in a word that DISCONNECT may carry. */
export function disconnectReason(reason: FaultReason): ServerDisconnectReason {
  return reason === ReasonCode.unsupportedProtocolVersion ? ReasonCode.protocolError : reason;
}
