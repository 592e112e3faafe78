/**
 * The queues that one connection consumes: their credit, and how their deliveries end.
 *
 * Credit is only granted while the socket takes what it is given, and never more than the client
 * may hold, so that a client that does not read costs what was under way to it and then nothing.
 * How much is under way at once begins small and grows with what the client took; large messages
 * make it small again. What a client may hold is the same for both ways to settle: deliveries that
 * are not settled, by PUBACK or (`ack: manual`) by message id or time.
 *
 * A delivery that was settled is no longer ours; closing says what becomes of the rest.
 */

import type {
  Broker,
  CancelReason,
  ConsumerSink,
  Delivery,
  MakeRefusal,
  Offset,
  QueueConsumer,
  QueueInfo,
} from '../../broker/ports.ts';
import { CreditWindow } from './credit.ts';
import type { Outbound } from './deliver.ts';
import { type QueueWish, sameWish, type SubscribeRefusal } from './queue-wish.ts';
import { ReasonCode } from './reason-codes.ts';
import type { HeldDelivery, QueueSource } from './session.ts';

export interface ConsumersParts {
  readonly broker: Broker;
  /** '' where the broker made it up: nobody can come back to it. */
  readonly clientId: string;
  readonly outbound: Outbound;
  /** What this client may hold unsettled at once. */
  readonly maxInflight: number;
  /** Bytes of deliveries under way to this client that are aimed at. */
  readonly maxBufferedBytes: number;
  /** Something is to be done at the end of the turn. */
  readonly ask: () => void;
  /** The queue or its group ended; nothing follows on it. */
  readonly cancelled: (queueName: string, reason: CancelReason) => void;
}

export interface WantedConsumer {
  /** A promise while it is looked for or made; of undefined: there is none. */
  readonly queue: QueueInfo | Promise<QueueInfo | MakeRefusal | undefined>;
  readonly wish: QueueWish;
  readonly identifier: number;
  /** Once; undefined: it is a member of its group. */
  readonly answered: (refusal: SubscribeRefusal | undefined) => void;
}

export class Consumers {
  readonly #parts: ConsumersParts;
  readonly #byFilter = new Map<string, QueueSubscription>();
  /** Those whose queue has not said yet whether it takes them. */
  unanswered = 0;

  constructor(parts: ConsumersParts) {
    this.#parts = parts;
  }

  get count(): number {
    return this.#byFilter.size;
  }

