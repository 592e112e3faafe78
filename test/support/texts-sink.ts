/** A consumer of a `QueueClient` that keeps the texts of what it gets, and settles none of it. */

import type { ConsumerSink, Delivery } from '../../src/broker/ports.ts';

export function textsSink(texts: string[]): ConsumerSink {
  return {
    attached: () => undefined,
    delivered: ({ message }: Delivery) => void texts.push(Buffer.from(message.payload).toString()),
    batchEnd: () => undefined,
    ended: () => undefined,
    cancelled: () => undefined,
  };
}
