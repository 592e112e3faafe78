/**
 * PUBLISH (MQTT 3.3) as the server receives it.
 *
 *     3 | DUP QoS QoS RETAIN   remaining length
 *     topic name (string) | packet identifier (u16, QoS > 0) | properties (5.0) | payload
 *
 * The hot path: read straight from the frame, one object and one view a packet. QoS and DUP were
 * judged with the header.
 */

import { ByteReader, viewOf } from '../bytes.ts';
import type { Frame } from './framing.ts';
import type { MqttVersion, PublishPacket, PublishProperties, Qos } from './packet.ts';
import { Carrier, readProperties } from './properties.ts';
import { Faults, type ProtocolError } from './protocol-error.ts';
import type { TopicReader } from './topic-reader.ts';

/** Used within one call only. */
const reader = new ByteReader<ProtocolError>(Faults.truncated);

export function decodePublish(
  frame: Frame,
  version: MqttVersion,
  topics: TopicReader,
): PublishPacket | ProtocolError {
  const { header, bytes, start, end } = frame;
  const qos = ((header >> 1) & 3) as Qos;
  if (end - start < 2) return Faults.truncated;
  const topicLength = ((bytes[start] as number) << 8) | (bytes[start + 1] as number);
  let at = start + 2 + topicLength;
  if (at > end) return Faults.truncated;
  const topic = topics.read(bytes, start + 2, at);
  if (typeof topic !== 'string') return topic;

  let packetId = 0;
  if (qos > 0) {
    if (end - at < 2) return Faults.truncated;
    packetId = ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
    if (packetId === 0) return Faults.packetIdZero;
    at += 2;
  }

  let properties: PublishProperties | undefined;
  if (version === 5) {
    if (at < end && bytes[at] === 0) {
      at++;
    } else {
      reader.reset(bytes, at, end);
      properties = readProperties(reader, Carrier.publish);
      at = reader.position;
      reader.release();
      if (reader.fault !== undefined) return reader.fault;
    }
  }
  // Empty only as the place of an alias (3.3.2.1).
  if (topicLength === 0 && properties?.topicAlias === undefined) return Faults.topicEmpty;

  return {
    kind: 'publish',
    topic,
    payload: viewOf(bytes, at, end),
    qos,
    retain: (header & 1) !== 0,
    dup: (header & 8) !== 0,
    packetId,
    properties,
  };
}
