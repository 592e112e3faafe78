/** What the client of a shard is made of, and its bounds. Every bound has a default. */

import { STREAM_WINDOW } from '../machine/streams.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { BatchPort } from './port.ts';
import type { Clock } from './stamp-clock.ts';

/** Of the port `QueueClient`, what only all shards together have. */
export type NotOfOneShard = 'isShared' | 'freshness' | 'lookUp' | 'sessions' | 'enqueueParts';

export interface ShardClientLimits {
  /** After this long a publish is answered `timeout`. 100 ms to 10 minutes. */
  readonly ackTimeoutMs: number;
  /** Numbers under way; 1 to 4,096. */
  readonly window: number;
  /** Bytes under way; from 64 KiB (one batch may always go). */
  readonly windowBytes: number;
  /**
   * Batches without their answer, 1 to 64. While so many are, a batch that is not full waits: the
   * log writes one after the other, and each post costs as much as some dozen messages. Over a
   * route one more: most of an answer's time is the way to the other nodes and back.
   */
  readonly batchesUnderWay: number;
  /** A batch is closed when it is so long; 4 KiB to 1 MiB. */
  readonly batchBytes: number;
  /** Above this publishers are asked to stop, below the half of it to go on. */
  readonly highWaterBytes: number;
  /** Above this a publish is refused with `unavailable`. */
  readonly pendingBytesMax: number;
  /** The largest payload. */
  readonly payloadBytesMax: number;
  /** The largest stored message: payload, topic and properties. */
  readonly messageBytesMax: number;
}

export const SHARD_CLIENT_DEFAULTS: ShardClientLimits = {
  ackTimeoutMs: 10_000,
  window: STREAM_WINDOW,
  windowBytes: 32 * 1024 * 1024,
  batchesUnderWay: 1,
  batchBytes: 65_536,
  highWaterBytes: 16 * 1024 * 1024,
  pendingBytesMax: 256 * 1024 * 1024,
  payloadBytesMax: 1024 * 1024,
  messageBytesMax: 1024 * 1024 + 65_536,
};

const BATCHES_UNDER_WAY_ROUTED = 2;

export function clientLimits(
  isRouted: boolean,
  given: Partial<ShardClientLimits> = {},
): ShardClientLimits {
  const ofRoute = isRouted && { batchesUnderWay: BATCHES_UNDER_WAY_ROUTED };
  return { ...SHARD_CLIENT_DEFAULTS, ...ofRoute, ...given };
}

export interface ShardClientOptions {
  readonly port: BatchPort;
  /** This node's id. */
  readonly node: string;
  readonly logger: Logger;
  /** The port is that of a route to whoever leads the shard (`leader-route.ts`); default no. */
  readonly isRouted?: boolean;
  /** Publishes are taken only while this node leads; default no. */
  readonly rejects?: boolean;
  readonly limits?: Partial<ShardClientLimits>;
  readonly clock?: Clock;
  /** Aborted: the opening is given up, as by `close`. Not heard any more once it is open. */
  readonly signal?: AbortSignal | undefined;
  /** Called at most once: the shard is gone, and why. Not called after `close`. */
  onFailed?(why: string): void;
}

/** A window of 4,096 numbers has room for such a batch soon. */
export const BATCH_ENQUEUES_MAX = 1024;
