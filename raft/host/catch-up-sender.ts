/**
 * The leader's end of catch-ups: one transfer for each peer that is behind the log's start, pulled
 * by that peer.
 *
 * A transfer holds a checkpoint, and the log behind it, for as long as it makes progress and a
 * while longer, so that the log goes on where the checkpoint ends. Where the log cannot be held any
 * more, the transfer ends, and the next one, from a later checkpoint, is asked for less: what the
 * peer has of it stays there. So a transfer goes in passes. Behind a checkpoint that a peer has
 * made current the log is held for longer than for a transfer (`HeldFor`): the last pass may have
 * taken all the time that it had, and only the log is left to be asked for.
 *
 * What a transfer may use is bounded: `TRANSFERS_MAX` at once, `CATCH_UP_LIMITS.asked` questions
 * each, nothing is read for a peer whose channel is full, and all of it as the pace lets it.
 * Everything here is soft: a crash or a change of leader costs the peer nothing but a new offer.
 */

import type { LogIndex, ServerId, Term } from '../core/ids.ts';
import { CATCH_UP_LIMITS } from './catch-up-messages.ts';
import type { CatchUpAsk, CatchUpEnd, CatchUpMessage } from './catch-up-messages.ts';
import type { CatchUp } from '../core/ready.ts';
import type { CatchUpPace } from './catch-up-pace.ts';
import type { CatchUpReading, CatchUpSource, HeldFor } from './catch-up-ports.ts';

export interface CatchUpSenderOptions {
  readonly id: ServerId;
  readonly source: CatchUpSource;
  readonly pace: CatchUpPace;
  checksum(bytes: Uint8Array): number;
  monotonicMs(): number;
  send(message: CatchUpMessage): void;
  hasRoom(to: ServerId): boolean;
  /** The core is to look at this peer again. */
  ended(to: ServerId, session: number): void;
}

interface Transfer {
  readonly to: ServerId;
  readonly session: number;
  readonly term: Term;
  readonly number: number;
  /** Undefined: being opened. */
  reading: CatchUpReading | undefined;
  /** Questions that wait for room in the channel, for the pace, or for the one before them. */
  readonly questions: CatchUpAsk[];
  /** The first of them waits for the pace, or is being read. */
  answering: boolean;
  offeredAtMs: number;
  progressAtMs: number;
  asked: boolean;
}

/** The log behind a checkpoint that a peer has just made current. */
interface Hold {
  readonly index: LogIndex;
  readonly untilMs: number;
}

const TRANSFERS_MAX = 2;
const OFFER_AGAIN_MS = 500;
const PATIENCE_MS = 10_000;
/** A peer that has a new checkpoint opens it, and then asks for the log. */
const HOLD_MS = 30_000;

export class CatchUpSender {
  readonly #options: CatchUpSenderOptions;
  readonly #transfers = new Map<ServerId, Transfer>();
  #holds: Hold[] = [];
  #number = 0;

  constructor(options: CatchUpSenderOptions) {
    this.#options = options;
  }

  get transfers(): number {
    return this.#transfers.size;
  }

  /** Entries behind this index are still wanted; Infinity: none is held. */
  get heldBehind(): number {
    let lowest = Number.POSITIVE_INFINITY;
    for (const { reading } of this.#transfers.values()) {
      if (reading !== undefined) lowest = Math.min(lowest, reading.checkpoint.index);
    }
    for (const { index } of this.#holds) lowest = Math.min(lowest, index);
    return lowest;
  }

  /** The log is to begin here: transfers that end before it are over. */
  release(start: LogIndex, heldFor: Exclude<HeldFor, 'all'>): void {
    if (heldFor === 'nobody') {
      this.#holds = this.#holds.filter(({ index }) => index + 1 >= start);
    }
    for (const transfer of this.#transfers.values()) {
      const { reading } = transfer;
      if (reading !== undefined && reading.checkpoint.index + 1 < start) this.#cannot(transfer);
    }
  }

  /** The core asks for it, in this term. */
  begin({ to, session, least }: CatchUp, term: Term): void {
    const there = this.#transfers.get(to);
    if (there?.session === session && there.term === term) return;
    if (there !== undefined) this.#close(there);
    if (this.#transfers.size >= TRANSFERS_MAX) {
      this.#options.ended(to, session);
      return;
    }
    const nowMs = this.#options.monotonicMs();
    const transfer: Transfer = {
      to,
      session,
      term,
      number: ++this.#number,
      reading: undefined,
      questions: [],
      answering: false,
      offeredAtMs: nowMs,
      progressAtMs: nowMs,
      asked: false,
    };
    this.#transfers.set(to, transfer);
    this.#options.source.open(least).then(
      (reading) => this.#opened(transfer, reading),
      () => this.#end(transfer),
    );
  }

  ask(message: CatchUpAsk): void {
    const transfer = this.#transferOf(message);
    if (transfer?.reading === undefined) return;
    const { questions } = transfer;
    transfer.asked = true;
    transfer.progressAtMs = this.#options.monotonicMs();
    // It is asked again where the answer takes its time, and would be read twice.
    if (questions.some(({ number }) => number === message.number)) return;
    if (questions.length >= CATCH_UP_LIMITS.asked) return;
    transfer.questions.push(message);
    this.#answer(transfer);
  }

