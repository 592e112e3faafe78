/** What the broker counts: plain numbers, copied by whoever shows them. */

export interface BrokerCounters {
  published: number;
  /** Copies handed to live subscribers. */
  fannedOut: number;
  /** Publishes to `$queue/...` that were handed to the shard. */
  enqueued: number;
  /**
   * Copies of ordinary publishes that were handed to the shard, for the queues that capture and
   * for members of shares.
   */
  captured: number;
  /** Of these: nobody waited (`capture: async`, QoS 0, wills), and it was not stored. */
  captureLost: number;
  /** Messages for queues that nobody waits for (QoS 0, wills) and that were not stored. */
  unansweredRefused: number;
  /** Publishes to ordinary topics that had to wait for routes that are current. */
  held: number;
  /** Of these: refused, as the routes did not become so in time, or too much waited. */
  unrouted: number;
  /** Publishes refused during the call. */
  refused: number;
  /** Of these, by the limit that they met. */
  topicTooDeep: number;
  topicTooLong: number;
  retainedFull: number;
}

export function newBrokerCounters(): BrokerCounters {
  return {
    published: 0,
    fannedOut: 0,
    enqueued: 0,
    captured: 0,
    captureLost: 0,
    unansweredRefused: 0,
    held: 0,
    unrouted: 0,
    refused: 0,
    topicTooDeep: 0,
    topicTooLong: 0,
    retainedFull: 0,
  };
}
