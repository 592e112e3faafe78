/**
 * The shard's side of the port: batches of bytes in, one batch of bytes a turn out.
 *
 * What it takes: enqueues (handed to the proposals as they are), settlements, consumers and their
 * credit, rare requests. What it gives: confirms, deliveries, queues, busy and resume. The bytes
 * that the other side has not worked off are bounded: above `outstandingBytesMax` nothing is
 * delivered until it has. One server serves one sender; a batch that it cannot read, or a sender
 * out of step, ends the session with `failed`, and nothing of that batch is taken. Holds no state
 * that outlives the process.
 */

import type { Effects } from '../machine/effect.ts';
import type { QueueInfo } from '../broker/ports.ts';
import type { AlarmLog } from './alarms.ts';
import { ClientBatch } from './client-frames.ts';
import type { ClientFrame } from './client-frames.ts';
import type { DeliveryHeader, DeliveryOutput, Dispatcher } from './dispatcher.ts';
import { StreamConfirms } from './effects.ts';
import type { StoredMessage } from './payloads.ts';
import type { BatchPort } from './port.ts';
import type { EnqueueAnswer, Proposals } from './proposals.ts';
import { decodeRequest, encodeWords } from './requests.ts';
import type { ShardRequest } from './requests.ts';
import { ShardBatchWriter } from './shard-frames.ts';
import { CodecError } from './wire.ts';

export interface ServerOptions {
  readonly port: BatchPort;
  readonly proposals: Proposals;
  readonly logger: AlarmLog;
  readonly outstandingBytesMax: number;
  readonly term: number;
  queues(): readonly QueueInfo[];
  /** The body of the reply; rejects with words for people. */
  request(request: ShardRequest): Promise<Uint8Array>;
  /** Something stands in the output: call `post` at the end of the turn. */
  readonly wake: () => void;
  /** The shard has stopped. */
  closed(): boolean;
  /** A broken invariant. */
  readonly failed: (error: unknown) => void;
}

export class ShardServer implements DeliveryOutput {
  readonly #options: ServerOptions;
  readonly #writer = new ShardBatchWriter();
  #node: string | undefined;
  #confirms: StreamConfirms | undefined;
  #postedBytes = 0;
  #takenBytes = 0;
  #busy = false;
  /**
   * Something came after a stop began: it is told when the stop is over, and the last confirms are
   * out.
   */
  #refused = false;
  #over = false;

  constructor(options: ServerOptions) {
    this.#options = options;
    this.#writer.term = options.term;
  }

  /** From now on batches are taken. */
  start(dispatcher: Dispatcher): void {
    this.#options.port.onBatch((bytes) => this.#take(bytes, dispatcher));
  }

  get open(): boolean {
    const { outstandingBytesMax } = this.#options;
    return this.#postedBytes + this.#writer.length - this.#takenBytes < outstandingBytesMax;
  }

  // What the shard has to say.

  deliver(header: DeliveryHeader, message: StoredMessage): void {
    this.#writer.delivery(header, message);
  }

  cancelled(consumer: number, reason: 'queue-deleted' | 'unavailable'): void {
    if (!this.#over) this.#writer.cancelled(consumer, reason);
  }

  confirmed(effects: Effects, at: number): void {
    if (this.#confirms !== undefined && effects.node(at) === this.#node)
      this.#confirms.add(effects, at);
  }

  streamOpened(node: string, boot: number): void {
    if (node !== this.#node || this.#over) return;
    this.#confirms = new StreamConfirms(boot);
    this.#writer.opened(boot);
  }

  queuesChanged(): void {
    if (this.#node !== undefined && !this.#over) this.#writer.queues(this.#options.queues());
  }

  /** The store is gone: the sender hears why, and nothing follows. */
  fail(why: string): void {
    if (this.#over) return;
    this.#confirms?.tell(this.#writer);
    this.#writer.failed(why);
    this.#send();
    this.#over = true;
  }

  /** Everything that was said in this turn goes out as one batch. */
  post(): void {
    if (this.#over) return;
    this.#confirms?.tell(this.#writer);
    if (this.#busy && this.#options.proposals.drained) {
      this.#busy = false;
      this.#writer.resume();
    }
    if (!this.#writer.empty) this.#send();
    if (this.#refused && this.#options.closed()) this.fail('the shard takes nothing any more');
  }

  #send(): void {
    const batch = this.#writer.take();
    this.#postedBytes += batch.length;
    this.#options.port.post(batch);
  }

  #take(bytes: Uint8Array, dispatcher: Dispatcher): void {
    if (this.#over) return;
    try {
      this.#takeBatch(new ClientBatch(bytes), dispatcher);
    } catch (error) {
      if (!(error instanceof CodecError)) {
        this.#options.failed(error);
        return;
      }
      this.#options.logger.error(
        { code: error.code, detail: error.message },
        'a batch cannot be read',
      );
      this.fail(`a batch cannot be read: ${error.message}`);
    }
  }

  #takeBatch(batch: ClientBatch, dispatcher: Dispatcher): void {
    const { proposals } = this.#options;
    const wasOpen = this.open;
    this.#takenBytes = Math.max(this.#takenBytes, batch.takenBytes);
    if (batch.commands > 0) {
      const { boot, firstNumber, answeredUpTo, commands, enqueues } = batch;
      const sent = { boot, firstNumber, answeredUpTo, commands, bytes: enqueues };
      const answer = proposals.enqueue(this.#node ?? '', sent);
      if (answer !== 'taken') this.#outOfStep(answer);
    }
    for (let frame = batch.next(); frame !== undefined; frame = batch.next()) {
      this.#takeFrame(frame, dispatcher);
    }
    proposals.submit();
    if (proposals.full && !this.#busy && !this.#over) {
      this.#busy = true;
      this.#writer.busy();
    }
    if (!wasOpen && this.open) dispatcher.resume();
    if (!this.#writer.empty) this.#options.wake();
  }

  #takeFrame(frame: ClientFrame, dispatcher: Dispatcher): void {
    switch (frame.kind) {
      case 'settle':
        dispatcher.settle(frame);
        return;
      case 'grant':
        dispatcher.grant(frame.consumer, frame.deliveries);
        return;
      case 'consume':
        dispatcher.attach(frame.consumer, frame.queueId, frame.credit);
        return;
      case 'close':
        dispatcher.close(frame.consumer, frame.how);
        return;
      case 'hello':
        this.#node = frame.node;
        this.#writer.queues(this.#options.queues());
        this.#options.proposals.plain({ kind: 'open-stream', node: frame.node }, frame.node);
        return;
      case 'request':
        this.#answer(frame.id, frame.body);
    }
  }

  #answer(id: number, body: Uint8Array): void {
    // The body is a view of the batch, and the request outlives it.
    this.#options.request(decodeRequest(body)).then(
      (reply) => this.#reply(id, true, reply),
      (error: unknown) => this.#reply(id, false, encodeWords(wordsOf(error))),
    );
  }

  #reply(id: number, accepted: boolean, body: Uint8Array): void {
    if (this.#over) return;
    this.#writer.reply(id, accepted, body);
    this.#options.wake();
  }

  /**
   * A sender that goes on behind a gap, or from an earlier life, must not be answered number by
   * number.
   */
  #outOfStep(answer: Exclude<EnqueueAnswer, 'taken'>): void {
    if (answer === 'unavailable') {
      this.#refused = true;
      this.#options.wake();
      return;
    }
    this.#options.logger.error({ node: this.#node, answer }, 'a sender is out of step');
    this.fail(`out of step: ${answer}`);
  }
}

function wordsOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