  /** The peer has made it current, or wants no more of it. */
  end(message: CatchUpEnd): void {
    const transfer = this.#transferOf(message);
    if (transfer === undefined) return;
    const index = transfer.reading?.checkpoint.index;
    if (message.outcome === 'current' && index !== undefined) {
      this.#holds.push({ index, untilMs: this.#options.monotonicMs() + HOLD_MS });
    }
    this.#end(transfer);
  }

  room(to: ServerId): void {
    const transfer = this.#transfers.get(to);
    if (transfer !== undefined) this.#answer(transfer);
  }

  /** Now and then: offers again, and gives up where nothing is heard. */
  look(): void {
    const nowMs = this.#options.monotonicMs();
    if (this.#holds.length > 0) this.#holds = this.#holds.filter(({ untilMs }) => untilMs > nowMs);
    for (const transfer of this.#transfers.values()) {
      if (nowMs - transfer.progressAtMs >= PATIENCE_MS) this.#end(transfer);
      else if (!transfer.asked && nowMs - transfer.offeredAtMs >= OFFER_AGAIN_MS)
        this.#offer(transfer);
    }
  }

  /** It leads no more, or ends. */
  close(): void {
    for (const transfer of this.#transfers.values()) this.#close(transfer);
    this.#holds = [];
  }

  #opened(transfer: Transfer, reading: CatchUpReading | undefined): void {
    if (this.#transfers.get(transfer.to) !== transfer) {
      reading?.close();
      return;
    }
    // Without a checkpoint the peer is told again when there is one.
    if (reading === undefined) return;
    transfer.reading = reading;
    this.#offer(transfer);
  }

  #offer(transfer: Transfer): void {
    const { reading } = transfer;
    if (reading === undefined) return;
    const { index, term, configuration } = reading.checkpoint;
    transfer.offeredAtMs = this.#options.monotonicMs();
    this.#options.send({
      kind: 'catchUpOffer',
      ...this.#names(transfer),
      index,
      indexTerm: term,
      configuration,
      summary: reading.summary,
    });
  }

  /** One at a time, and only as the channel takes it. */
  #answer(transfer: Transfer): void {
    const { questions, to } = transfer;
    if (transfer.answering || questions.length === 0 || !this.#options.hasRoom(to)) return;
    transfer.answering = true;
    this.#options.pace.take(CATCH_UP_LIMITS.answerBytes, () => this.#read(transfer));
  }

  /** The transfer may be over, or the channel be full, since it was asked. */
  #read(transfer: Transfer): void {
    const { reading, questions, to } = transfer;
    const [ask] = questions;
    const isOver = reading === undefined || this.#transfers.get(to) !== transfer;
    if (isOver || ask === undefined || !this.#options.hasRoom(to)) {
      transfer.answering = false;
      this.#wasRead(0);
      return;
    }
    reading.answer(ask.question, CATCH_UP_LIMITS.answerBytes).then(
      (bytes) => this.#answered(transfer, ask.number, bytes),
      () => this.#unanswered(transfer),
    );
  }

  #wasRead(bytes: number): void {
    this.#options.pace.read(CATCH_UP_LIMITS.answerBytes, bytes);
  }

  #unanswered(transfer: Transfer): void {
    this.#wasRead(0);
    this.#cannot(transfer);
  }

  #answered(transfer: Transfer, number: number, bytes: Uint8Array): void {
    this.#wasRead(bytes.length);
    if (this.#transfers.get(transfer.to) !== transfer) return;
    transfer.answering = false;
    transfer.questions.shift();
    const checksum = this.#options.checksum(bytes);
    const names = this.#names(transfer);
    this.#options.send({ kind: 'catchUpAnswer', ...names, number, bytes, checksum });
    this.#answer(transfer);
  }

  /** It cannot be read any more: the peer may keep what it has, and hears another offer. */
  #cannot(transfer: Transfer): void {
    if (this.#transfers.get(transfer.to) !== transfer) return;
    this.#options.send({ kind: 'catchUpEnd', ...this.#names(transfer), outcome: 'gone' });
    this.#end(transfer);
  }

  #names({ to, session, term, number }: Transfer): {
    readonly from: ServerId;
    readonly to: ServerId;
    readonly session: number;
    readonly term: Term;
    readonly transfer: number;
  } {
    return { from: this.#options.id, to, session, term, transfer: number };
  }

  #transferOf(message: CatchUpAsk | CatchUpEnd): Transfer | undefined {
    const transfer = this.#transfers.get(message.from);
    if (transfer === undefined) return undefined;
    const { number, term, session } = transfer;
    const isOurs =
      number === message.transfer && term === message.term && session === message.session;
    return isOurs ? transfer : undefined;
  }

  #end(transfer: Transfer): void {
    if (this.#transfers.get(transfer.to) !== transfer) return;
    this.#close(transfer);
    this.#options.ended(transfer.to, transfer.session);
  }

  #close(transfer: Transfer): void {
    this.#transfers.delete(transfer.to);
    transfer.reading?.close();
  }
}
