/**
 * PUBLISH (MQTT 3.3) as the server sends it: one message, any number of subscribers.
 *
 *     3 | DUP QoS QoS RETAIN   remaining length
 *     topic name (string) | packet identifier (u16, QoS > 0) | properties (5.0) | payload
 *
 * The topic and the properties are encoded once. For the second subscriber of the same kind
 * (version, with or without a packet identifier) the whole packet is kept, and each further one
 * costs a copy and three patched bytes. At QoS 0 the kept packet can be written to many sockets
 * without a copy at all (`shared`).
 *
 * The payload is read when a packet is appended; it must not change while the message is in use.
 */

import { ByteWriter, utf8Size } from '../bytes.ts';
import { packetSize } from './encode.ts';
import { FIELD_BYTES_MAX, sizeOfVarint, VARINT_MAX, writeVarint } from './fields.ts';
import { type MqttVersion, PacketType, type PublishProperties, type Qos } from './packet.ts';
import { sizeOfProperties, writeProperties } from './properties.ts';

/** What is the same for every subscriber. */
export interface OutgoingMessage {
  /** A valid topic name of at most 65,535 bytes; empty only with a topic alias. */
  readonly topic: string;
  readonly payload: Uint8Array;
  /** Not sent in 3.1.1. Subscription identifiers stand in `PublishDelivery`. */
  readonly properties: Omit<PublishProperties, 'subscriptionIdentifiers'> | undefined;
}

/** What is this subscriber's. Read during the call only: one object may serve many calls. */
export interface PublishDelivery {
  readonly version: MqttVersion;
  readonly qos: Qos;
  readonly retain: boolean;
  readonly dup: boolean;
  /** 1 to 65,535; ignored at QoS 0. */
  readonly packetId: number;
  /** Of all subscriptions that match [MQTT-3.3.4-4]; not sent in 3.1.1. */
  readonly subscriptionIdentifiers: readonly number[] | undefined;
}

const SUBSCRIPTION_IDENTIFIER = 0x0b;

/** A whole packet whose first byte and packet identifier are replaced in each copy. */
interface KeptPacket {
  readonly bytes: Uint8Array;
  readonly packetIdAt: number;
}

const SHARED_4: PublishDelivery = sharedDelivery(4);
const SHARED_5: PublishDelivery = sharedDelivery(5);

function sharedDelivery(version: MqttVersion): PublishDelivery {
  const flags = { qos: 0, retain: false, dup: false } as const;
  return { version, ...flags, packetId: 0, subscriptionIdentifiers: undefined };
}

export class PublishEncoder {
  readonly #message: OutgoingMessage;
  readonly #topicSize: number;
  /** -1 until needed. */
  #propertiesSize = -1;
  /** Bits of the variants that were sent once. */
  #sent = 0;
  /** By variant. */
  #kept: (KeptPacket | undefined)[] | undefined;

  constructor(message: OutgoingMessage) {
    this.#message = message;
    this.#topicSize = utf8Size(message.topic);
    if (this.#topicSize > FIELD_BYTES_MAX) {
      throw new RangeError(`an MQTT topic of ${this.#topicSize} bytes`);
    }
  }

  /**
   * The exact size of the packet, to be held against the client's Maximum Packet Size
   * [MQTT-3.1.2-24].
   */
  size(delivery: PublishDelivery): number {
    return packetSize(this.#bodySize(delivery));
  }

  /** Appends the packet for this subscriber. */
  append(out: ByteWriter, delivery: PublishDelivery): void {
    const variant = variantOf(delivery);
    const identifiers = delivery.subscriptionIdentifiers;
    const plain = identifiers === undefined || identifiers.length === 0 || delivery.version === 4;
    if (!plain || (this.#sent & (1 << variant)) === 0) {
      if (plain) this.#sent |= 1 << variant;
      this.#write(out, delivery);
      return;
    }
    const kept = this.#kept?.[variant] ?? this.#keep(variant, delivery);
    const at = out.reserve(kept.bytes.length);
    const bytes = out.bytes;
    bytes.set(kept.bytes, at);
    bytes[at] = headerOf(delivery);
    if (delivery.qos > 0) {
      const idAt = at + kept.packetIdAt;
      bytes[idAt] = delivery.packetId >>> 8;
      bytes[idAt + 1] = delivery.packetId;
    }
  }

  /**
   * The packet at QoS 0 without RETAIN and without subscription identifiers: the same bytes for
   * every subscriber of that version. Nobody may change them.
   */
  shared(version: MqttVersion): Uint8Array {
    const delivery = version === 4 ? SHARED_4 : SHARED_5;
    const variant = variantOf(delivery);
    return (this.#kept?.[variant] ?? this.#keep(variant, delivery)).bytes;
  }

  #bodySize(delivery: PublishDelivery): number {
    let size = 2 + this.#topicSize + this.#message.payload.length;
    if (delivery.qos > 0) size += 2;
    if (delivery.version === 5) {
      const properties = this.#propertyBytes() + identifiersSize(delivery);
      size += sizeOfVarint(properties) + properties;
    }
    return size;
  }

  #propertyBytes(): number {
    if (this.#propertiesSize < 0) this.#propertiesSize = sizeOfProperties(this.#message.properties);
    return this.#propertiesSize;
  }

  #keep(variant: number, delivery: PublishDelivery): KeptPacket {
    const body = this.#bodySize(delivery);
    const out = new ByteWriter(packetSize(body));
    this.#write(out, {
      ...delivery,
      retain: false,
      dup: false,
      subscriptionIdentifiers: undefined,
    });
    const kept = { bytes: out.take(), packetIdAt: 1 + sizeOfVarint(body) + 2 + this.#topicSize };
    this.#kept ??= [undefined, undefined, undefined, undefined];
    this.#kept[variant] = kept;
    return kept;
  }

  #write(out: ByteWriter, delivery: PublishDelivery): void {
    const { topic, payload, properties } = this.#message;
    const topicSize = this.#topicSize;
    const length = this.#bodySize(delivery);
    if (length > VARINT_MAX) throw new RangeError(`an MQTT packet of ${length} bytes`);
    out.ensure(packetSize(length));
    out.u8(headerOf(delivery));
    writeVarint(out, length);
    out.u16(topicSize);
    out.text(topic, topicSize);
    if (delivery.qos > 0) out.u16(delivery.packetId);
    if (delivery.version === 5) {
      writeProperties(out, properties, this.#propertyBytes() + identifiersSize(delivery));
      for (const identifier of delivery.subscriptionIdentifiers ?? []) {
        out.u8(SUBSCRIPTION_IDENTIFIER);
        writeVarint(out, identifier);
      }
    }
    out.append(payload);
  }
}

/** 0 to 3: what decides the layout. */
function variantOf(delivery: PublishDelivery): number {
  return (delivery.version === 5 ? 2 : 0) | (delivery.qos > 0 ? 1 : 0);
}

function headerOf(delivery: PublishDelivery): number {
  const { qos } = delivery;
  // DUP is 0 at QoS 0 [MQTT-3.3.1-2].
  const dup = delivery.dup && qos > 0 ? 8 : 0;
  return (PacketType.publish << 4) | dup | (qos << 1) | (delivery.retain ? 1 : 0);
}

function identifiersSize(delivery: PublishDelivery): number {
  const identifiers = delivery.subscriptionIdentifiers;
  if (identifiers === undefined) return 0;
  let size = 0;
  for (const identifier of identifiers) size += 1 + sizeOfVarint(identifier);
  return size;
}