  open(filter: string, wanted: WantedConsumer): void {
    const known = this.#byFilter.get(filter);
    if (known !== undefined && known.isAs(wanted)) {
      known.identifier = wanted.identifier;
      wanted.answered(undefined);
      return;
    }
    this.close(filter);
    this.unanswered++;
    const subscription = new QueueSubscription(this.#parts, this, {
      ...wanted,
      answered: (refusal) => {
        this.unanswered--;
        if (refusal !== undefined && this.#byFilter.get(filter) === subscription) {
          this.#byFilter.delete(filter);
        }
        wanted.answered(refusal);
      },
    });
    this.#byFilter.set(filter, subscription);
    subscription.begin(wanted.queue);
  }

  /** False: there is none with this filter. */
  close(filter: string): boolean {
    const subscription = this.#byFilter.get(filter);
    if (subscription === undefined) return false;
    this.#byFilter.delete(filter);
    subscription.close('returned');
    return true;
  }

  closeAll(how: 'lost' | 'returned'): void {
    for (const subscription of this.#byFilter.values()) subscription.close(how);
    this.#byFilter.clear();
  }

  /** Grants credit for what was settled, once a turn. */
  grant(): void {
    if (!this.#parts.outbound.roomy) return;
    for (const subscription of this.#byFilter.values()) subscription.grant();
  }
}

class QueueSubscription implements ConsumerSink, QueueSource {
  identifier: number;
  isStream = false;
  readonly #parts: ConsumersParts;
  readonly #siblings: Consumers;
  readonly #wish: QueueWish;
  readonly #answered: (refusal: SubscribeRefusal | undefined) => void;
  #state: 'asked' | 'attached' | 'closed' = 'asked';
  #consumer: QueueConsumer | undefined;
  #hasLooked = false;
  #queueId = -1;
  readonly #window: CreditWindow;
  /** Arrived and not settled. */
  #held = 0;
  /** The same by offset, of a manual consumer: which delivery it was. */
  readonly #manual: Map<Offset, number> | undefined;

  constructor(
    parts: ConsumersParts,
    siblings: Consumers,
    wanted: Pick<WantedConsumer, 'wish' | 'identifier' | 'answered'>,
  ) {
    this.#parts = parts;
    this.#siblings = siblings;
    this.#wish = wanted.wish;
    this.#answered = wanted.answered;
    this.identifier = wanted.identifier;
    this.#manual = wanted.wish.manual ? new Map() : undefined;
    this.#window = new CreditWindow(parts.maxInflight, parts.maxBufferedBytes);
  }

  /** Another SUBSCRIBE of the same filter asks for what this one is. */
  isAs({ queue, wish }: WantedConsumer): boolean {
    return (
      this.#state === 'attached' &&
      'queueId' in queue &&
      queue.queueId === this.#queueId &&
      sameWish(this.#wish, wish)
    );
  }

  begin(queue: WantedConsumer['queue']): void {
    if ('queueId' in queue) this.#consume(queue);
    else void queue.then((found) => this.#found(found));
  }

  #found(found: QueueInfo | MakeRefusal | undefined): void {
    if (this.#state !== 'asked') return;
    if (typeof found === 'object') this.#consume(found);
    else this.#refuse(found === undefined ? NO_QUEUE : MAKE_REFUSALS[found]);
  }

  #consume({ queueId, type }: QueueInfo): void {
    const { group, filter, manual, start } = this.#wish;
    this.isStream = type === 'stream';
    if (start !== undefined && !this.isStream) {
      this.#refuse(NO_STREAM);
      return;
    }
    const { broker, clientId } = this.#parts;
    this.#queueId = queueId;
    const credit = this.#window.outstanding;
    const from = start === 'resume' ? undefined : start;
    const request = { queueId, clientId, group, filter, start: from, credit, manual };
    this.#consumer = broker.consume(request, this);
  }

  #refuse(refusal: SubscribeRefusal): void {
    this.#state = 'closed';
    this.#answered(refusal);
  }

  attached(): void {
    if (this.#state !== 'asked') return;
    this.#state = 'attached';
    this.#answered(undefined);
  }

  delivered(delivery: Delivery): void {
    if (this.#state === 'closed') return;
    if (this.#manual === undefined) this.#held++;
    else this.#manual.set(delivery.offset, delivery.deliveryNumber);
    this.#window.arrived(delivery.message.payload.length);
    const waiting = { source: this, delivery, identifier: this.identifier };
    this.#parts.outbound.deliverFromQueue(waiting);
  }

  batchEnd(): void {
    if (this.#state === 'closed') return;
    this.#window.batchEnd();
    this.#parts.ask();
  }

  ended(offset: Offset, deliveryNumber: number): void {
    if (this.#manual?.get(offset) !== deliveryNumber) return;
    this.#manual.delete(offset);
    if (this.#state !== 'closed') this.#parts.ask();
  }

  cancelled(reason: CancelReason, detail: string): void {
    const before = this.#state;
    if (before === 'closed') return;
    if (before === 'asked') {
      if (reason === 'queue-deleted' && this.#lookAgain()) return;
      this.#refuse(cancelRefusal(reason, detail));
      return;
    }
    this.#state = 'closed';
    this.#parts.cancelled(this.#wish.queueName, reason);
  }

  /** Another node may have made it anew, and this one did not know yet; once. */
  #lookAgain(): boolean {
    if (this.#hasLooked) return false;
    this.#hasLooked = true;
    const found = this.#parts.broker.findQueue(this.#wish.queueName);
    void found?.then((queue) => this.#found(queue));
    return found !== undefined;
  }

  acknowledged(delivery: HeldDelivery, positive: boolean): void {
    // PUBACK says that it arrived; what becomes of it is said by its message id.
    if (this.#manual !== undefined) return;
    // After an unsubscribe nothing is held any more; that it was processed still counts.
    if (this.#state === 'closed' && !positive) return;
    this.#held--;
    this.#settle(delivery, positive ? 'complete' : 'requeue');
  }

  undeliverable(delivery: HeldDelivery): void {
    if (this.#state === 'closed') return;
    if (this.#manual === undefined) this.#held--;
    this.#settle(delivery, 'requeue');
  }

  #settle(delivery: HeldDelivery, outcome: 'complete' | 'requeue'): void {
    const { offset, term, deliveryNumber } = delivery;
    this.#consumer?.settle(offset, term, deliveryNumber, outcome);
    this.#parts.ask();
  }

  grant(): void {
    if (this.#state !== 'attached') return;
    const window = Math.max(1, Math.floor(this.#parts.maxInflight / this.#siblings.count));
    const held = this.#manual?.size ?? this.#held;
    const more = this.#window.grant(window - held);
    if (more > 0) this.#consumer?.grant(more);
  }

  close(how: 'lost' | 'returned'): void {
    const before = this.#state;
    if (before === 'closed') return;
    this.#state = 'closed';
    this.#parts.outbound.dropWaiting(this);
    this.#consumer?.close(how);
    if (before === 'asked') this.#answered(GIVEN_UP);
  }
}

function cancelRefusal(reason: CancelReason, detail: string): SubscribeRefusal {
  const gone = reason === 'queue-deleted' || reason === 'group-deleted';
  const reasonCode = gone ? ReasonCode.unspecifiedError : ReasonCode.implementationSpecificError;
  return { reasonCode, text: detail === '' ? reason : detail };
}

export const NO_QUEUE: SubscribeRefusal = {
  reasonCode: ReasonCode.unspecifiedError,
  text: "there is no such queue; what is published to its name lies in the queue 'mqtt'",
};

const MAKE_REFUSALS = {
  'no-queue': { reasonCode: ReasonCode.unspecifiedError, text: 'no queue can have that name' },
  'too-many-queues': {
    reasonCode: ReasonCode.quotaExceeded,
    text: 'there is no such queue, and there are too many to make it',
  },
  unavailable: {
    reasonCode: ReasonCode.implementationSpecificError,
    text: 'whether there is such a queue is not known now, or it could not be made',
  },
} as const satisfies Record<MakeRefusal, SubscribeRefusal>;

const NO_STREAM: SubscribeRefusal = {
  reasonCode: ReasonCode.implementationSpecificError,
  text: "the queue is no stream: the user property 'x-stream-offset' has no meaning for it",
};
/** The client unsubscribed or subscribed anew, or its connection is over. */
export const GIVEN_UP: SubscribeRefusal = {
  reasonCode: ReasonCode.unspecifiedError,
  text: 'the subscription was given up before its queue answered',
};
