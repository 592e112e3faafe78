/**
 * The main thread's half of the shard: the `QueueClient` that frontends publish and consume
 * through.
 *
 * Enqueues get their numbers in the order of the calls and go out in batches, one post a turn of
 * the event loop; outcomes come back in batches and are told in the same order, each once, never
 * during a call. At most `window` numbers, and `windowBytes`, are under way; what is more waits
 * here, and above `highWaterBytes` publishers are asked to stop reading (`writable`). A number is
 * never given to another message: one that timed out is told `timeout` and stays unknown until its
 * outcome comes.
 *
 * When the shard fails, closes or speaks nonsense, everyone who waits hears `unavailable`, and so
 * does everyone who comes later; nothing is kept to be tried again. A crash of the process loses
 * what was not confirmed, and nobody was told otherwise.
 */

import type { QueueDefinition } from '../machine/definitions.ts';
import { MAX_TARGETS } from '../machine/command.ts';
import type { QueueId } from '../machine/ids.ts';
import { STREAM_WINDOW } from '../machine/streams.ts';
import type { Message } from '../broker/message.ts';
import type {
  ConsumeRequest,
  ConsumerSink,
  EnqueueRefusal,
  EnqueueWaiter,
  Origin,
  QueueClient,
  QueueConsumer,
  QueueInfo,
} from '../broker/ports.ts';
import type { Logger } from '../telemetry/logger.ts';
import { writeHello, writeRequest } from './client-frames.ts';
import { Consumers } from './consumers.ts';
import { Outgoing, type PostState } from './outgoing.ts';
import { PENDING_OVERHEAD_BYTES, Pending } from './pending.ts';
import type { BatchPort } from './port.ts';
import { decodeDeclared, decodeStats, decodeWords, encodeRequest } from './requests.ts';
import type { Declared, ShardRequest, ShardStats } from './requests.ts';
import { ShardError } from './shard-error.ts';
import { ShardBatch } from './shard-frames.ts';
import type { ShardFrame } from './shard-frames.ts';
import { type Clock, systemClock } from './stamp-clock.ts';
import { CodecError } from './wire.ts';

export interface ShardClientLimits {
  /** After this long a publish is answered `timeout`. 100 ms to 10 minutes. */
  readonly ackTimeoutMs: number;
  /** Numbers under way; 1 to 4,096. */
  readonly window: number;
  /** Bytes under way; from 64 KiB (one batch may always go). */
  readonly windowBytes: number;
  /**
   * Batches without their answer, 1 to 64. While so many are, a batch that is not full waits: the
   * log writes one after the other, and each post costs as much as some dozen messages.
   */
  readonly batchesUnderWay: number;
  /** A batch is closed when it is so long; 4 KiB to 1 MiB. */
  readonly batchBytes: number;
  /** Above this publishers are asked to stop, below the half of it to go on. */
  readonly highWaterBytes: number;
  /** Above this a publish is refused with `unavailable`. */
  readonly pendingBytesMax: number;
  /** The largest stored message. */
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
  messageBytesMax: 1024 * 1024 + 65_536,
};

export interface ShardClientOptions {
  readonly port: BatchPort;
  /** This node's id. */
  readonly node: string;
  readonly logger: Logger;
  readonly limits?: Partial<ShardClientLimits>;
  readonly clock?: Clock;
  /** Called at most once: the shard is gone, and why. Not called after `close`. */
  onFailed?(why: string): void;
}

/** A window of 4,096 numbers has room for such a batch soon. */
const BATCH_ENQUEUES_MAX = 1024;
/** The shard hears at the latest after so many bytes that they are worked off. */
const TAKEN_UNTOLD_MAX = 65_536;

interface Request {
  resolve(body: Uint8Array): void;
  reject(error: ShardError): void;
}

export class ShardClient implements QueueClient {
  readonly #port: BatchPort;
  readonly #limits: ShardClientLimits;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #onFailed: ((why: string) => void) | undefined;
  readonly #pending = new Pending();
  readonly #outgoing: Outgoing;
  readonly #consumers: Consumers;
  readonly #requests = new Map<number, Request>();
  /** The last number of each batch that may be under way, ascending. */
  readonly #posted: number[] = [];
  readonly #writableListeners: (() => void)[] = [];
  readonly #turn = (): void => this.#endTurn();
  readonly #overdue = (): void => this.#expire();
  #ready: { resolve(): void; reject(error: ShardError): void } | undefined;
  #queues: readonly QueueInfo[] = [];
  #version = 0;
  #boot = 0;
  #busy = false;
  #writable = true;
  #scheduled = false;
  #refusedWaits = false;
  #timer: NodeJS.Timeout | undefined;
  #takenBytes = 0;
  #takenTold = 0;
  #nextRequest = 1;
  #closed: string | undefined;

  /** Resolves when the stream is open and the queues are known; rejects with a ShardError. */
  static async open(options: ShardClientOptions): Promise<ShardClient> {
    const client = new ShardClient(options);
    await client.#open(options.node);
    return client;
  }

