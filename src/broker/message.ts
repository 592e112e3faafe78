/**
 * The one neutral message. Each protocol converts to and from it in one `convert` file: N converters and
 * not N x N.
 *
 * Ownership: `payload` may be a view of a receive buffer. Who keeps a message after the call that handed it
 * over copies the payload.
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
