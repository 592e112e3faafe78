/**
 * The limits of MQTT clients that are counted here, by the name that the metric
 * `fluxmq_limited_total` tells; docs/limits.md says what happens at each.
 *
 * A closed list, so that no client makes a name.
 */

export const MQTT_LIMITS = [
  'handshake-bytes',
  'connect-pieces',
  'packet-size',
  'client-id',
  'sessions',
  'keep-alive',
  'topic-levels',
  'topic-length',
  'topic-alias',
  'receive-maximum',
  'in-flight',
  'buffered',
  'subscriptions',
  'pending-subscribes',
  'message-rate',
  'byte-rate',
] as const;
export type MqttLimit = (typeof MQTT_LIMITS)[number];

/** How often each limit held something back since the start. */
export type LimitCounts = Record<MqttLimit, number>;

export function limitCounts(): LimitCounts {
  return {
    'handshake-bytes': 0,
    'connect-pieces': 0,
    'packet-size': 0,
    'client-id': 0,
    sessions: 0,
    'keep-alive': 0,
    'topic-levels': 0,
    'topic-length': 0,
    'topic-alias': 0,
    'receive-maximum': 0,
    'in-flight': 0,
    buffered: 0,
    subscriptions: 0,
    'pending-subscribes': 0,
    'message-rate': 0,
    'byte-rate': 0,
  };
}
