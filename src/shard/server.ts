/**
 * The shard's side of the port: batches of bytes in, one batch of bytes a turn out.
 *
 * What it takes: numbered commands (handed to the proposals as they are), settlements, consumers
 * and their credit, rare requests. What it gives: confirms, deliveries, changes of queues, answers,
 * busy and resume. The bytes that the other side has not worked off are bounded: above
 * `outstandingBytesMax` nothing is delivered until it has, and neither queues nor replies go out. A
 * reply comes behind the queues that were changed before it. One server serves one sender, for one
 * session: a sender that comes again gets another one, which goes on where its stream is by all
 * that is applied. A batch that it cannot read, or a sender out of step, ends the session with
 * `failed`, and nothing of that batch is taken. Holds no state that outlives the process.
 */

import type { CancelReason, QueueInfo, SettleAnswer } from '../broker/ports.ts';
import type { Effects } from '../machine/effect.ts';
import type { GroupId, LogIndex, Offset, QueueId } from '../machine/ids.ts';
import type { Machine } from '../machine/machine.ts';
import type { AlarmLog } from './alarms.ts';
import { ClientBatch } from './client-frames.ts';
import type { ClientFrame, CloseHow, HoldFrame } from './client-frames.ts';
import type { AttachRequest, DeliveryHeader, SettleAsk, Settlement } from './dispatcher.ts';
import { StreamConfirms } from './effects.ts';
import type { StoredMessage } from './payloads.ts';
import type { BatchPort } from './port.ts';
import type { EnqueueAnswer, Proposals } from './proposals.ts';
import { decodeRequest, encodeRefusal } from './requests.ts';
import type { ShardRequest } from './requests.ts';
import { ShardBatchWriter } from './shard-frames.ts';
import { CodecError } from './wire.ts';

/** The deliveries of the shard, as one of its servers uses them; consumers are its sender's. */
export interface ServerDesk {
  greeted(server: ShardServer, node: string, boot: number): void;
  attach(server: ShardServer, consumer: number, request: AttachRequest): void;
  grant(server: ShardServer, consumer: number, deliveries: number): void;
  hold(server: ShardServer, hold: HoldFrame): void;
  claimed(server: ShardServer): void;
  close(server: ShardServer, consumer: number, how: CloseHow): void;
  settle(settlement: Settlement): void;
  ask(server: ShardServer, ask: SettleAsk): void;
  /** It takes deliveries again. */
  reopened(server: ShardServer): void;
  /** The other side is gone, or another session has taken its place. */
  left(server: ShardServer): void;
}

export interface ServerOptions {
  readonly port: BatchPort;
  /** The port is one session of a route, which tells its sender when that is over. */
  readonly isRouted: boolean;
  readonly desk: ServerDesk;
  readonly proposals: Proposals;
  readonly logger: AlarmLog;
  readonly outstandingBytesMax: number;
  readonly term: number;
  /** Everything up to here is applied. */
  applied(): LogIndex;
  /** Opens a stream, unless that is under way. */
  openStream(node: string): void;
  /** Calls once, between two entries, with how far the sender's stream is. */
  streamOf(node: string, found: (stream: SenderStream) => void): void;
  queueIds(): Iterable<QueueId>;
  /** Undefined: the queue is gone. */
  queue(queueId: QueueId): QueueInfo | undefined;
  /** The body of the reply; rejects with words for people. `isGone`: nobody hears it any more. */
  readonly request: (request: ShardRequest, isGone: () => boolean) => Promise<Uint8Array>;
  /** Something stands in the output: call `post` at the end of the turn. */
  readonly wake: () => void;
  /** The shard has stopped. */
  closed(): boolean;
  /** A broken invariant. */
  readonly failed: (error: unknown) => void;
}

export type SenderStream = NonNullable<ReturnType<Machine['stream']>>;

/** A batch that settled, closed or ended something, and the last entry in which that can be. */
interface Worked {
  readonly batch: number;
  index: LogIndex | undefined;
  /** What its sender holds is told: what it settled of it must be applied before that counts. */
  readonly isClaim: boolean;
}

