/**
 * One PUBLISH to one client, as bytes: topic aliases, the largest packet that it takes, what of the
 * bytes is shared with other clients. Whether a message may go now is not asked here.
 *
 * MQTT 5.0 sections 3.3, 3.1.2.11.
 */

import type { Publication } from '../../broker/ports.ts';
import type { MqttContext } from './context.ts';
import { publishProperties } from './convert.ts';
import type { Recipient } from './encode.ts';
import { type OutgoingMessage, PublishEncoder } from './encode-publish.ts';
import type { Output } from './output.ts';
import type { Qos } from './packet.ts';
import { expiryLeft } from './session.ts';

/**
 * Above it a QoS 0 packet is written from the bytes that all its subscribers share, without a copy.
 */
const SHARED_BYTES = 8192;

export interface PublishWriterParts {
  readonly context: MqttContext;
  readonly output: Output;
  readonly recipient: Recipient;
  /** The smaller of the client's topic alias maximum and ours. */
  readonly aliasMaximum: number;
}

/** What a PUBLISH says besides the message. */
export interface How {
  readonly qos: Qos;
  readonly retain: boolean;
  readonly dup: boolean;
  readonly packetId: number;
  readonly identifiers: readonly number[];
}

/** Read during one call of the encoder only. */
const scratch = {
  version: 4 as 4 | 5,
  qos: 0 as Qos,
  retain: false,
  dup: false,
  packetId: 0,
  subscriptionIdentifiers: [] as readonly number[] | undefined,
};

export class PublishWriter {
  readonly #parts: PublishWriterParts;
  readonly #aliases = new Map<string, number>();

  constructor(parts: PublishWriterParts) {
    this.#parts = parts;
  }

  /** False: larger than the client takes; nothing was written. So do the others. */
  publication(publication: Publication, how: How): boolean {
    const shared = publication.fanningOut && this.#parts.aliasMaximum === 0;
    if (shared) return this.encoded(encoderOf(publication), how);
    return this.message(this.#outgoing(publication), how);
  }

  /**
   * [MQTT-3.3.2-9], [MQTT-3.3.2-12]: the first packet with a topic gives it a number, the next name
   * that.
   */
  message(plain: OutgoingMessage, how: How): boolean {
    const known = this.#aliases.get(plain.topic);
    const alias = known ?? this.#aliases.size + 1;
    if (alias > this.#parts.aliasMaximum) return this.encoded(new PublishEncoder(plain), how);
    const sent = this.encoded(
      new PublishEncoder({
        topic: known === undefined ? plain.topic : '',
        payload: plain.payload,
        properties: { ...plain.properties, topicAlias: alias },
      }),
      how,
    );
    if (sent && known === undefined) this.#aliases.set(plain.topic, alias);
    return sent;
  }

  encoded(encoder: PublishEncoder, how: How): boolean {
    const { output, recipient, context } = this.#parts;
    scratch.version = recipient.version;
    scratch.qos = how.qos;
    scratch.retain = how.retain;
    scratch.dup = how.dup;
    scratch.packetId = how.packetId;
    scratch.subscriptionIdentifiers = how.identifiers;
    const limit = recipient.maximumPacketSize;
    if (limit !== Number.POSITIVE_INFINITY && encoder.size(scratch) > limit) {
      context.counters.droppedTooLarge++;
      return false;
    }
    encoder.append(output.writer, scratch);
    context.counters.sent++;
    output.appended();
    return true;
  }

  /** At QoS 0; dropped and counted where too much waits for the socket. */
  unacknowledged(publication: Publication, retain: boolean, identifiers: readonly number[]): void {
    const { context, output, recipient, aliasMaximum } = this.#parts;
    const { options, counters } = context;
    if (output.waiting + publication.message.payload.length > options.maxBufferedBytes) {
      counters.droppedSlow++;
      return;
    }
    const plain = !retain && identifiers.length === 0 && aliasMaximum === 0;
    if (plain && publication.fanningOut && publication.message.payload.length >= SHARED_BYTES) {
      const bytes = encoderOf(publication).shared(recipient.version);
      if (bytes.length > recipient.maximumPacketSize) {
        counters.droppedTooLarge++;
        return;
      }
      counters.sent++;
      output.writeShared(bytes);
      return;
    }
    this.publication(publication, { qos: 0, retain, dup: false, packetId: 0, identifiers });
  }

  #outgoing({ message, publishedAtMs }: Publication): OutgoingMessage {
    const { recipient, context } = this.#parts;
    const { topic, payload, properties } = message;
    if (recipient.version === 4 || properties === undefined) {
      return { topic, payload, properties: undefined };
    }
    const left = expiryLeft(message, publishedAtMs, context.broker.clock);
    return { topic, payload, properties: publishProperties(properties, left) };
  }
}

/** One encoder for all subscribers that get the message now. */
function encoderOf(publication: Publication): PublishEncoder {
  const { encoder, message } = publication;
  if (encoder instanceof PublishEncoder) return encoder;
  const made = new PublishEncoder({
    topic: message.topic,
    payload: message.payload,
    properties: publishProperties(message.properties, message.properties?.expirySeconds),
  });
  publication.encoder = made;
  return made;
}