  private constructor(options: ShardClientOptions) {
    this.#port = options.port;
    this.#limits = { ...SHARD_CLIENT_DEFAULTS, ...options.limits };
    this.#clock = options.clock ?? systemClock;
    this.#logger = options.logger;
    this.#onFailed = options.onFailed?.bind(options);
    this.#outgoing = new Outgoing({
      batchBytes: this.#limits.batchBytes,
      batchEnqueuesMax: Math.min(BATCH_ENQUEUES_MAX, this.#limits.window),
    });
    this.#consumers = new Consumers({
      control: this.#outgoing.control,
      logger: options.logger,
      wake: () => this.#wake(),
    });
  }

  get queues(): readonly QueueInfo[] {
    return this.#queues;
  }

  get version(): number {
    return this.#version;
  }

  get writable(): boolean {
    return this.#writable;
  }

  onWritable(listener: () => void): void {
    this.#writableListeners.push(listener);
  }

  enqueue(
    targets: readonly QueueId[],
    message: Message,
    origin: Origin,
    waiter: EnqueueWaiter,
    tag: number,
  ): void {
    const pending = this.#pending;
    this.#wake();
    const refusal = this.#refusal(targets, message);
    if (refusal !== undefined) {
      this.#refuse(waiter, tag, refusal);
      return;
    }
    const outgoing = this.#outgoing;
    const bytes = outgoing.begin(targets, message, origin);
    if (bytes === 0 || bytes > this.#limits.messageBytesMax) {
      if (bytes !== 0) outgoing.drop();
      this.#refuse(waiter, tag, 'too-large');
      return;
    }
    pending.add(waiter, tag, bytes);
    outgoing.keep(pending.lastNumber, bytes + PENDING_OVERHEAD_BYTES);
    if (pending.bytes > this.#limits.highWaterBytes) this.#writable = false;
    while (outgoing.slabFull) {
      if (!this.#postNext()) outgoing.hold();
    }
  }

  consume(request: ConsumeRequest, sink: ConsumerSink): QueueConsumer {
    const queue = this.#queues.find((each) => each.queueId === request.queueId);
    return this.#consumers.consume(request, queue?.name, sink);
  }

  /** Plain numbers by name. */
  async stats(): Promise<ShardStats> {
    return decodeStats(await this.#request({ kind: 'stats' }));
  }

  /** Declares queues, or gives them new limits; refused as a whole when one of them cannot be. */
  async declare(queues: readonly QueueDefinition[]): Promise<readonly Declared[]> {
    return decodeDeclared(await this.#request({ kind: 'declare', queues }));
  }

  /**
   * Asks the shard to stop cleanly; resolves when its log is closed. Close the client afterwards.
   */
  async stop(): Promise<void> {
    await this.#request({ kind: 'stop' });
  }

  /** Everyone who waits hears `unavailable`, and the port is closed. */
  close(): void {
    if (this.#closed !== undefined) return;
    this.#end('the client was closed');
  }

  #open(node: string): Promise<void> {
    const ready = new Promise<void>((resolve, reject) => {
      this.#ready = { resolve, reject };
    });
    this.#port.onClosed(() => this.#fail('the shard ended'));
    this.#port.onBatch((bytes) => this.#take(bytes));
    writeHello(this.#outgoing.control, node);
    this.#wake();
    return ready;
  }

  #refusal(targets: readonly QueueId[], message: Message): EnqueueRefusal | undefined {
    if (this.#closed !== undefined) return 'unavailable';
    if (targets.length === 0) return 'no-queue';
    const { messageBytesMax, pendingBytesMax } = this.#limits;
    if (targets.length > MAX_TARGETS || message.payload.length > messageBytesMax)
      return 'too-large';
    if (this.#pending.bytes > pendingBytesMax) return 'unavailable';
    return undefined;
  }

  #refuse(waiter: EnqueueWaiter, tag: number, refusal: EnqueueRefusal): void {
    this.#pending.refuse(waiter, tag, refusal);
    this.#refusedWaits = true;
  }

  #request(request: ShardRequest): Promise<Uint8Array> {
    if (this.#closed !== undefined) {
      return Promise.reject(new ShardError('unavailable', this.#closed));
    }
    const id = this.#nextRequest++;
    writeRequest(this.#outgoing.control, id, encodeRequest(request));
    this.#wake();
    return new Promise((resolve, reject) => {
      this.#requests.set(id, { resolve, reject });
    });
  }

  // --- One turn of the event loop.

  /**
   * The first thing that happens in a turn: the end of the turn is arranged, and its time is taken.
   */
  #wake(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#pending.now = this.#clock.monotonicMs();
    this.#outgoing.publishedAtMs = this.#clock.wallMs();
    setImmediate(this.#turn);
  }

  #endTurn(): void {
    this.#scheduled = false;
    if (this.#refusedWaits) {
      this.#refusedWaits = false;
      if (this.#closed === undefined) this.#pending.tellRefused();
      else this.#pending.fail();
    }
    if (this.#closed !== undefined) return;
    this.#consumers.writeGrants();
    while (this.#postNext()) {
      // Until the window is full or nothing is left.
    }
    const untold = this.#takenBytes - this.#takenTold;
    if (this.#outgoing.hasControl || untold >= TAKEN_UNTOLD_MAX) {
      this.#port.post(this.#outgoing.takeControl(this.#state()));
    }
    this.#watchTime();
    this.#checkWritable();
  }

  /** Posts the batch of enqueues whose turn it is; false: there is none, or it must wait. */
  #postNext(): boolean {
    const outgoing = this.#outgoing;
    const last = outgoing.nextLast;
    if (last === 0 || this.#busy || this.#closed !== undefined) return false;
    const pending = this.#pending;
    if (last - pending.answeredUpTo > this.#limits.window) return false;
    if (!outgoing.nextIsFull && this.#underWay() >= this.#limits.batchesUnderWay) return false;
    const bytesUnderWay = pending.bytes - outgoing.waitingCost;
    if (bytesUnderWay > 0 && bytesUnderWay + outgoing.nextBytes > this.#limits.windowBytes)
      return false;
    const batch = outgoing.takeEnqueues(this.#state());
    if (batch === undefined) return false;
    this.#posted.push(last);
    this.#port.post(batch);
    return true;
  }

  /** Batches of enqueues that were posted and are not wholly answered. */
  #underWay(): number {
    const posted = this.#posted;
    const { answeredUpTo } = this.#pending;
    while ((posted[0] ?? Infinity) <= answeredUpTo) posted.shift();
    return posted.length;
  }

  #state(): PostState {
    this.#takenTold = this.#takenBytes;
    return {
      boot: this.#boot,
      answeredUpTo: this.#pending.answeredUpTo,
      takenBytes: this.#takenBytes,
    };
  }

  #checkWritable(): void {
    if (this.#writable || this.#pending.bytes * 2 > this.#limits.highWaterBytes) return;
    this.#writable = true;
    for (const listener of this.#writableListeners) listener();
  }

  // --- Time.

  #watchTime(): void {
    const { oldest } = this.#pending;
    if (this.#timer !== undefined || oldest === Number.POSITIVE_INFINITY) return;
    const waitMs = oldest + this.#limits.ackTimeoutMs - this.#clock.monotonicMs();
    this.#timer = setTimeout(this.#overdue, Math.max(1, Math.ceil(waitMs))).unref();
  }

  #expire(): void {
    this.#timer = undefined;
    if (this.#closed !== undefined) return;
    this.#pending.expire(this.#clock.monotonicMs() - this.#limits.ackTimeoutMs);
    this.#watchTime();
  }

  // --- What the shard says.

  #take(bytes: Uint8Array): void {
    if (this.#closed !== undefined) return;
    this.#takenBytes += bytes.length;
    try {
      const batch = new ShardBatch(bytes);
      for (let frame = batch.next(); frame !== undefined; frame = batch.next()) {
        this.#takeFrame(frame);
        if (this.#closed !== undefined) return;
      }
      this.#consumers.batchEnd();
    } catch (error) {
      if (!(error instanceof CodecError)) throw error;
      this.#fail(`a batch of the shard cannot be read: ${error.message}`);
      return;
    }
    if (this.#outgoing.nextLast !== 0 || !this.#writable) this.#wake();
    if (this.#takenBytes - this.#takenTold >= TAKEN_UNTOLD_MAX) this.#wake();
  }

  #takeFrame(frame: ShardFrame): void {
    switch (frame.kind) {
      case 'delivery':
        this.#consumers.delivered(frame);
        return;
      case 'confirmed':
        if (!this.#pending.confirm(frame)) this.#fail('the shard confirmed what was never sent');
        return;
      case 'busy':
        this.#busy = true;
        return;
      case 'resume':
        this.#busy = false;
        return;
      case 'cancelled':
        this.#consumers.cancelled(frame.consumer, frame.reason);
        return;
      case 'opened':
        this.#boot = frame.boot;
        this.#checkReady();
        return;
      case 'queues':
        this.#queues = frame.queues;
        this.#version++;
        this.#checkReady();
        return;
      case 'reply':
        this.#replied(frame);
        return;
      case 'failed':
        this.#fail(frame.why);
    }
  }

  #checkReady(): void {
    if (this.#boot === 0 || this.#version === 0) return;
    this.#ready?.resolve();
    this.#ready = undefined;
  }

  #replied({ id, accepted, body }: Extract<ShardFrame, { kind: 'reply' }>): void {
    const request = this.#requests.get(id);
    if (request === undefined) return;
    this.#requests.delete(id);
    if (accepted) request.resolve(body);
    else request.reject(new ShardError('refused', decodeWords(body)));
  }

  #fail(why: string): void {
    if (this.#closed !== undefined) return;
    this.#logger.error({ why }, 'the shard is gone: nothing is stored any more');
    this.#end(why);
    this.#onFailed?.(why);
  }

  #end(why: string): void {
    this.#closed = why;
    this.#port.close();
    clearTimeout(this.#timer);
    this.#pending.fail();
    this.#consumers.fail();
    const error = new ShardError('unavailable', why);
    this.#ready?.reject(error);
    for (const request of this.#requests.values()) request.reject(error);
    this.#requests.clear();
    // Who waited to write may come now, and hears `unavailable`.
    this.#checkWritable();
  }
}
