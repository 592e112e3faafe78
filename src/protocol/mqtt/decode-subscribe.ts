/**
 * SUBSCRIBE and UNSUBSCRIBE (MQTT 3.8, 3.10).
 *
 *     packet identifier (u16) | properties (5.0)
 *     (topic filter (string) | options (u8, SUBSCRIBE)) ...
 *
 *     options, 5.0:   0 0 | retain handling (2) | retain as published | no local | QoS (2)
 *     options, 3.1.1: 0 0 0 0 0 0 | QoS (2)
 *
 * A malformed filter is an error of the packet; whether a good one is granted is for the
 * connection. How many filters a packet has is bounded by its size alone.
 */

import type { ByteReader } from '../bytes.ts';
import { readPacketId, readString } from './fields.ts';
import type {
  MqttVersion,
  Qos,
  SubscribePacket,
  Subscription,
  UnsubscribePacket,
} from './packet.ts';
import { Carrier, readProperties } from './properties.ts';
import { Faults, type ProtocolError } from './protocol-error.ts';
import { isTopicFilter, parseSharedFilter } from './topic.ts';

type Reader = ByteReader<ProtocolError>;

export function decodeSubscribe(reader: Reader, version: MqttVersion): SubscribePacket {
  const packetId = readPacketId(reader);
  const properties = version === 5 ? readProperties(reader, Carrier.subscribe) : undefined;
  const subscriptions: Subscription[] = [];
  // At least one [MQTT-3.8.3-2].
  if (reader.remaining === 0) reader.fail(Faults.noTopicFilter);
  while (reader.remaining > 0) {
    const topicFilter = readString(reader);
    const options = reader.u8();
    if (reader.fault !== undefined) break;
    const subscription = subscriptionOf(topicFilter, options, version);
    if ('kind' in subscription) reader.fail(subscription);
    else subscriptions.push(subscription);
  }
  return { kind: 'subscribe', packetId, subscriptions, properties };
}

function subscriptionOf(
  topicFilter: string,
  options: number,
  version: MqttVersion,
): Subscription | ProtocolError {
  const shared = parseSharedFilter(topicFilter);
  if (shared === 'malformed') return Faults.sharedFilter;
  if (shared === undefined && !isTopicFilter(topicFilter)) return Faults.topicFilter;
  // Reserved bits [MQTT-3.8.3-5], 3.1.1 [MQTT-3.8.3-4].
  if ((options & (version === 5 ? 0xc0 : 0xfc)) !== 0) return Faults.subscriptionOptions;
  const qos = options & 3;
  if (qos === 3) return Faults.subscriptionQos3;
  const retainHandling = (options >> 4) & 3;
  if (retainHandling === 3) return Faults.retainHandling3;
  const noLocal = (options & 4) !== 0;
  if (noLocal && shared !== undefined) return Faults.noLocalOnShared;
  return {
    topicFilter,
    filter: shared === undefined ? topicFilter : shared.filter,
    shareName: shared?.shareName,
    qos: qos as Qos,
    noLocal,
    retainAsPublished: (options & 8) !== 0,
    retainHandling: retainHandling as 0 | 1 | 2,
  };
}

export function decodeUnsubscribe(reader: Reader, version: MqttVersion): UnsubscribePacket {
  const packetId = readPacketId(reader);
  const properties = version === 5 ? readProperties(reader, Carrier.unsubscribe) : undefined;
  const topicFilters: string[] = [];
  // At least one [MQTT-3.10.3-2].
  if (reader.remaining === 0) reader.fail(Faults.noTopicFilter);
  while (reader.remaining > 0) {
    const topicFilter = readString(reader);
    if (reader.fault !== undefined) break;
    const shared = parseSharedFilter(topicFilter);
    if (shared === 'malformed') reader.fail(Faults.sharedFilter);
    else if (shared === undefined && !isTopicFilter(topicFilter)) reader.fail(Faults.topicFilter);
    else topicFilters.push(topicFilter);
  }
  return { kind: 'unsubscribe', packetId, topicFilters, properties };
}
