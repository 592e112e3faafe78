/**
 * What the client has to say and has not posted yet: enqueues in a slab, slabs that are full and
 * held back, and control frames.
 *
 * ```
 *   enqueue ---> slab ---(full)---> held, in order ---(window, not busy)---> port
 *                  \------------------(end of the turn)--------------------->
 *   settle, grant, consume, ... ---> control ---(with the next batch; alone, if none goes)---> port
 * ```
 *
 * An enqueue is encoded once, in the call. Control never waits behind enqueues: it may overtake
 * them, as settlements need no order with publishes; among itself it keeps its order. The boot,
 * what is answered and what is taken are written into a batch when it is posted. Nothing here is
 * posted by itself.
 */

import type { EnqueueOptions, PublishKey } from '../machine/command.ts';
import type { QueueId } from '../machine/ids.ts';
import type { Message } from '../broker/message.ts';
import type { Origin } from '../broker/ports.ts';
import { CLIENT_BATCH_HEADER_BYTES, writeClientBatchHeader } from './client-frames.ts';
import { beginEnqueue, finishCommand, writeRelease } from './codec.ts';
import { StoredMessageWriter } from './stored-message.ts';
import { WireWriter } from './wire.ts';

const CONTROL_BYTES = 4096;
/**
 * Posted places at the head of the held ones are given back after so many: moving them costs little
 * then.
 */
const HELD_DROP_AFTER = 64;

interface Held {
  readonly bytes: Uint8Array;
  readonly first: number;
  readonly count: number;
  readonly cost: number;
}

/** What is written into a batch at the moment of posting. */
export interface PostState {
  readonly boot: number;
  readonly answeredUpTo: number;
  readonly takenBytes: number;
  /** 0: there is no route. */
  readonly session: number;
}

export interface OutgoingLimits {
  /** A batch is closed when it is so long. */
  readonly batchBytes: number;
  /** So many enqueues are in a batch at most: no more than the window, or it could never go. */
  readonly batchEnqueuesMax: number;
}

export class Outgoing {
  readonly #limits: OutgoingLimits;
  readonly #slab: WireWriter;
  readonly #messages = new StoredMessageWriter();
  /** Frames; the first bytes are kept free for the header of a batch that holds nothing else. */
  readonly control: WireWriter;
  /** What the next `begin` asks for, and none after it; a field, as most ask for nothing. */
  options: EnqueueOptions | undefined;
  #first = 0;
  #count = 0;
  #cost = 0;
  #waitingCost = 0;
  #held: Held[] = [];
  #heldAt = 0;
  /** Where the enqueue begins that `begin` encoded last. */
  #begun = 0;

  constructor(limits: OutgoingLimits) {
    this.#limits = limits;
    this.#slab = new WireWriter(limits.batchBytes);
    this.#slab.reserve(CLIENT_BATCH_HEADER_BYTES);
    this.control = new WireWriter(CONTROL_BYTES);
    this.control.reserve(CLIENT_BATCH_HEADER_BYTES);
  }

  /** Wall clock of the messages that are written from now on. */
  set publishedAtMs(ms: number) {
    this.#messages.publishedAtMs = ms;
  }

  /** The number of the last enqueue of the batch that would go next; 0: there is none. */
  get nextLast(): number {
    const held = this.#held[this.#heldAt];
    if (held !== undefined) return held.first + held.count - 1;
    return this.#count > 0 ? this.#first + this.#count - 1 : 0;
  }

  /** What all enqueues that are not posted cost, by the word of `keep`. */
  get waitingCost(): number {
    return this.#waitingCost;
  }

  /** Length of the batch that would go next. */
  get nextBytes(): number {
    return this.#held[this.#heldAt]?.bytes.length ?? this.#slab.length;
  }

  /** It has no room for more: waiting longer makes it no larger. */
  get nextIsFull(): boolean {
    return this.#heldAt < this.#held.length || this.slabFull;
  }

  get hasControl(): boolean {
    return this.control.length > CLIENT_BATCH_HEADER_BYTES;
  }

