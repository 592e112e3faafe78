/**
 * How a replica that is behind the log's start, or has lost its state, gets a checkpoint from a
 * peer: four messages, pulled by the receiver, and one with which it asks to be offered one.
 *
 * ```
 * leader                        receiver
 *   | ---- offer --------------> |   which checkpoint, and what there is to ask for
 *   | <--- ask (several) ------- |   what it still lacks
 *   | ---- answer -------------> |   checksummed
 *   |            ...             |
 *   | <--- end ----------------- |   made current, or given up; the log goes on from there
 * ```
 *
 * Question and answer are opaque here: source and sink of the shard understand them. So a transfer
 * that broke off goes on wherever the receiver stands, also from another leader with another layout
 * of files. Each message names the transfer it belongs to; one of an older transfer is dropped, and
 * so is an answer that nobody asked for or whose checksum is wrong. All of them may be lost: the
 * receiver asks again, and who hears nothing for too long gives up.
 */

import type { ConfigurationAt } from '../core/configuration.ts';
import type { LogIndex, ServerId, Term } from '../core/ids.ts';

interface Transferred {
  readonly from: ServerId;
  readonly to: ServerId;
  /** Of this stay of the receiver in the cluster: `CatchUp.session`. */
  readonly session: number;
  /** The offering leader's; with its id and `transfer` it names the transfer. */
  readonly term: Term;
  readonly transfer: number;
}

export interface CatchUpOffer extends Transferred {
  readonly kind: 'catchUpOffer';
  readonly index: LogIndex;
  readonly indexTerm: Term;
  readonly configuration: ConfigurationAt;
  /** What the sink has to know to ask; at most `CATCH_UP_LIMITS.summaryBytes`. */
  readonly summary: Uint8Array;
}

export interface CatchUpAsk extends Transferred {
  readonly kind: 'catchUpAsk';
  /** Counts the questions of a transfer. */
  readonly number: number;
  readonly question: Uint8Array;
}

export interface CatchUpAnswer extends Transferred {
  readonly kind: 'catchUpAnswer';
  /** Of the question. */
  readonly number: number;
  readonly bytes: Uint8Array;
  /** CRC-32 (IEEE) of `bytes`. */
  readonly checksum: number;
}

export interface CatchUpEnd extends Transferred {
  readonly kind: 'catchUpEnd';
  /** `gone`, from the leader: it does not hold that checkpoint any more. */
  readonly outcome: 'current' | 'refused' | 'gone';
}

/**
 * From a replica whose state cannot be read, to its leader: offer me a checkpoint. It belongs to no
 * transfer; said again until one has begun.
 */
export interface CatchUpWant {
  readonly kind: 'catchUpWant';
  readonly from: ServerId;
  readonly to: ServerId;
  readonly term: Term;
  /** Its log begins behind this index: an older checkpoint is of no use. */
  readonly least: LogIndex;
}

export type CatchUpMessage = CatchUpOffer | CatchUpAsk | CatchUpAnswer | CatchUpEnd;

export const CATCH_UP_LIMITS = {
  summaryBytes: 65_536,
  questionBytes: 65_536,
  /** About: an answer ends when it has reached so much. */
  answerBytes: 524_288,
  /** What one answer may have: a single payload may be as large as an entry. */
  answerBytesMax: 65 << 20,
  /** Questions that wait for an answer. */
  asked: 8,
} as const;
