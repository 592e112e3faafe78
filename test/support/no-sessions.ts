/**
 * The sessions of shards that keep none: every wish is refused as `unavailable`, and a consumer
 * hears so in a later turn. Holds nothing.
 */

import { sessionQueueName } from '../../src/shard/session-name.ts';
import { type ConsumerSink, SessionError, type SessionStore } from '../../src/broker/ports.ts';

const DETAIL = 'no shard of this node keeps sessions';

function refuse(): Promise<never> {
  return Promise.reject(new SessionError('unavailable', DETAIL));
}

export const NO_SESSIONS: SessionStore = {
  claim: refuse,
  discard: refuse,
  change: refuse,
  halve: refuse,
  finish: refuse,
  leave: refuse,
  receive: refuse,
  queueNameOf: sessionQueueName,
  consume(_handle, _credit, sink: ConsumerSink) {
    let isOpen = true;
    setImmediate(() => {
      if (isOpen) sink.cancelled('unavailable', DETAIL);
    });
    return {
      grant: () => undefined,
      settle: () => undefined,
      close: () => {
        isOpen = false;
      },
    };
  },
};
