/**
 * The receiver's end of a catch-up: takes an offer, asks for what is lacking, and has the whole
 * made current when it is there.
 *
 * One transfer at a time; a newer offer takes the place of an older one, and what the older one has
 * brought stays with the sink. An answer counts only if its question was asked, once, and its
 * checksum is right. Answers are taken one after the other; questions that wait are bounded. It
 * times out on progress: what was asked and not answered is asked again, and after `PATIENCE_MS`
 * without anything it stops and waits for the next offer. Where an answer takes long to be taken,
 * its question is asked once more now and then, for nothing but the leader's patience, which is as
 * long; the answer is dropped. Where the log brings what a transfer did
 * not, what that has left with the sink is forgotten. Nothing of the replica changes before the
 * core has agreed (`agreed`) and all that was written before is durable.
 */

import type { ServerId, Term } from '../core/ids.ts';
import type { HardState } from '../core/ready.ts';
import { CATCH_UP_LIMITS } from './catch-up-messages.ts';
import type {
  CatchUpAnswer,
  CatchUpEnd,
  CatchUpMessage,
  CatchUpOffer,
} from './catch-up-messages.ts';
import type { CatchUpBuilding, CatchUpSink, CheckpointName } from './catch-up-ports.ts';
import type { Entry } from '../core/entry.ts';

export interface CatchUpReceiverOptions {
  readonly id: ServerId;
  readonly sink: CatchUpSink;
  checksum(bytes: Uint8Array): number;
  monotonicMs(): number;
  term(): Term;
  /** A checkpoint at this index or before it is of no use. */
  has(): number;
  send(message: CatchUpMessage): void;
  /**
   * Everything is there: is it still wanted? `later`: ask again when something was applied.
   */
  complete(checkpoint: CheckpointName, serveFrom: number): 'agreed' | 'later' | 'refused';
  failed(error: Error): void;
}

interface Asked {
  readonly question: Uint8Array;
  askedAtMs: number;
}

interface Transfer {
  readonly offer: CatchUpOffer;
  readonly checkpoint: CheckpointName;
  /** Undefined: the sink is looking at what it has. */
  building: CatchUpBuilding | undefined;
  /** By number, in the order in which they were asked. */
  readonly asked: Map<number, Asked>;
  readonly answers: { readonly question: Uint8Array; readonly bytes: Uint8Array }[];
  taking: boolean;
  lastNumber: number;
  /** Of this number; undefined: none was asked. */
  lastQuestion: Uint8Array | undefined;
  /** When the leader heard of it last. */
  lastAskedAtMs: number;
  progressAtMs: number;
  state: 'asking' | 'waiting' | 'agreed';
}

const ASK_AGAIN_MS = 1_000;
/** The leader is told that an answer is still being taken. */
const AT_WORK_MS = 3_000;
const PATIENCE_MS = 10_000;

export class CatchUpReceiver {
  readonly #options: CatchUpReceiverOptions;
  #transfer: Transfer | undefined;
  /** The checkpoint of the last one that was not made current, as long as it may be of use. */
  #leftAt: number | undefined;

  constructor(options: CatchUpReceiverOptions) {
    this.#options = options;
  }

  get isReceiving(): boolean {
    return this.#transfer !== undefined;
  }

  offer(offer: CatchUpOffer): void {
    const there = this.#transfer;
    if (there?.state === 'agreed' || offer.term < this.#options.term()) return;
    if (there !== undefined && isSame(there.offer, offer)) return;
    if (there !== undefined && offer.term < there.offer.term) return;
    if (offer.index <= this.#options.has()) {
      this.#tell(offer, 'refused');
      return;
    }
    this.#close();
    const { index, indexTerm, configuration, summary } = offer;
    const transfer: Transfer = {
      offer,
      checkpoint: { index, term: indexTerm, configuration },
      building: undefined,
      asked: new Map(),
      answers: [],
      taking: false,
      lastNumber: 0,
      lastQuestion: undefined,
      lastAskedAtMs: 0,
      progressAtMs: this.#options.monotonicMs(),
      state: 'asking',
    };
    this.#transfer = transfer;
    this.#options.sink.begin(transfer.checkpoint, summary).then(
      (building) => this.#begun(transfer, building),
      (error: unknown) => this.#broken(transfer, error),
    );
  }