interface Reply {
  readonly id: number;
  readonly accepted: boolean;
  readonly body: Uint8Array;
}

/** So many queues are told in a frame, and about so many bytes of queues and replies in a batch. */
const FRAME_QUEUES_MAX = 256;
const BATCH_BYTES_ABOUT = 262_144;
/** Nor do more characters of topics go into one frame, but for those of one queue. */
const FRAME_UNITS_ABOUT = 65_536;

export class ShardServer {
  readonly #options: ServerOptions;
  readonly #writer = new ShardBatchWriter();
  #node: string | undefined;
  #confirms: StreamConfirms | undefined;
  #postedBytes = 0;
  #takenBytes = 0;
  #busy = false;
  /** Queues whose state the other side does not know, in the order in which they are told. */
  readonly #untold = new Set<QueueId>();
  /** Everything was told once. */
  #toldAll = false;
  #replies: Reply[] = [];
  /**
   * Something came after a stop began: it is told when the stop is over, and the last confirms are
   * out.
   */
  #refused = false;
  #over = false;
  #batches = 0;
  #working: Worked[] = [];
  /** Of its batches, up to and with the last one that told of queues. */
  #queuesBytes = 0;
  /** Who wait until the sender has worked off the queues as they are. */
  #toldListeners: ((isTold: boolean) => void)[] = [];

  constructor(options: ServerOptions) {
    this.#options = options;
    this.#writer.term = options.term;
  }

