/**
 * The consumers of the main thread: their numbers, their credit on its way to the shard, and the
 * deliveries that come back.
 *
 * Deliveries are views of the batch that they came in, decoded when they are asked for. A consumer
 * is told the end of a batch once, however many deliveries of it were in there. After `close`, or
 * `cancelled`, its sink hears nothing any more. A stored message that cannot be read is not
 * delivered: the log tells it, the credit goes back, and the message comes again when its
 * visibility timeout passes.
 *
 * Over a route each consumer also remembers what it holds and what it may still be given, so that
 * the next leader can be told (`attachAgain`), and closed ones are kept until that is applied.
 */

import type {
  CancelReason,
  ConsumeRequest,
  ConsumerSink,
  Delivery,
  Origin,
  QueueConsumer,
  QueueInfo,
  SettleOutcome,
} from '../broker/ports.ts';
import type { GroupId, Offset, QueueId } from '../machine/ids.ts';
import type { Logger } from '../telemetry/logger.ts';
import {
  type CloseHow,
  writeClose,
  writeConsume,
  writeGrant,
  writeHold,
  writeSettleFrame,
} from './client-frames.ts';
import type { ClientRoute, Work } from './client-route.ts';
import type { DeliveryFrame, ShardFrame } from './shard-frames.ts';
import { StoredMessageView } from './stored-message.ts';
import { CodecError, type WireWriter } from './wire.ts';

type Settling = Extract<Work, { kind: 'settle' }>['settlement'];

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
  readonly route: ClientRoute;
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

/** A delivery that came and is not settled. */
interface Held {
  readonly term: number;
  readonly deliveryNumber: number;
}

class Consumer implements QueueConsumer {
  readonly id: number;
  readonly queueName: string;
  readonly request: ConsumeRequest;
  readonly sink: ConsumerSink;
  readonly #consumers: Consumers;
  /** Known when it is attached, which is before its first delivery. */
  groupId = 0 as GroupId;
  groupName = '';
  /** Granted and not yet told to the shard. */
  granted = 0;
  /** What it may still be given; counted over a route only, as is what it holds. */
  credit: number;
  readonly held = new Map<Offset, Held>();
  /** To be said when the next leader has attached it. */
  again: Work[] = [];
  /** Told to be over before their messages were read here: numbers of deliveries. */
  readonly endedEarly = new Set<number>();
  /** Its messages are read here, where this node's replica can be read. */
  readsHere: boolean;
  /** Got a delivery from the batch that is being read. */
  touched = false;
  open = true;

  constructor(
    consumers: Consumers,
    id: number,
    place: Pick<Consumer, 'request' | 'queueName' | 'sink' | 'readsHere'>,
  ) {
    this.#consumers = consumers;
    this.id = id;
    this.request = place.request;
    this.queueName = place.queueName;
    this.sink = place.sink;
    this.readsHere = place.readsHere;
    this.credit = place.request.credit;
  }

  get isAttached(): boolean {
    return this.groupName !== '';
  }

  grant(deliveries: number): void {
    this.#consumers.grant(this, deliveries);
  }

  settle(offset: Offset, term: number, deliveryNumber: number, outcome: SettleOutcome): void {
    if (!this.open && outcome !== 'complete') return;
    this.#consumers.settle(this, { offset, term, deliveryNumber, outcome });
  }

  close(how: CloseHow): void {
    this.#consumers.close(this, how);
  }
}

export class Consumers {
  readonly #options: ConsumersOptions;
  readonly #open = new Map<number, Consumer>();
  /** Closed here, and not known to be closed at the leader; over a route only. */
  readonly #closing = new Map<number, Consumer>();
  /** Of owners of sessions, by their queue. */
  readonly #owners = new Map<QueueId, Consumer>();
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