  /** True: the slab is full and must go, or be held. */
  get slabFull(): boolean {
    const { batchBytes, batchEnqueuesMax } = this.#limits;
    return this.#slab.length >= batchBytes || this.#count >= batchEnqueuesMax;
  }

  /**
   * Encodes an enqueue; the size of the stored message, or 0 when it cannot be, and nothing is
   * written.
   */
  begin(targets: readonly QueueId[], message: Message, origin: Origin): number {
    const slab = this.#slab;
    const start = beginEnqueue(slab, targets, this.options);
    this.options = undefined;
    this.#begun = start;
    const storedAt = slab.length;
    if (!this.#messages.write(slab, message, origin)) {
      this.drop();
      return 0;
    }
    finishCommand(slab, start);
    return slab.length - storedAt;
  }

  /** Encodes a release; its size. */
  beginRelease(key: PublishKey): number {
    this.#begun = this.#slab.length;
    writeRelease(this.#slab, key);
    return this.#slab.length - this.#begun;
  }

  /** What `begin` or `beginRelease` encoded is this number's. */
  keep(number: number, cost: number): void {
    if (this.#count++ === 0) this.#first = number;
    this.#cost += cost;
    this.#waitingCost += cost;
  }

  /** What `begin` encoded is not sent. */
  drop(): void {
    this.#slab.length = this.#begun;
  }

  /** Closes the slab: it goes when its turn comes. */
  hold(): void {
    if (this.#count === 0) return;
    this.#held.push(this.#takeSlab());
  }

  /**
   * The batch whose turn it is, the taker's for good. A slab that was not held takes the control
   * with it.
   */
  takeEnqueues(state: PostState): Uint8Array | undefined {
    const held = this.#held[this.#heldAt];
    if (held !== undefined) {
      this.#forgetHeld();
      this.#waitingCost -= held.cost;
      return finished(held, held.bytes.length, state);
    }
    if (this.#count === 0) return undefined;
    const slab = this.#slab;
    const enqueuesEnd = slab.length;
    if (this.hasControl) {
      slab.append(this.control.written().subarray(CLIENT_BATCH_HEADER_BYTES));
      this.control.length = CLIENT_BATCH_HEADER_BYTES;
    }
    const batch = this.#takeSlab();
    this.#waitingCost -= batch.cost;
    return finished(batch, enqueuesEnd, state);
  }

  /** A batch of control alone; it may be empty, and then says what is answered and taken. */
  takeControl(state: PostState): Uint8Array {
    const bytes = this.control.take();
    this.control.reserve(CLIENT_BATCH_HEADER_BYTES);
    return finished({ bytes, first: 0, count: 0, cost: 0 }, CLIENT_BATCH_HEADER_BYTES, state);
  }

  /** Control that is not posted is for nobody any more. */
  dropControl(): void {
    this.control.length = CLIENT_BATCH_HEADER_BYTES;
  }

  #takeSlab(): Held {
    const slab = this.#slab;
    const taken = { bytes: slab.take(), first: this.#first, count: this.#count, cost: this.#cost };
    slab.reserve(CLIENT_BATCH_HEADER_BYTES);
    this.#count = 0;
    this.#cost = 0;
    return taken;
  }

  #forgetHeld(): void {
    this.#heldAt++;
    if (this.#heldAt === this.#held.length) {
      this.#held = [];
      this.#heldAt = 0;
    } else if (this.#heldAt >= HELD_DROP_AFTER) {
      this.#held = this.#held.slice(this.#heldAt);
      this.#heldAt = 0;
    }
  }
}

function finished(batch: Held, enqueuesEnd: number, state: PostState): Uint8Array {
  writeClientBatchHeader(batch.bytes, {
    boot: state.boot,
    firstNumber: batch.first,
    answeredUpTo: state.answeredUpTo,
    takenBytes: state.takenBytes,
    session: state.session,
    commands: batch.count,
    commandBytes: enqueuesEnd - CLIENT_BATCH_HEADER_BYTES,
  });
  return batch.bytes;
}
