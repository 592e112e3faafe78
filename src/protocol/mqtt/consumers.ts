/**
 * The queues that one connection consumes: their credit, and how their deliveries end.
 *
 * Credit is only granted while the socket takes what it is given, and never more than the client
 * may hold, so that a client that does not read costs what was under way to it and then nothing.
 * How much is under way at once begins small and grows with what the client took; large messages
 * make it small again.
 *
 * A delivery that was settled is no longer ours; closing says what becomes of the rest.
 */

import type {
  Broker,
  ConsumerSink,
  Delivery,
  QueueConsumer,
  QueueInfo,
} from '../../broker/ports.ts';
import type { Outbound } from './deliver.ts';
import type { HeldDelivery, QueueSource } from './session.ts';

const FIRST_BURST = 8;

export interface ConsumersParts {
  readonly broker: Broker;
  readonly clientId: string;
  readonly outbound: Outbound;
  /** What this client may hold unacknowledged at once. */
  readonly maxInflight: number;
  /** Bytes of deliveries under way to this client that are aimed at. */
  readonly maxBufferedBytes: number;
  /** Something is to be done at the end of the turn. */
  readonly ask: () => void;
  /** The queue ended; nothing follows on it. */
  readonly cancelled: (queueName: string, reason: 'queue-deleted' | 'unavailable') => void;
}

export class Consumers {
  readonly #parts: ConsumersParts;
  readonly #byFilter = new Map<string, QueueSubscription>();

  constructor(parts: ConsumersParts) {
    this.#parts = parts;
  }

  get count(): number {
    return this.#byFilter.size;
  }

  open(filter: string, queue: QueueInfo, identifier: number): void {
    const known = this.#byFilter.get(filter);
    if (known !== undefined && known.queue.queueId === queue.queueId) {
      known.identifier = identifier;
      return;
    }
    known?.close('returned');
    this.#byFilter.set(filter, new QueueSubscription(this.#parts, this, { queue, identifier }));
  }

  close(filter: string): void {
    this.#byFilter.get(filter)?.close('returned');
    this.#byFilter.delete(filter);
  }

  closeAll(how: 'lost' | 'returned'): void {
    for (const subscription of this.#byFilter.values()) subscription.close(how);
    this.#byFilter.clear();
  }

  /** Grants credit for what was acknowledged, once a turn. */
  grant(): void {
    if (!this.#parts.outbound.roomy) return;
    for (const subscription of this.#byFilter.values()) subscription.grant();
  }
}

class QueueSubscription implements ConsumerSink, QueueSource {
  readonly queue: QueueInfo;
  identifier: number;
  readonly #parts: ConsumersParts;
  readonly #siblings: Consumers;
  readonly #consumer: QueueConsumer;
  /** Granted and not arrived. */
  #credit: number;
  /** Arrived and not settled. */
  #held = 0;
  #burst: number;
  #largestBytes = 1;
  #closed = false;

  constructor(
    parts: ConsumersParts,
    siblings: Consumers,
    wanted: { readonly queue: QueueInfo; readonly identifier: number },
  ) {
    const { queue, identifier } = wanted;
    this.#parts = parts;
    this.#siblings = siblings;
    this.queue = queue;
    this.identifier = identifier;
    this.#burst = Math.min(FIRST_BURST, parts.maxInflight);
    this.#credit = this.#burst;
    this.#consumer = parts.broker.consume(
      { queueId: queue.queueId, clientId: parts.clientId, credit: this.#credit },
      this,
    );
  }

  delivered(delivery: Delivery): void {
    if (this.#closed) return;
    this.#credit--;
    this.#held++;
    const bytes = delivery.message.payload.length;
    // It forgets slowly: one small message among large ones says nothing.
    this.#largestBytes = Math.max(bytes, 1, this.#largestBytes * 0.98);
    const waiting = { source: this, delivery, identifier: this.identifier };
    this.#parts.outbound.deliverFromQueue(waiting);
  }

  batchEnd(): void {
    if (this.#closed) return;
    // All that was under way has arrived: more may be next time, once the socket has taken it.
    if (this.#credit === 0) this.#burst = Math.min(this.#burst * 2, this.#parts.maxInflight);
    this.#parts.ask();
  }

  cancelled(reason: 'queue-deleted' | 'unavailable'): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#parts.cancelled(this.queue.name, reason);
  }

  settled(delivery: HeldDelivery, outcome: 'complete' | 'requeue'): void {
    // After an unsubscribe nothing is held any more; that it was processed still counts.
    if (this.#closed && outcome !== 'complete') return;
    this.#held--;
    const { offset, term, deliveryNumber } = delivery;
    this.#consumer.settle(offset, term, deliveryNumber, outcome);
    this.#parts.ask();
  }

  grant(): void {
    if (this.#closed) return;
    const window = Math.max(1, Math.floor(this.#parts.maxInflight / this.#siblings.count));
    const byBytes = Math.max(1, Math.floor(this.#parts.maxBufferedBytes / this.#largestBytes));
    const underWay = Math.min(this.#burst, byBytes);
    const credit = Math.min(window - this.#held, underWay) - this.#credit;
    if (credit <= 0) return;
    this.#credit += credit;
    this.#consumer.grant(credit);
  }

  close(how: 'lost' | 'returned'): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#parts.outbound.dropWaiting(this);
    this.#consumer.close(how);
  }
}
