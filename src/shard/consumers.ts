/**
 * The consumers of the main thread: their numbers, their credit on its way to the shard, and the
 * deliveries that come back.
 *
 * Deliveries are views of the batch that they came in, decoded when they are asked for. A consumer
 * is told the end of a batch once, however many deliveries of it were in there. After `close`, or
 * `cancelled`, its sink hears nothing any more. A stored message that cannot be read is not
 * delivered: the log tells it, the credit goes back, and the message comes again when its
 * visibility timeout passes.
 */

import type {
  CancelReason,
  ConsumeRequest,
  ConsumerSink,
  Delivery,
  Origin,
  QueueConsumer,
  SettleOutcome,
} from '../broker/ports.ts';
import type { GroupId, Offset, QueueId } from '../machine/ids.ts';
import type { Logger } from '../telemetry/logger.ts';
import {
  type CloseHow,
  writeClose,
  writeConsume,
  writeGrant,
  writeSettleFrame,
} from './client-frames.ts';
import type { DeliveryFrame, ShardFrame } from './shard-frames.ts';
import { StoredMessageView } from './stored-message.ts';
import { CodecError, type WireWriter } from './wire.ts';

const CREDIT_MAX = 0xffff_ffff;

class ReceivedDelivery implements Delivery {
  readonly queueId: QueueId;
  readonly queueName: string;
  readonly groupName: string;
  readonly offset: Offset;
  readonly term: number;
  readonly deliveryNumber: number;
  readonly attempt: number;
  readonly redelivered: boolean;
  readonly message: StoredMessageView;

  constructor(frame: DeliveryFrame, consumer: Consumer, message: StoredMessageView) {
    this.queueId = frame.queueId;
    this.queueName = consumer.queueName;
    this.groupName = consumer.groupName;
    this.offset = frame.offset;
    this.term = frame.term;
    this.deliveryNumber = frame.deliveryNumber;
    this.attempt = frame.attempt;
    this.redelivered = frame.redelivered;
    this.message = message;
  }

  get origin(): Origin {
    return this.message.origin;
  }

  get publishedAtMs(): number {
    return this.message.publishedAtMs;
  }
}

export interface ConsumersOptions {
  /** Where frames to the shard are written; the same for good. */
  readonly control: WireWriter;
  readonly logger: Logger;
  /** Something was written: post at the end of the turn. */
  readonly wake: () => void;
}

interface Cancelled {
  readonly consumer: number;
  readonly reason: CancelReason;
  readonly detail: string;
}

const STORE_GONE = { reason: 'unavailable', detail: 'the store is gone' } as const;
const QUEUE_GONE = { reason: 'queue-deleted', detail: 'there is no such queue' } as const;

class Consumer implements QueueConsumer {
  readonly id: number;
  readonly queueId: QueueId;
  readonly queueName: string;
  readonly sink: ConsumerSink;
  readonly #consumers: Consumers;
  /** Known when it is attached, which is before its first delivery. */
  groupId = 0 as GroupId;
  groupName = '';
  /** Granted and not yet told to the shard. */
  granted = 0;
  /** Got a delivery from the batch that is being read. */
  touched = false;
  open = true;

  constructor(
    consumers: Consumers,
    id: number,
    place: Pick<Consumer, 'queueId' | 'queueName' | 'sink'>,
  ) {
    this.#consumers = consumers;
    this.id = id;
    this.queueId = place.queueId;
    this.queueName = place.queueName;
    this.sink = place.sink;
  }

  grant(deliveries: number): void {
    this.#consumers.grant(this, deliveries);
  }

  settle(offset: Offset, term: number, deliveryNumber: number, outcome: SettleOutcome): void {
    if (!this.open && outcome !== 'complete') return;
    const { queueId, groupId } = this;
    this.#consumers.settle({ queueId, groupId, offset, term, deliveryNumber, outcome });
  }

  close(how: CloseHow): void {
    this.#consumers.close(this, how);
  }
}

export class Consumers {
  readonly #options: ConsumersOptions;
  readonly #open = new Map<number, Consumer>();
  #granting: Consumer[] = [];
  #touched: Consumer[] = [];
  #nextId = 1;
  #failed = false;

  constructor(options: ConsumersOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#open.size;
  }

