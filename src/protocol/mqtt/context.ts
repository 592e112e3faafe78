/** What all connections of one listener share. */

import type { Broker } from '../../broker/ports.ts';
import type { Logger } from '../../telemetry/logger.ts';
import { type LimitCounts, limitCounts, type MqttLimit } from './limits.ts';
import type { MqttOptions } from './options.ts';
import type { Sessions } from './sessions.ts';
import type { Turn } from './turn.ts';

export interface MqttContext {
  readonly broker: Broker;
  readonly options: MqttOptions;
  readonly sessions: Sessions;
  readonly turn: Turn;
  readonly log: Logger;
  readonly counters: MqttCounters;
  readonly strangers: Strangers;
}

/** Those who have not said who they are. */
export interface Strangers {
  /** Bytes of their CONNECT packets so far. */
  bytes: number;
}

/** Plain numbers, copied by whoever shows them. */
export interface MqttCounters {
  /** Connections, from those who came all the way in. */
  accepted: number;
  /** Clients whose CONNECT was granted. */
  connected: number;
  /** PUBLISH packets of clients. */
  received: number;
  /** PUBLISH packets to clients, repeated ones included. */
  sent: number;
  /** QoS 0 deliveries to clients that do not read fast enough. */
  droppedSlow: number;
  /** Deliveries larger than their client takes. */
  droppedTooLarge: number;
  refusedPublishes: number;
  protocolErrors: number;
  readonly limited: LimitCounts;
}

export function mqttCounters(): MqttCounters {
  return {
    accepted: 0,
    connected: 0,
    received: 0,
    sent: 0,
    droppedSlow: 0,
    droppedTooLarge: 0,
    refusedPublishes: 0,
    protocolErrors: 0,
    limited: limitCounts(),
  };
}

/**
 * Why the server ends a connection: a reason of 5.0, and words for the log and the reason string.
 */
export interface Ending<Reason extends number> {
  readonly reasonCode: Reason;
  readonly text: string;
  /** Where it is a limit: counted when it is said. */
  readonly limit?: MqttLimit;
}
