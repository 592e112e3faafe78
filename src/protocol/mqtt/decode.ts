/**
 * From the byte stream of one client to its packets: the one thing a connection feeds and asks.
 *
 *     for (decoder.push(chunk); (packet = decoder.next()) !== undefined; ) ...
 *
 * Which packets may come depends on where the connection is: first one CONNECT of at most
 * `CONNECT_BYTES_MAX` bytes, then the packets of its version (no larger than that until `admitted`,
 * if CONNECT names a method of authentication), never a second CONNECT. All rules of
 * format of both versions hold for what comes out; what needs more than the packet (aliases,
 * quotas, packet ids in use, authorisation) is for the connection.
 *
 * After a protocol error the decoder gives that error for ever. It never throws and never reads a
 * byte of one packet as part of another.
 */

import { ByteReader } from '../bytes.ts';
import { decodeAcknowledgement } from './decode-acknowledgement.ts';
import { decodeConnect } from './decode-connect.ts';
import { decodeAuth, decodeDisconnect } from './decode-disconnect.ts';
import { decodePublish } from './decode-publish.ts';
import { decodeSubscribe, decodeUnsubscribe } from './decode-subscribe.ts';
import { conclude } from './fields.ts';
import { type Frame, PacketSplitter } from './framing.ts';
import { type ClientPacket, type MqttVersion, PacketType } from './packet.ts';
import { Faults, type ProtocolError } from './protocol-error.ts';
import { TopicReader } from './topic-reader.ts';

/** What a peer may make us hold before it has said who it is. */
export const CONNECT_BYTES_MAX = 65_536;

const PINGREQ = Object.freeze({ kind: 'pingreq' } as const);

export interface DecoderOptions {
  /** Of a whole packet with its header, in bytes. */
  readonly maxPacketSize: number;
}

export class PacketDecoder {
  readonly #splitter: PacketSplitter;
  readonly #maxPacketSize: number;
  readonly #reader = new ByteReader<ProtocolError>(Faults.truncated);
  readonly #topics = new TopicReader();
  #version: MqttVersion | undefined;
  #answerSizeMax = Number.POSITIVE_INFINITY;

  constructor(options: DecoderOptions) {
    this.#maxPacketSize = options.maxPacketSize;
    this.#splitter = new PacketSplitter(Math.min(CONNECT_BYTES_MAX, options.maxPacketSize));
  }

  /**
   * The version that the client speaks, as far as its CONNECT could be read; after a failed
   * CONNECT, the version in which it can be told so. Undefined: it did not get as far as that, and
   * is told nothing.
   */
  get version(): MqttVersion | undefined {
    return this.#version;
  }

  /** The maximum packet size of its CONNECT, in bytes; until that is read there is none. */
  get answerSizeMax(): number {
    return this.#answerSizeMax;
  }

  /** True while the client owes the rest of a packet, or packets wait to be asked for. */
  get midPacket(): boolean {
    return this.#splitter.midPacket;
  }

  /** It is let in: what holds for strangers ends. */
  admitted(): void {
    if (this.#version !== undefined) this.#splitter.enter(this.#version, this.#maxPacketSize);
  }

  /** What was given before is invalid from here on: see `packet.ts`. */
  push(chunk: Uint8Array): void {
    this.#splitter.push(chunk);
  }

  /** The next packet, or undefined if more bytes are needed. */
  next(): ClientPacket | ProtocolError | undefined {
    const frame = this.#splitter.next();
    if (frame === undefined) return this.#splitter.fault;
    const packet = this.#decode(frame);
    if (packet.kind === 'protocol-error') this.#splitter.stop(packet);
    return packet;
  }

  #decode(frame: Frame): ClientPacket | ProtocolError {
    const version = this.#version;
    if (version === undefined) return this.#connect(frame);
    if (frame.overlong && version === 5) return Faults.lengthNotMinimal;
    const type = (frame.header >> 4) as PacketType;
    if (type === PacketType.publish) return decodePublish(frame, version, this.#topics);
    const reader = this.#reader;
    reader.reset(frame.bytes, frame.start, frame.end);
    const packet = conclude(reader, this.#decodeRare(type, version));
    reader.release();
    return packet;
  }

  /** Everything but CONNECT and PUBLISH; meaningless when the reader has a fault. */
  #decodeRare(type: PacketType, version: MqttVersion): ClientPacket | ProtocolError {
    const reader = this.#reader;
    switch (type) {
      case PacketType.puback:
      case PacketType.pubrec:
      case PacketType.pubrel:
      case PacketType.pubcomp:
        return decodeAcknowledgement(reader, type, version);
      case PacketType.subscribe:
        return decodeSubscribe(reader, version);
      case PacketType.unsubscribe:
        return decodeUnsubscribe(reader, version);
      case PacketType.pingreq:
        return PINGREQ;
      case PacketType.disconnect:
        return decodeDisconnect(reader, version);
      case PacketType.auth:
        return decodeAuth(reader);
      default:
        // The splitter lets no other type through.
        return Faults.reservedType;
    }
  }

  #connect(frame: Frame): ClientPacket | ProtocolError {
    const reader = this.#reader;
    reader.reset(frame.bytes, frame.start, frame.end);
    const { version, packet } = decodeConnect(reader);
    this.#version = version;
    reader.release();
    if (packet.kind === 'protocol-error') return packet;
    if (frame.overlong && packet.version === 5) return Faults.lengthNotMinimal;
    this.#answerSizeMax = packet.properties?.maximumPacketSize ?? this.#answerSizeMax;
    // What follows is read before anybody knows who the client is.
    const isAsked = packet.properties?.authenticationMethod !== undefined;
    const most = isAsked ? CONNECT_BYTES_MAX : Number.POSITIVE_INFINITY;
    this.#splitter.enter(packet.version, Math.min(most, this.#maxPacketSize));
    return packet;
  }
}
