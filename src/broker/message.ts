/**
 * The one neutral message. Each protocol converts to and from it in one `convert` file: N
 * converters and not N x N.
 *
 * Ownership: `payload` and `correlationId` may be views of a receive buffer. Who keeps a message
 * after the call that handed it over copies them.
 */

export interface MessageProperties {
  readonly contentType?: string;
  readonly correlationId?: Uint8Array;
  readonly replyTo?: string;
  readonly messageId?: string;
  /** In the order of the publisher; names may repeat ([MQTT-3.3.2-17], [MQTT-3.3.2-18]). */
  readonly userProperties?: readonly (readonly [name: string, value: string])[];
  /** Seconds from the time of publish, 0 to 4,294,967,295. */
  readonly expirySeconds?: number;
  /** 0 (lowest) to 9. */
  readonly priority?: number;
  /** Milliseconds since 1970-01-01 UTC, as the publisher said. */
  readonly timestampMs?: number;
  /** The publisher says that the payload is UTF-8 text (MQTT payload format indicator 1). */
  readonly payloadIsText?: boolean;
}

export interface Message {
  /** A topic name without wildcards, 1 to 65,535 bytes of UTF-8. */
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly qos: 0 | 1 | 2;
  readonly retain: boolean;
  /** Absent when the publisher set none: the common case costs nothing. */
  readonly properties: MessageProperties | undefined;
}

/** Who published: stamped by the broker under the reserved `_flux.` prefix. */
export interface Origin {
  readonly clientId: string;
  readonly protocol: 'mqtt';
}

/** The same with bytes of its own: the receive buffer may go. */
export function ownedMessage(message: Message): Message {
  const { topic, payload, qos, retain, properties } = message;
  const correlationId = properties?.correlationId;
  return {
    topic,
    payload: new Uint8Array(payload),
    qos,
    retain,
    properties:
      correlationId === undefined
        ? properties
        : { ...properties, correlationId: new Uint8Array(correlationId) },
  };
}

/** Seconds that the message may still live: undefined = for ever, 0 = expired. */
export function remainingExpiry(
  message: Message,
  publishedAtMs: number,
  nowMs: number,
): number | undefined {
  const seconds = message.properties?.expirySeconds;
  if (seconds === undefined) return undefined;
  const left = seconds - Math.floor((nowMs - publishedAtMs) / 1000);
  return left > 0 ? left : 0;
}

/** What it costs to keep, in bytes, counted with a fixed share for objects. */
export function keptBytes(message: Message): number {
  const { properties } = message;
  let bytes = 256 + message.topic.length * 2 + message.payload.length;
  if (properties === undefined) return bytes;
  bytes += 128 + (properties.correlationId?.length ?? 0);
  bytes += 2 * ((properties.contentType?.length ?? 0) + (properties.replyTo?.length ?? 0));
  for (const [name, value] of properties.userProperties ?? []) {
    bytes += 64 + 2 * (name.length + value.length);
  }
  return bytes;
}
