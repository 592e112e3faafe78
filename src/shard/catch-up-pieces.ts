/**
 * Which payloads a catch-up asks for: pieces of the ranges that its queues want, a few at a time,
 * so that none waits for the way of the one before. Answers may come in any order, and count in
 * that of the pieces: by queue, then by offset.
 *
 *     wanted ranges ---> [ piece | piece | piece | piece ] ---(first, when answered)---> taken
 *
 * An answer ends where it is long enough. So a piece is about as long as an answer, by what the
 * last ones have shown, and what it has not brought is asked for when its turn has come. Bounded:
 * `AT_ONCE` pieces, of which all but the first may have their answers here. Nothing is stored; an
 * attempt that breaks off begins anew where it was taken.
 */

import { CATCH_UP_LIMITS } from '#raft';
import type { Offset, QueueId } from '../machine/ids.ts';
import type { CatchUpQuestion, PayloadsAnswer } from './catch-up-codec.ts';

export interface WantedRange {
  readonly queueId: QueueId;
  readonly from: Offset;
  /** Behind the last one. */
  readonly to: Offset;
}

export interface TakenPiece {
  readonly queueId: QueueId;
  readonly answer: PayloadsAnswer;
}

type PayloadsQuestion = CatchUpQuestion & { readonly kind: 'payloads' };

interface Piece {
  readonly queueId: QueueId;
  from: number;
  readonly to: number;
  isAsked: boolean;
  answer: PayloadsAnswer | undefined;
}

const AT_ONCE = 4;
/** A little less than an answer, so that most pieces are brought by one. */
const PIECE_BYTES = CATCH_UP_LIMITS.answerBytes * 0.9;
const FIRST_OFFSETS = 16;
const OFFSETS_MAX = 65_536;
/** From one piece to the next; the one before may have been mostly gone. */
const GROWTH_MAX = 2;

export class CatchUpPieces {
  /** The first one from `#next` on. */
  readonly #ranges: WantedRange[];
  readonly #pieces: Piece[] = [];
  #next: number;
  #offsets = FIRST_OFFSETS;

  /** In the order in which they are to be taken; none of them is empty. */
  constructor(ranges: readonly WantedRange[]) {
    this.#ranges = [...ranges];
    this.#next = ranges[0]?.from ?? 0;
  }

  get isDone(): boolean {
    return this.#ranges.length === 0 && this.#pieces.length === 0;
  }

  /** Undefined: there is nothing to ask before an answer has come or was taken. */
  question(): PayloadsQuestion | undefined {
    const piece = this.#pieces.find(({ isAsked }) => !isAsked) ?? this.#begun();
    if (piece === undefined) return undefined;
    piece.isAsked = true;
    return { kind: 'payloads', queueId: piece.queueId, from: piece.from, to: piece.to };
  }

  /** Throws where the answer is none to this question. */
  answered({ queueId, from }: PayloadsQuestion, answer: PayloadsAnswer): void {
    const piece = this.#pieces.find((each) => each.queueId === queueId && each.from === from);
    if (piece?.isAsked !== true || piece.answer !== undefined) return;
    const { next, offsets } = answer;
    const isOther = next <= from || next > piece.to || (offsets[0] ?? from) < from;
    if (isOther || (offsets.at(-1) ?? from) >= next) {
      throw new Error('a peer answered for other offsets than it was asked for');
    }
    piece.answer = answer;
    this.#learn(next - from, answer);
  }

  /** The next answer in order, once; undefined: it has not come. */
  take(): TakenPiece | undefined {
    const [piece] = this.#pieces;
    const answer = piece?.answer;
    if (piece === undefined || answer === undefined) return undefined;
    if (answer.next === piece.to) this.#pieces.shift();
    else {
      piece.from = answer.next;
      piece.isAsked = false;
      piece.answer = undefined;
    }
    return { queueId: piece.queueId, answer };
  }

  #begun(): Piece | undefined {
    const [range] = this.#ranges;
    if (range === undefined || this.#pieces.length >= AT_ONCE) return undefined;
    const { queueId } = range;
    const from = this.#next;
    const to = Math.min(from + this.#offsets, range.to);
    this.#next = to;
    if (to === range.to) {
      this.#ranges.shift();
      this.#next = this.#ranges[0]?.from ?? 0;
    }
    const piece: Piece = { queueId, from, to, isAsked: false, answer: undefined };
    this.#pieces.push(piece);
    return piece;
  }

  /** How many offsets an answer has room for. */
  #learn(offsets: number, { messages }: PayloadsAnswer): void {
    let bytes = 1;
    for (const { length } of messages) bytes += length;
    const fit = Math.floor((offsets * PIECE_BYTES) / bytes);
    const most = Math.min(OFFSETS_MAX, this.#offsets * GROWTH_MAX);
    this.#offsets = Math.max(1, Math.min(fit, most));
  }
}