  answer(answer: CatchUpAnswer): void {
    const transfer = this.#transfer;
    if (transfer === undefined || !isSame(transfer.offer, answer)) return;
    const asked = transfer.asked.get(answer.number);
    if (asked === undefined) return;
    if (this.#options.checksum(answer.bytes) !== answer.checksum) return;
    transfer.asked.delete(answer.number);
    transfer.progressAtMs = this.#options.monotonicMs();
    transfer.answers.push({ question: asked.question, bytes: answer.bytes });
    this.#take(transfer);
  }

  /** The leader does not hold it any more. */
  gone(end: CatchUpEnd): void {
    const transfer = this.#transfer;
    if (transfer === undefined || transfer.state === 'agreed') return;
    if (isSame(transfer.offer, end)) this.#close();
  }

  /** Something was applied: what waited for it may go on. */
  appliedMore(): void {
    const transfer = this.#transfer;
    if (transfer?.state === 'waiting') this.#complete(transfer);
  }

  /** Now and then. */
  look(): void {
    const transfer = this.#transfer;
    if (transfer === undefined) this.#forget();
    if (transfer?.state !== 'asking') return;
    const nowMs = this.#options.monotonicMs();
    if (nowMs - transfer.progressAtMs >= PATIENCE_MS && !transfer.taking) {
      this.#close();
      return;
    }
    for (const [number, asked] of transfer.asked) {
      if (nowMs - asked.askedAtMs < ASK_AGAIN_MS) continue;
      asked.askedAtMs = nowMs;
      this.#ask(transfer, number, asked.question);
    }
    const { taking, lastNumber, lastQuestion, lastAskedAtMs } = transfer;
    if (!taking || lastQuestion === undefined || nowMs - lastAskedAtMs < AT_WORK_MS) return;
    this.#ask(transfer, lastNumber, lastQuestion);
  }

  /**
   * The core's order: everything before it in the stream of writes is durable. Resolves when the
   * checkpoint is the current one; `kept` are entries behind it that stay.
   */
  async makeCurrent(hardState: HardState, kept: AsyncIterable<readonly Entry[]>): Promise<void> {
    const transfer = this.#transfer;
    if (transfer?.building === undefined || transfer.state !== 'agreed') {
      throw new Error('a checkpoint is to become current, and there is none');
    }
    for await (const entries of kept) await transfer.building.keep(entries);
    await transfer.building.makeCurrent(hardState);
    this.#tell(transfer.offer, 'current');
  }

  close(): void {
    if (this.#transfer?.state !== 'agreed') this.#close();
  }

  #begun(transfer: Transfer, building: CatchUpBuilding): void {
    if (this.#transfer !== transfer) {
      building.close();
      return;
    }
    transfer.building = building;
    transfer.progressAtMs = this.#options.monotonicMs();
    this.#goOn(transfer);
  }

  #goOn(transfer: Transfer): void {
    const { building, asked, answers } = transfer;
    if (building === undefined) return;
    while (asked.size + answers.length < CATCH_UP_LIMITS.asked) {
      const next = building.next();
      if (next === 'wait') return;
      if (next === 'complete') {
        if (asked.size === 0 && answers.length === 0 && !transfer.taking) this.#complete(transfer);
        return;
      }
      const number = ++transfer.lastNumber;
      transfer.lastQuestion = next;
      asked.set(number, { question: next, askedAtMs: this.#options.monotonicMs() });
      this.#ask(transfer, number, next);
    }
  }

  #ask(of: Transfer, number: number, question: Uint8Array): void {
    const { session, term, transfer, from } = of.offer;
    of.lastAskedAtMs = this.#options.monotonicMs();
    const names = { from: this.#options.id, to: from, session, term, transfer };
    this.#options.send({ kind: 'catchUpAsk', ...names, number, question });
  }

  /** One answer after the other. */
  #take(transfer: Transfer): void {
    const { building, answers } = transfer;
    if (building === undefined || transfer.taking) return;
    const answer = answers.shift();
    if (answer === undefined) return;
    transfer.taking = true;
    building.take(answer.question, answer.bytes).then(
      () => this.#taken(transfer),
      (error: unknown) => this.#broken(transfer, error),
    );
    // What is known of it already may be enough for the next question.
    this.#goOn(transfer);
  }

  #taken(transfer: Transfer): void {
    transfer.taking = false;
    if (this.#transfer !== transfer) {
      transfer.building?.close();
      return;
    }
    transfer.progressAtMs = this.#options.monotonicMs();
    this.#take(transfer);
    this.#goOn(transfer);
  }

  #complete(transfer: Transfer): void {
    const { building, checkpoint, offer } = transfer;
    if (building === undefined) return;
    const outcome = this.#options.complete(checkpoint, building.serveFrom);
    switch (outcome) {
      case 'agreed':
        transfer.state = 'agreed';
        return;
      case 'later':
        transfer.state = 'waiting';
        return;
      case 'refused':
        this.#tell(offer, 'refused');
        this.#close();
    }
  }

  #tell(offer: CatchUpOffer, outcome: CatchUpEnd['outcome']): void {
    const { session, term, transfer, from } = offer;
    const names = { from: this.#options.id, to: from, session, term, transfer };
    this.#options.send({ kind: 'catchUpEnd', ...names, outcome });
  }

  /** The sink cannot go on: the disk, or an answer that is none. The leader hears nothing more. */
  #broken(transfer: Transfer, error: unknown): void {
    transfer.taking = false;
    if (this.#transfer === transfer) this.#close();
    else transfer.building?.close();
    this.#options.failed(error instanceof Error ? error : new Error(String(error)));
  }

  #forget(): void {
    if (this.#leftAt === undefined || this.#options.has() < this.#leftAt) return;
    this.#leftAt = undefined;
    this.#options.sink.forget();
  }

  /** A take that is under way closes the building when it ends. */
  #close(): void {
    const transfer = this.#transfer;
    this.#transfer = undefined;
    this.#leftAt = transfer?.checkpoint.index ?? this.#leftAt;
    if (transfer !== undefined && !transfer.taking) transfer.building?.close();
  }
}

function isSame(offer: CatchUpOffer, other: CatchUpMessage): boolean {
  return (
    offer.from === other.from &&
    offer.term === other.term &&
    offer.transfer === other.transfer &&
    offer.session === other.session
  );
}
