/**
 * What can be set for MQTT: each with its unit, its default and its range. The composition root
 * maps the configuration file onto this; a value outside its range is refused here, so that no
 * other caller can start a broker with it either.
 */

import type { SessionLimits } from '../../broker/ports.ts';

export interface MqttOptions {
  /**
   * Largest packet that a client may send, whole, in bytes. Default 2 MiB, 1 KiB to 268,435,460.
   */
  readonly maxPacketSize: number;
  /**
   * Highest QoS that a client may publish with; above it the client is disconnected. Default 2, 0
   * to 2.
   */
  readonly maxQos: 0 | 1 | 2;
  /** Whether retained messages are taken. Default true. */
  readonly retainAvailable: boolean;
  /** Whether filters may have wildcards, those of queues too. Default true. */
  readonly wildcardsAvailable: boolean;
  /** Whether subscriptions may be shared (`$share/...`), those of queues too. Default true. */
  readonly sharesAvailable: boolean;
  /** Whether subscriptions may have identifiers. Default true. */
  readonly subscriptionIdentifiersAvailable: boolean;
  /**
   * What a 5.0 client that asks for response information is told, with `%c` for its client id; ''
   * tells nothing. Default ''.
   */
  readonly responseInformation: string;
  /**
   * QoS 1 and 2 publishes of one connection that may wait for their acknowledgement. More of them
   * from a 5.0 client is an error; from a 3.1.1 client they wait in its socket. Default 1024, 1 to
   * 65,535.
   */
  readonly receiveMaximum: number;
  /** Topic aliases for each connection and direction. Default 64, 0 (none) to 65,535. */
  readonly topicAliasMaximum: number;
  /**
   * Longest keep-alive in seconds. 5.0 clients are told; a 3.1.1 client, which cannot be told, is
   * held to it only if it asks for none. Default 0 (no bound), 0 to 65,535.
   */
  readonly keepAliveMaximumSeconds: number;
  /**
   * Bytes of CONNECT packets that are not whole yet, of all connections together. Default 64 MiB, 1
   * MiB to 16 GiB.
   */
  readonly maxHandshakeBytes: number;
  /** Longest client id, in UTF-16 units. Default 256, 23 to 65,535. */
  readonly maxClientIdLength: number;
  /**
   * QoS 1 and 2 deliveries that one client may hold unacknowledged; the client's own receive
   * maximum is a second bound. Default 128, 1 to 65,535.
   */
  readonly maxInflight: number;
  /**
   * Bytes that may wait for one client's socket: above it QoS 0 deliveries are dropped and the
   * client is not read; far below it QoS 1 and 2 already wait in the session. Default 4 MiB, 64 KiB
   * to 1 GiB.
   */
  readonly maxBufferedBytes: number;
  /** Subscriptions of one session. Default 1,000, 1 to 1,000,000. */
  readonly maxSubscriptions: number;
  /** PUBLISH packets of one connection in a second. Default 0 (no bound), 0 to 10,000,000. */
  readonly maxMessageRate: number;
  /** Bytes that one connection sends in a second. Default 0 (no bound), 0 to 16 GiB. */
  readonly maxByteRate: number;
  /**
   * For how long a connection may save up what it does not send, in milliseconds. Default 1,000,
   * 100 to 3,600,000.
   */
  readonly rateBurstMs: number;
  /** What becomes of who is too fast: not read for a while, or disconnected. Default slow. */
  readonly onRate: 'slow' | 'disconnect';
  /**
   * Longest session expiry in seconds, also for 3.1.1. Default 604,800 (a week), 0 to 4,294,967,295
   * (never).
   */
  readonly sessionExpiryMaximumSeconds: number;
  /**
   * QoS 1 and 2 messages that wait in one session; above it is `overflow`. Default 1,000, 1 to
   * 10,000,000.
   */
  readonly maxQueuedMessages: number;
  /** Their bytes. Default 8 MiB, 1 KiB to 16 GiB. */
  readonly maxQueuedBytes: number;
  /**
   * What becomes of a message for a durable session that is full: its oldest messages go
   * (`drop-head`, the default), or the publisher is refused (`reject-publish`).
   */
  readonly overflow: SessionLimits['overflow'];
  /** Bytes that wait in all sessions together. Default 256 MiB, 0 to 1 TiB. */
  readonly maxTotalQueuedBytes: number;
}

const KIB = 1024;
const MIB = 1024 * KIB;

export const MQTT_DEFAULTS: MqttOptions = {
  maxPacketSize: 2 * MIB,
  maxQos: 2,
  retainAvailable: true,
  wildcardsAvailable: true,
  sharesAvailable: true,
  subscriptionIdentifiersAvailable: true,
  responseInformation: '',
  receiveMaximum: 1024,
  topicAliasMaximum: 64,
  keepAliveMaximumSeconds: 0,
  maxHandshakeBytes: 64 * MIB,
  maxClientIdLength: 256,
  maxInflight: 128,
  maxBufferedBytes: 4 * MIB,
  maxSubscriptions: 1000,
  maxMessageRate: 0,
  maxByteRate: 0,
  rateBurstMs: 1000,
  onRate: 'slow',
  sessionExpiryMaximumSeconds: 604_800,
  maxQueuedMessages: 1000,
  maxQueuedBytes: 8 * MIB,
  overflow: 'drop-head',
  maxTotalQueuedBytes: 256 * MIB,
};

/** Names of the options that are numbers. */
type NumberName = {
  [Name in keyof MqttOptions]: MqttOptions[Name] extends number ? Name : never;
}[keyof MqttOptions];

/** The ranges that the comments above tell. */
const MQTT_RANGES = {
  maxPacketSize: [KIB, 268_435_460],
  maxQos: [0, 2],
  receiveMaximum: [1, 65_535],
  topicAliasMaximum: [0, 65_535],
  keepAliveMaximumSeconds: [0, 65_535],
  maxHandshakeBytes: [MIB, 16_384 * MIB],
  maxClientIdLength: [23, 65_535],
  maxInflight: [1, 65_535],
  maxBufferedBytes: [64 * KIB, 1024 * MIB],
  maxSubscriptions: [1, 1_000_000],
  maxMessageRate: [0, 10_000_000],
  maxByteRate: [0, 16_384 * MIB],
  rateBurstMs: [100, 3_600_000],
  sessionExpiryMaximumSeconds: [0, 4_294_967_295],
  maxQueuedMessages: [1, 10_000_000],
  maxQueuedBytes: [KIB, 16_384 * MIB],
  maxTotalQueuedBytes: [0, 1_048_576 * MIB],
} as const satisfies Record<NumberName, readonly [min: number, max: number]>;

/** The defaults with what is set on top; throws a RangeError that names the option. */
export function mqttOptions(set: Partial<MqttOptions> = {}): MqttOptions {
  const options = { ...MQTT_DEFAULTS, ...set };
  for (const [name, [min, max]] of Object.entries(MQTT_RANGES)) {
    const value = options[name as NumberName];
    if (!Number.isSafeInteger(value) || value < min || value > max) {
      throw new RangeError(`${name} must be a whole number from ${min} to ${max}, not ${value}`);
    }
  }
  return options;
}

/** Session expiry that never comes (MQTT 5.0 section 3.1.2.11.2). */
export const NEVER_SECONDS = 0xffff_ffff;