  /** `queue` undefined: there is no such queue, and the sink hears it in a later turn. */
  consume(
    request: ConsumeRequest,
    queue: Pick<QueueInfo, 'name' | 'type'> | undefined,
    sink: ConsumerSink,
  ): QueueConsumer {
    const readsHere = queue?.type === 'stream';
    const place = { request, queueName: queue?.name ?? '', sink, readsHere };
    const consumer = new Consumer(this, this.#nextId++, place);
    this.#open.set(consumer.id, consumer);
    if (request.ownerEpoch !== undefined) this.#owners.set(request.queueId, consumer);
    if (this.#failed || queue === undefined) {
      const why = this.#failed ? STORE_GONE : QUEUE_GONE;
      setImmediate(() => this.cancelled({ consumer: consumer.id, ...why }));
      return consumer;
    }
    const { control, route } = this.#options;
    const named = readsHere && route.readsHere;
    if (route.isReached) writeConsume(control, { ...request, consumer: consumer.id, named });
    this.#options.wake();
    return consumer;
  }

  grant(consumer: Consumer, deliveries: number): void {
    if (!consumer.open || this.#failed) return;
    if (consumer.granted === 0) this.#granting.push(consumer);
    consumer.granted = Math.min(consumer.granted + deliveries, CREDIT_MAX);
    consumer.credit = Math.min(consumer.credit + deliveries, CREDIT_MAX);
    this.#options.wake();
  }

  settle(consumer: Consumer, settlement: Settling): void {
    if (this.#failed) return;
    const { route } = this.#options;
    if (route.isRouted) {
      // What is handed back is the consumer's until that is applied: the next leader must know it
      // for the current delivery.
      if (settlement.outcome === 'complete') consumer.held.delete(settlement.offset);
      route.unworked.add({ kind: 'settle', consumer, settlement });
    }
    if (route.isReached) this.#writeSettle(consumer, settlement);
    this.#options.wake();
  }

  /** A message of a session's queue was settled otherwise than by its consumer. */
  halved(queueId: QueueId, offset: Offset): void {
    this.#owners.get(queueId)?.held.delete(offset);
  }

  close(consumer: Consumer, how: CloseHow): void {
    if (!consumer.open) return;
    this.#forget(consumer);
    if (this.#failed) return;
    const { control, route } = this.#options;
    if (route.isRouted) {
      this.#closing.set(consumer.id, consumer);
      route.unworked.add({ kind: 'close', consumer, how });
    }
    if (route.isReached) writeClose(control, consumer.id, how);
    this.#options.wake();
  }

  /** To the leader of a new session: all consumers, with what they hold. */
  attachAgain(work: readonly Work[]): void {
    this.#granting = [];
    const closing = new Set(
      work.map((each) => (each.kind === 'close' ? each.consumer : undefined)),
    );
    for (const consumer of this.#closing.values()) {
      // Nobody knows the others any more.
      if (consumer.isAttached && closing.has(consumer)) this.#attachAgain(consumer, 0);
      else this.#closing.delete(consumer.id);
    }
    for (const consumer of this.#open.values()) {
      consumer.granted = 0;
      this.#attachAgain(consumer, consumer.credit);
    }
  }

  #attachAgain(consumer: Consumer, credit: number): void {
    const { control, route } = this.#options;
    const { id, request, held, groupName: again } = consumer;
    consumer.again = [];
    consumer.endedEarly.clear();
    const start = again === '' ? request.start : undefined;
    const named = consumer.readsHere && route.readsHere;
    writeConsume(control, { ...request, start, consumer: id, credit, again, named });
    for (const [offset, { term, deliveryNumber }] of held) {
      writeHold(control, { consumer: id, offset, term, deliveryNumber });
    }
  }

  /** Settlements and ends that may be lost: at once, or when their consumers are attached. */
  settleAgain(work: readonly Work[]): void {
    for (const each of work) {
      if (each.kind === 'end') continue;
      const { consumer } = each;
      const isKnown = this.#open.has(consumer.id) || this.#closing.has(consumer.id);
      if (each.kind === 'settle' && each.settlement.outcome === 'complete') this.#say(each);
      else if (isKnown) (consumer as Consumer).again.push(each);
    }
  }

  #say(work: Exclude<Work, { kind: 'end' }>): void {
    const { control, route } = this.#options;
    route.unworked.add(work);
    if (work.kind === 'close') writeClose(control, work.consumer.id, work.how);
    else this.#writeSettle(work.consumer as Consumer, work.settlement);
  }

  #writeSettle({ request, groupId }: Consumer, settlement: Settling): void {
    const { queueId } = request;
    writeSettleFrame(this.#options.control, { queueId, groupId, ...settlement });
  }

  /** The leader has applied it. */
  worked(work: readonly Work[]): void {
    for (const each of work) {
      if (each.kind === 'close') this.#closing.delete(each.consumer.id);
      if (each.kind !== 'settle') continue;
      const { held } = each.consumer as Consumer;
      const { offset, term, deliveryNumber } = each.settlement;
      const there = held.get(offset);
      if (there?.term === term && there.deliveryNumber === deliveryNumber) held.delete(offset);
    }
  }

  /** Writes what was granted since the last call, one frame a consumer. */
  writeGrants(): void {
    if (this.#granting.length === 0 || !this.#options.route.isReached) return;
    for (const consumer of this.#granting) {
      if (consumer.open) writeGrant(this.#options.control, consumer.id, consumer.granted);
      consumer.granted = 0;
    }
    this.#granting = [];
  }

  attached({ consumer: id, groupId, group }: Extract<ShardFrame, { kind: 'attached' }>): void {
    const consumer = this.#open.get(id) ?? this.#closing.get(id);
    if (consumer === undefined) return;
    const isFirst = !consumer.isAttached;
    consumer.groupId = groupId;
    consumer.groupName = group;
    if (isFirst && consumer.open) consumer.sink.attached(group);
    if (consumer.again.length === 0) return;
    for (const each of consumer.again) if (each.kind !== 'end') this.#say(each);
    consumer.again = [];
    this.#options.wake();
  }

  ended({ consumer: id, offset, deliveryNumber }: Extract<ShardFrame, { kind: 'ended' }>): void {
    const consumer = this.#open.get(id);
    if (consumer === undefined) return;
    if (consumer.held.get(offset)?.deliveryNumber === deliveryNumber) consumer.held.delete(offset);
    else if (consumer.readsHere && this.#options.route.readsHere) {
      // Its message is still being read: its sink never hears of it.
      consumer.endedEarly.add(deliveryNumber);
      return;
    }
    consumer.sink.ended(offset, deliveryNumber);
  }

  /** Its messages cannot be read here: in the next session they come from the leader. */
  unread(id: number): void {
    const consumer = this.#open.get(id) ?? this.#closing.get(id);
    if (consumer !== undefined) consumer.readsHere = false;
  }

  delivered(frame: DeliveryFrame): void {
    const consumer = this.#open.get(frame.consumer);
    if (consumer === undefined) return;
    const { offset, term, deliveryNumber } = frame;
    consumer.credit--;
    if (consumer.endedEarly.delete(deliveryNumber)) {
      this.grant(consumer, 1);
      return;
    }
    const message = this.#message(consumer, frame);
    if (message === undefined) return;
    if (this.#options.route.isRouted) consumer.held.set(offset, { term, deliveryNumber });
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
    this.#closing.delete(id);
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
    const { route } = this.#options;
    consumer.open = false;
    this.#open.delete(consumer.id);
    const { queueId } = consumer.request;
    if (this.#owners.get(queueId) === consumer) this.#owners.delete(queueId);
    // What it was to get is not read any more.
    if (consumer.readsHere && route.readsHere) writeClose(route.local, consumer.id, 'returned');
  }
}
