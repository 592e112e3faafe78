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
 * Over a route (a cluster) it speaks to whoever leads, in sessions. When one ends, the next leader
 * hears everything again that is not answered: the numbers in their order, consumers with what they
 * hold, settlements. So nobody here sees a change of leader, but by the time that it takes.
 *
 * When the shard fails, closes or speaks nonsense, everyone who waits hears `unavailable`, and so
 * does everyone who comes later; nothing is kept to be tried again. A crash of the process loses
 * what was not confirmed, and nobody was told otherwise.
 */

import { MAX_TARGETS } from '../machine/command.ts';
import type { PlacedDefinition } from '../machine/definitions.ts';
import type { QueueId } from '../machine/ids.ts';
import type { Message } from '../broker/message.ts';
import type {
  ConsumeRequest,
  ConsumerSink,
  EnqueueRefusal,
  EnqueueWaiter,
  EnqueueWish,
  Origin,
  PublishKey,
  QueueClient,
  QueueConsumer,
  SettleRequest,
  SettleWaiter,
} from '../broker/ports.ts';
import type { Logger } from '../telemetry/logger.ts';
import { AdminClient } from './admin-client.ts';
import { Asked } from './asked.ts';
import { writeAsk, writeHello } from './client-frames.ts';
import { type GreetingParts, greet, sayEnd } from './client-greeting.ts';
import { BATCH_ENQUEUES_MAX, clientLimits } from './client-options.ts';
import type { NotOfOneShard, ShardClientLimits, ShardClientOptions } from './client-options.ts';
import { ClientRoute } from './client-route.ts';
import { Consumers } from './consumers.ts';
import { EndedSessions } from './ended-sessions.ts';
import { Outgoing } from './outgoing.ts';
import { PENDING_OVERHEAD_BYTES, Pending } from './pending.ts';
import { PlaceClient } from './place-client.ts';
import type { BatchPort } from './port.ts';
import { Posting } from './posting.ts';
import { RetainedClient } from './retained-client.ts';
import { isKey, publishOptions } from './publish-options.ts';
import { QueueTable } from './queue-table.ts';
import { type Declared, decodeDeclared, decodeStats, type ShardStats } from './requests.ts';
import { ShardError } from './shard-error.ts';
import { ShardBatch } from './shard-frames.ts';
import type { SessionFrame, ShardFrame } from './shard-frames.ts';
import { ShardRequests } from './shard-requests.ts';
import { type Clock, systemClock } from './stamp-clock.ts';
import { CodecError } from './wire.ts';

export class ShardClient implements Omit<QueueClient, NotOfOneShard> {
  readonly #port: BatchPort;
  readonly #limits: ShardClientLimits;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #onFailed: ((why: string) => void) | undefined;
  readonly #node: string;
  readonly #rejects: boolean;
  readonly #route: ClientRoute;
  readonly #pending = new Pending((number, waiter, tag) => this.#isSeenTo(number, waiter, tag));
  readonly #outgoing: Outgoing;
  readonly #posting: Posting;
  readonly #greeting: GreetingParts;
  readonly consumers: Consumers;
  readonly #asked = new Asked();
  readonly #requests: ShardRequests;
  /** To this node's own shard, whoever leads. */
  readonly #ownRequests: ShardRequests;
  readonly #queues = new QueueTable();
  readonly admin: AdminClient;
  readonly retained: RetainedClient;
  /** What shards know of each other's names. */
  readonly places: PlaceClient;
  readonly #endedSessions = new EndedSessions();
  readonly #writableListeners: (() => void)[] = [];
  readonly #turn = (): void => this.#endTurn();
  readonly #overdue = (): void => this.#expire();
  #goneListener: Parameters<QueueClient['onGone']>[0] | undefined;
  #ready: { resolve(): void; reject(error: ShardError): void } | undefined;
  #writable = true;
  #scheduled = false;
  #refusedWaits = false;
  #timer: NodeJS.Timeout | undefined;
  #closed: string | undefined;
  /** That the shard takes nothing any more is what was asked for. */
  #stopping = false;

  /** Resolves when the stream is open and the queues are known; rejects with a ShardError. */
  static async open(options: ShardClientOptions): Promise<ShardClient> {
    const client = new ShardClient(options);
    const giveUp = (): void => client.close();
    options.signal?.addEventListener('abort', giveUp);
    await client.#open().finally(() => options.signal?.removeEventListener('abort', giveUp));
    return client;
  }