  /** From now on batches are taken. */
  start(): void {
    const { port, desk } = this.#options;
    port.onBatch((bytes) => this.#take(bytes));
    port.onClosed(() => {
      this.#over = true;
      this.#tellTold();
      desk.left(this);
    });
  }

  get node(): string | undefined {
    return this.#node;
  }

  get open(): boolean {
    const { outstandingBytesMax } = this.#options;
    return this.#postedBytes + this.#writer.length - this.#takenBytes < outstandingBytesMax;
  }

  // What the shard has to say.

  deliver(header: DeliveryHeader, message: StoredMessage): void {
    this.#writer.delivery(header, message);
  }

  /** The sender's node reads the message itself. */
  name(header: DeliveryHeader, index: LogIndex): void {
    this.#writer.named(header, index);
  }

  attached(consumer: number, group: { readonly groupId: GroupId; readonly name: string }): void {
    if (!this.#over) this.#writer.attached(consumer, group);
  }

  ended(consumer: number, offset: Offset, deliveryNumber: number): void {
    if (!this.#over) this.#writer.ended(consumer, offset, deliveryNumber);
  }

  cancelled(consumer: number, reason: CancelReason, detail: string): void {
    if (!this.#over) this.#writer.cancelled(consumer, reason, detail);
  }

  settled(tag: number, answer: SettleAnswer): void {
    if (!this.#over) this.#writer.settled(tag, answer);
  }

  /** Of its sender's stream. */
  confirmed(effects: Effects, at: number): void {
    this.#confirms?.add(effects, at);
  }

  streamOpened(boot: number): void {
    if (this.#over) return;
    this.#confirms = new StreamConfirms(boot);
    this.#writer.opened(boot);
  }

  /** Declared, updated or deleted. */
  queueChanged(queueId: QueueId): void {
    if (this.#node !== undefined && !this.#over) this.#untold.add(queueId);
  }

  /** Calls once: the sender has worked off the queues as they are now, or (false) is gone. */
  whenTold(done: (isTold: boolean) => void): void {
    this.#toldListeners.push(done);
    this.#tellTold();
  }

  /** The store is gone: the sender hears why, and nothing follows. */
  fail(why: string): void {
    if (this.#over) return;
    if (this.#options.isRouted) {
      this.end();
      return;
    }
    this.#failed(why);
  }

  /** The session is over: the route tells it, and what was not said yet is for the next one. */
  end(): void {
    this.#over = true;
    this.#options.port.close();
    this.#tellTold();
  }

  #failed(why: string): void {
    this.#confirms?.tell(this.#writer);
    this.#writer.failed(why);
    this.#send();
    this.#over = true;
    this.#tellTold();
  }

  /** Everything that was said in this turn goes out as one batch. */
  post(): void {
    if (this.#over) return;
    this.#confirms?.tell(this.#writer);
    if (this.#busy && this.#options.proposals.drained) {
      this.#busy = false;
      this.#writer.resume();
    }
    const toldQueues = this.#node !== undefined && this.#tellQueues();
    if (this.#working.length > 0) this.#tellWorked();
    if (this.#replies.length > 0) this.#tellReplies();
    if (!this.#writer.empty) this.#send();
    if (toldQueues) this.#queuesBytes = this.#postedBytes;
    if (this.#refused && this.#options.closed()) this.fail('the shard takes nothing any more');
  }

  #tellTold(): void {
    if (this.#toldListeners.length === 0) return;
    const isBehind = this.#untold.size > 0 || this.#takenBytes < this.#queuesBytes;
    const isTold = this.#node === undefined || (!isBehind && this.#toldAll);
    if (!this.#over && !isTold) return;
    for (const told of this.#toldListeners.splice(0)) told(isTold);
  }

  /** As many as there is room for; the rest follows in later turns. False: it told of none. */
  #tellQueues(): boolean {
    const untold = this.#untold;
    let isTelling = false;
    while ((untold.size > 0 || !this.#toldAll) && this.#hasRoom) {
      const queues: QueueInfo[] = [];
      const gone: QueueId[] = [];
      let units = 0;
      for (const queueId of untold) {
        if (queues.length + gone.length === FRAME_QUEUES_MAX || units > FRAME_UNITS_ABOUT) break;
        untold.delete(queueId);
        const queue = this.#options.queue(queueId);
        if (queue === undefined) gone.push(queueId);
        else queues.push(queue);
        for (const topic of queue?.topics ?? []) units += topic.length;
      }
      const complete = untold.size === 0;
      this.#writer.queues({ queues, gone, complete });
      this.#toldAll ||= complete;
      isTelling = true;
    }
    if (untold.size > 0 && this.open) this.#options.wake();
    return isTelling;
  }

  #tellReplies(): void {
    let told = 0;
    while (told < this.#replies.length && this.#untold.size === 0 && this.#hasRoom) {
      const { id, accepted, body } = this.#replies[told++] as Reply;
      this.#writer.reply(id, accepted, body);
    }
    this.#replies.splice(0, told);
    if (this.#replies.length > 0 && this.open) this.#options.wake();
  }

  get #hasRoom(): boolean {
    return this.open && this.#writer.length < BATCH_BYTES_ABOUT;
  }

  #send(): void {
    const batch = this.#writer.take();
    this.#postedBytes += batch.length;
    this.#options.port.post(batch);
  }

  #tellWorked(): void {
    const { proposals } = this.#options;
    const applied = this.#options.applied();
    let told = 0;
    for (const working of this.#working) {
      working.index ??= proposals.submit();
      if (working.index === undefined || working.index > applied) break;
      told = working.batch;
      if (working.isClaim) this.#options.desk.claimed(this);
    }
    if (told === 0) return;
    this.#working = this.#working.filter(({ batch }) => batch > told);
    this.#writer.worked(told);
  }

  #take(bytes: Uint8Array): void {
    if (this.#over) return;
    try {
      this.#takeBatch(new ClientBatch(bytes));
    } catch (error) {
      if (!(error instanceof CodecError)) {
        this.#options.failed(error);
        return;
      }
      this.#options.logger.error(
        { code: error.code, detail: error.message, node: this.#node },
        'a batch cannot be read',
      );
      this.#failed(`a batch cannot be read: ${error.message}`);
    }
  }

  #takeBatch(batch: ClientBatch): void {
    const { proposals, desk, isRouted } = this.#options;
    const wasOpen = this.open;
    this.#batches++;
    this.#takenBytes = Math.max(this.#takenBytes, batch.takenBytes);
    this.#tellTold();
    if (batch.commands > 0) {
      const { boot, firstNumber, answeredUpTo, commands, numbered } = batch;
      const sent = { boot, firstNumber, answeredUpTo, commands, bytes: numbered };
      const answer = proposals.enqueue(this.#node ?? '', sent);
      if (answer !== 'taken') this.#outOfStep(answer);
    }
    let isWork = false;
    let isClaim = false;
    for (let frame = batch.next(); frame !== undefined; frame = batch.next()) {
      this.#takeFrame(frame, batch.answeredUpTo);
      isWork ||= WORK.has(frame.kind);
      isClaim ||= frame.kind === 'claimed';
    }
    const index = proposals.submit();
    if (isRouted && (isWork || isClaim)) {
      this.#working.push({ batch: this.#batches, index, isClaim });
    }
    if (proposals.full && !this.#busy && !this.#over) {
      this.#busy = true;
      this.#writer.busy();
    }
    if (!wasOpen && this.open) desk.reopened(this);
    const waiting = this.#untold.size > 0 || this.#replies.length > 0 || !this.#toldAll;
    if (waiting || this.#working.length > 0 || !this.#writer.empty) this.#options.wake();
  }

  #takeFrame(frame: ClientFrame, answeredUpTo: number): void {
    const { desk } = this.#options;
    switch (frame.kind) {
      case 'settle':
        desk.settle(frame);
        return;
      case 'grant':
        desk.grant(this, frame.consumer, frame.deliveries);
        return;
      case 'consume':
        desk.attach(this, frame.consumer, frame);
        return;
      case 'hold':
        desk.hold(this, frame);
        return;
      case 'claimed':
        // Counts when the whole batch is applied.
        return;
      case 'ask':
        desk.ask(this, frame);
        return;
      case 'end-session':
        this.#options.proposals.plain({ kind: 'end-session', session: frame.session }, '');
        return;
      case 'close':
        desk.close(this, frame.consumer, frame.how);
        return;
      case 'hello':
        this.#hello(frame.node, frame.boot, answeredUpTo);
        return;
      case 'request':
        this.#answer(frame.id, frame.body);
    }
  }

  #hello(node: string, boot: number, answeredUpTo: number): void {
    const options = this.#options;
    this.#node = node;
    options.desk.greeted(this, node, boot);
    for (const queueId of options.queueIds()) this.#untold.add(queueId);
    if (boot === 0) options.openStream(node);
    else options.streamOf(node, (stream) => this.#goOn(boot, answeredUpTo, stream));
  }

  /** The sender has a stream: it hears what became of its numbers while nobody could tell it. */
  #goOn(boot: number, answeredUpTo: number, stream: SenderStream): void {
    if (this.#over) return;
    if (stream.boot !== boot) {
      this.#outOfStep('stale-boot');
      return;
    }
    this.#options.proposals.goesOn(this.#node ?? '', boot, stream.last);
    this.#confirms = StreamConfirms.from(boot, answeredUpTo, stream);
    this.#writer.opened(boot);
    this.#options.wake();
  }

  #answer(id: number, body: Uint8Array): void {
    // The body is a view of the batch, and the request outlives it.
    const { request, isRouted } = this.#options;
    const asked = decodeRequest(body);
    if (isRouted && asked.kind === 'stop') {
      const refusal = encodeRefusal(new Error('a node is stopped by itself alone'));
      this.#reply({ id, accepted: false, body: refusal });
      return;
    }
    request(asked, () => this.#over).then(
      (body) => this.#reply({ id, accepted: true, body }),
      (error: unknown) => this.#reply({ id, accepted: false, body: encodeRefusal(error) }),
    );
  }

  #reply(reply: Reply): void {
    if (this.#over) return;
    this.#replies.push(reply);
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
    this.#failed(`out of step: ${answer}`);
  }
}

/** What is proposed for a sender that hears no answer to it, but that it is done. */
const WORK: ReadonlySet<ClientFrame['kind']> = new Set(['settle', 'close', 'end-session']);