  /** `queueName` undefined: there is no such queue, and the sink hears it in a later turn. */
  consume(
    request: ConsumeRequest,
    queueName: string | undefined,
    sink: ConsumerSink,
  ): QueueConsumer {
    const { queueId } = request;
    const place = { queueId, queueName: queueName ?? '', sink };
    const consumer = new Consumer(this, this.#nextId++, place);
    this.#open.set(consumer.id, consumer);
    if (this.#failed || queueName === undefined) {
      const why = this.#failed ? STORE_GONE : QUEUE_GONE;
      setImmediate(() => this.cancelled({ consumer: consumer.id, ...why }));
      return consumer;
    }
    writeConsume(this.#options.control, { ...request, consumer: consumer.id });
    this.#options.wake();
    return consumer;
  }

  grant(consumer: Consumer, deliveries: number): void {
    if (!consumer.open || this.#failed) return;
    if (consumer.granted === 0) this.#granting.push(consumer);
    consumer.granted = Math.min(consumer.granted + deliveries, CREDIT_MAX);
    this.#options.wake();
  }

  settle(frame: Parameters<typeof writeSettleFrame>[1]): void {
    if (this.#failed) return;
    writeSettleFrame(this.#options.control, frame);
    this.#options.wake();
  }

  close(consumer: Consumer, how: CloseHow): void {
    if (!consumer.open) return;
    this.#forget(consumer);
    if (this.#failed) return;
    writeClose(this.#options.control, consumer.id, how);
    this.#options.wake();
  }

  /** Writes what was granted since the last call, one frame a consumer. */
  writeGrants(): void {
    if (this.#granting.length === 0) return;
    for (const consumer of this.#granting) {
      if (consumer.open) writeGrant(this.#options.control, consumer.id, consumer.granted);
      consumer.granted = 0;
    }
    this.#granting = [];
  }

  attached({ consumer: id, groupId, group }: Extract<ShardFrame, { kind: 'attached' }>): void {
    const consumer = this.#open.get(id);
    if (consumer === undefined) return;
    consumer.groupId = groupId;
    consumer.groupName = group;
    consumer.sink.attached(group);
  }

  ended({ consumer, offset, deliveryNumber }: Extract<ShardFrame, { kind: 'ended' }>): void {
    this.#open.get(consumer)?.sink.ended(offset, deliveryNumber);
  }

  delivered(frame: DeliveryFrame): void {
    const consumer = this.#open.get(frame.consumer);
    if (consumer === undefined) return;
    const message = this.#message(consumer, frame);
    if (message === undefined) return;
    if (!consumer.touched) {
      consumer.touched = true;
      this.#touched.push(consumer);
    }
    consumer.sink.delivered(new ReceivedDelivery(frame, consumer, message));
  }

  /** The batch is read whole. */
  batchEnd(): void {
    if (this.#touched.length === 0) return;
    const touched = this.#touched;
    this.#touched = [];
    for (const consumer of touched) {
      consumer.touched = false;
      if (consumer.open) consumer.sink.batchEnd();
    }
  }

  cancelled({ consumer: id, reason, detail }: Cancelled): void {
    const consumer = this.#open.get(id);
    if (consumer === undefined) return;
    this.#forget(consumer);
    consumer.sink.cancelled(reason, detail);
  }

  /** The store is gone: everyone hears it, and later consumers too. */
  fail(): void {
    this.#failed = true;
    // Not those that a sink opens meanwhile: they hear it in a later turn.
    const open = Array.from(this.#open.keys());
    for (const consumer of open) this.cancelled({ consumer, ...STORE_GONE });
  }

  #message(consumer: Consumer, frame: DeliveryFrame): StoredMessageView | undefined {
    try {
      return new StoredMessageView(frame.bytes, frame.start, frame.end);
    } catch (error) {
      if (!(error instanceof CodecError)) throw error;
      const { queueId, offset } = frame;
      this.#options.logger.error(
        { queue: consumer.queueName, queueId, offset, code: error.code, detail: error.message },
        'a stored message cannot be read and is not delivered',
      );
      this.grant(consumer, 1);
      return undefined;
    }
  }

  #forget(consumer: Consumer): void {
    consumer.open = false;
    this.#open.delete(consumer.id);
  }
}