  private constructor(options: ShardClientOptions) {
    this.#port = options.port;
    this.#node = options.node;
    this.#rejects = options.rejects === true;
    const route = new ClientRoute(options.isRouted === true);
    this.#route = route;
    this.#limits = clientLimits(route.isRouted, options.limits);
    this.#clock = options.clock ?? systemClock;
    this.#logger = options.logger;
    this.#onFailed = options.onFailed?.bind(options);
    this.#outgoing = new Outgoing({
      batchBytes: this.#limits.batchBytes,
      batchEnqueuesMax: Math.min(BATCH_ENQUEUES_MAX, this.#limits.window),
    });
    const { port, logger } = options;
    const [limits, pending, outgoing] = [this.#limits, this.#pending, this.#outgoing];
    const { control } = outgoing;
    const wake = (): void => this.#wake();
    this.#posting = new Posting({ port, limits, pending, outgoing, route });
    this.consumers = new Consumers({ control, route, logger, wake });
    const ids = { firstId: 1, step: route.isRouted ? 2 : 1, isReached: !route.isRouted };
    this.#requests = new ShardRequests(control, wake, ids);
    this.#ownRequests = route.isRouted
      ? new ShardRequests(route.local, wake, { firstId: 2, step: 2, isReached: true })
      : this.#requests;
    this.admin = new AdminClient(this.#requests);
    this.places = new PlaceClient((request) => this.admin.ask(request));
    this.#greeting = {
      node: options.node,
      control,
      route,
      posting: this.#posting,
      queues: this.#queues,
      consumers: this.consumers,
      asked: this.#asked,
      requests: this.#requests,
    };
    const own = { client: this, ownRequests: this.#ownRequests, clock: this.#clock };
    this.retained = new RetainedClient(this.#greeting, own);
  }

  get queues(): QueueTable {
    return this.#queues;
  }

  get version(): number {
    return this.#queues.version;
  }

  get writable(): boolean {
    return this.#writable;
  }

  onWritable(listener: () => void): void {
    this.#writableListeners.push(listener);
  }

  /** Over a route alone: nothing is kept elsewhere. */
  onGone(listener: Parameters<QueueClient['onGone']>[0]): void {
    this.#goneListener = listener;
  }

  #isSeenTo(number: number, waiter: EnqueueWaiter, tag: number): boolean {
    if (this.#goneListener === undefined) return false;
    const publish = this.#route.retained.publish(number);
    return publish !== undefined && this.#goneListener({ ...publish, waiter, tag });
  }

  enqueue(
    targets: readonly QueueId[],
    message: Message,
    origin: Origin,
    waiter: EnqueueWaiter,
    tag: number,
    key?: EnqueueWish,
  ): void {
    this.#wake();
    const refusal = this.#refusal(targets, message);
    if (refusal !== undefined) {
      this.#refuse(waiter, tag, refusal);
      return;
    }
    const outgoing = this.#outgoing;
    // Most messages ask for nothing, and pay for nothing here.
    if (key !== 'as-it-is' && (message.properties !== undefined || key !== undefined)) {
      const options = publishOptions(message, key);
      if (options === 'invalid-option') {
        this.#refuse(waiter, tag, options);
        return;
      }
      outgoing.options = options;
    }
    const bytes = outgoing.begin(targets, message, origin);
    if (bytes === 0 || bytes > this.#limits.messageBytesMax) {
      if (bytes !== 0) outgoing.drop();
      this.#refuse(waiter, tag, 'too-large');
      return;
    }
    this.#keep(waiter, tag, bytes);
  }

  release(key: PublishKey, waiter: EnqueueWaiter, tag: number): void {
    this.#wake();
    if (this.#closed !== undefined || !isKey(key)) {
      this.#refuse(waiter, tag, this.#closed === undefined ? 'invalid-option' : 'unavailable');
      return;
    }
    this.#keep(waiter, tag, this.#outgoing.beginRelease(key));
  }

  endSession(session: string): void {
    if (this.#closed !== undefined) return;
    this.#endedSessions.add(session, this.#pending.lastNumber);
    this.#wake();
  }

  consume(request: ConsumeRequest, sink: ConsumerSink): QueueConsumer {
    return this.consumers.consume(request, this.#queues.get(request.queueId), sink);
  }

  settle(request: SettleRequest, waiter: SettleWaiter, tag: number): void {
    this.#wake();
    const asked = this.#asked.add(waiter, tag, request);
    if (asked === undefined || this.#closed !== undefined || !this.#route.isReached) return;
    writeAsk(this.#outgoing.control, asked, request);
  }

  /** Plain numbers by name. */
  async stats(): Promise<ShardStats> {
    return decodeStats(await this.#ownRequests.make({ kind: 'stats' }));
  }

  /** Declares queues, or gives them new limits; refused as a whole when one of them cannot be. */
  async declare(queues: readonly PlacedDefinition[]): Promise<readonly Declared[]> {
    return decodeDeclared(await this.#requests.make({ kind: 'declare', queues }));
  }

  /** Stops this node's shard cleanly; resolves when its log is closed. Close the client then. */
  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#ownRequests.make({ kind: 'stop' });
  }

  /** Everyone who waits hears `unavailable`, and the port is closed. */
  close(): void {
    if (this.#closed !== undefined) return;
    this.#end('the client was closed');
  }

  get isClosed(): boolean {
    return this.#closed !== undefined;
  }

  /** Who leads, as far as this node knows; '': nobody knows, or there is no other. */
  get leader(): string {
    return this.#route.leader;
  }

  #open(): Promise<void> {
    const ready = new Promise<void>((resolve, reject) => {
      this.#ready = { resolve, reject };
    });
    this.#port.onClosed(() => this.#fail('the shard ended'));
    this.#port.onBatch((bytes) => this.#take(bytes));
    if (!this.#route.isRouted) writeHello(this.#outgoing.control, this.#node);
    this.#wake();
    return ready;
  }

  #refusal(targets: readonly QueueId[], message: Message): EnqueueRefusal | undefined {
    if (this.#closed !== undefined) return 'unavailable';
    if (targets.length === 0) return 'no-queue';
    if (this.#rejects && this.#route.leader !== this.#node) return 'not-leader';
    const { payloadBytesMax, pendingBytesMax } = this.#limits;
    if (targets.length > MAX_TARGETS || message.payload.length > payloadBytesMax)
      return 'too-large';
    return this.#pending.bytes > pendingBytesMax ? 'unavailable' : undefined;
  }

  #refuse(waiter: EnqueueWaiter, tag: number, refusal: EnqueueRefusal): void {
    this.#pending.refuse(waiter, tag, refusal);
    this.#refusedWaits = true;
  }

  /** What was encoded last has the next number. */
  #keep(waiter: EnqueueWaiter, tag: number, bytes: number): void {
    const pending = this.#pending;
    const outgoing = this.#outgoing;
    pending.add(waiter, tag, bytes);
    outgoing.keep(pending.lastNumber, bytes + PENDING_OVERHEAD_BYTES);
    if (pending.bytes > this.#limits.highWaterBytes) this.#writable = false;
    while (outgoing.slabFull) {
      if (!this.#posting.next()) outgoing.hold();
    }
  }

  // --- One turn of the event loop.

  /**
   * The first thing that happens in a turn: the end of the turn is arranged, and its time is taken.
   */
  #wake(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#pending.now = this.#clock.monotonicMs();
    this.#asked.now = this.#pending.now;
    this.#requests.now = this.#pending.now;
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
    if (this.#closed !== undefined) this.#asked.fail();
    else if (this.#asked.tellable) this.#asked.tell();
    if (this.#closed !== undefined) return;
    this.consumers.writeGrants();
    if (this.#endedSessions.size > 0 && this.#route.isReached) this.#writeEndedSessions();
    while (this.#posting.next()) {
      // Until the window is full or nothing is left.
    }
    this.#posting.control();
    this.#watchTime();
    this.#checkWritable();
  }

  /** Those of which nothing is under way any more: an end must not overtake what it ends. */
  #writeEndedSessions(): void {
    for (const session of this.#endedSessions.take(this.#pending.answeredUpTo)) {
      sayEnd(this.#greeting, session);
    }
  }

  #checkWritable(): void {
    if (this.#writable || this.#pending.bytes * 2 > this.#limits.highWaterBytes) return;
    this.#writable = true;
    for (const listener of this.#writableListeners) listener();
  }

  // --- Time.

  #watchTime(): void {
    const oldest = Math.min(this.#pending.oldest, this.#asked.oldest, this.#requests.oldest);
    if (this.#timer !== undefined || oldest === Number.POSITIVE_INFINITY) return;
    const waitMs = oldest + this.#limits.ackTimeoutMs - this.#clock.monotonicMs();
    this.#timer = setTimeout(this.#overdue, Math.max(1, Math.ceil(waitMs))).unref();
  }

  #expire(): void {
    this.#timer = undefined;
    if (this.#closed !== undefined) return;
    const before = this.#clock.monotonicMs() - this.#limits.ackTimeoutMs;
    this.#pending.expire(before);
    this.#asked.expire(before);
    this.#requests.expire(before);
    this.#watchTime();
  }

  // --- What the shard says.

  #take(bytes: Uint8Array): void {
    if (this.#closed !== undefined) return;
    this.#posting.taken(bytes.length);
    try {
      const batch = new ShardBatch(bytes);
      for (let frame = batch.next(); frame !== undefined; frame = batch.next()) {
        this.#takeFrame(frame);
        if (this.#closed !== undefined) return;
      }
      this.consumers.batchEnd();
      if (this.#asked.tellable) this.#asked.tell();
    } catch (error) {
      if (!(error instanceof CodecError)) throw error;
      this.#fail(`a batch of the shard cannot be read: ${error.message}`);
      return;
    }
    if (this.#outgoing.nextLast !== 0 || !this.#writable) this.#wake();
    if (this.#endedSessions.size > 0) this.#wake();
    if (this.#posting.isTakenUntold || this.#route.isFilledUntold) this.#wake();
  }

  #takeFrame(frame: ShardFrame): void {
    switch (frame.kind) {
      case 'delivery':
        this.consumers.delivered(frame);
        return;
      case 'confirmed':
        if (!this.#pending.confirm(frame)) this.#fail('the shard confirmed what was never sent');
        this.#route.retained.answered(this.#pending.answeredUpTo);
        return;
      case 'busy':
      case 'resume':
        this.#posting.busy = frame.kind === 'busy';
        return;
      case 'cancelled':
        this.consumers.cancelled(frame);
        return;
      case 'attached':
        this.consumers.attached(frame);
        return;
      case 'ended':
        this.consumers.ended(frame);
        return;
      case 'settled':
        this.#asked.answered(frame.tag, frame.answer);
        return;
      case 'opened':
        this.#opened(frame.boot);
        return;
      case 'session':
        this.#sessionTold(frame);
        return;
      case 'named':
        return;
      case 'filled':
        this.#route.filledBytes += this.#posting.takenHere();
        return;
      case 'unread':
        this.consumers.unread(frame.consumer);
        return;
      case 'worked':
        this.consumers.worked(this.#route.unworked.worked(frame.batches));
        return;
      case 'queues':
        this.#queues.take(frame);
        this.#posting.awaited();
        this.#checkReady();
        return;
      case 'reply':
        if (this.#requests.replied(frame)) return;
        if (this.#ownRequests.replied(frame)) this.#posting.takenHere();
        return;
      case 'failed':
        this.#fail(frame.why);
    }
  }

  #opened(boot: number): void {
    this.#posting.boot = boot;
    this.#route.opened();
    this.#posting.again();
    this.#checkReady();
    this.#wake();
  }

  /** 0: nobody is reached any more. */
  #sessionTold({ session, leader, readsHere }: SessionFrame): void {
    const route = this.#route;
    route.leader = leader;
    if (route.session !== 0) {
      this.#outgoing.dropControl();
      this.#requests.lost();
    }
    route.begin(session, readsHere);
    if (session === 0) return;
    greet(this.#greeting);
    this.#wake();
  }

  #checkReady(): void {
    if (this.#posting.boot === 0 || !this.#queues.known) return;
    this.#ready?.resolve();
    this.#ready = undefined;
  }

  #fail(why: string): void {
    if (this.#closed !== undefined) return;
    if (!this.#stopping) this.#logger.error({ why }, 'the shard is gone: nothing is stored');
    this.#end(why);
    this.#onFailed?.(why);
  }

  #end(why: string): void {
    this.#closed = why;
    this.#port.close();
    clearTimeout(this.#timer);
    this.#pending.fail();
    this.#asked.fail();
    this.consumers.fail();
    this.#ready?.reject(new ShardError('unavailable', why));
    this.#requests.fail(why);
    this.#ownRequests.fail(why);
    // Who waited to write may come now, and hears `unavailable`.
    this.#checkWritable();
  }
}
