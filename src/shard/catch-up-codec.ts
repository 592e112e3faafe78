/**
 * What a replica asks of another while it catches up, and the answers, as plain data
 * (`record-codec.ts`).
 *
 * | question                           | answer                                             |
 * |------------------------------------|----------------------------------------------------|
 * | `['records', page]`                | `[last page?, keys, values]`                       |
 * | `['payloads', queueId, from, to]`  | `[next, gone at, offsets, entry indexes, messages]` |
 *
 * Records are those of the checkpoint, in pages that follow each other. Payloads are asked for by
 * queue and range of offsets, so that any replica can answer, whatever its files look like: those
 * that are still wanted in [from, next), where `next` is at most `to`. What is wanted no more is
 * not there: it was gone at the index that is named (0: nothing was). Bytes that are neither are
 * told as a `CodecError`.
 */

import { decodeForeign, encodeRecord } from './record-codec.ts';
import type { PlainData } from './record-codec.ts';
import { CodecError } from './wire.ts';

/** MessagePack: `array 32`, and how many bytes its length has. */
const LIST_32 = 0xdd;
const LIST_LENGTH_BYTES = 4;

export type CatchUpQuestion =
  | { readonly kind: 'records'; readonly page: number }
  | {
      readonly kind: 'payloads';
      readonly queueId: number;
      readonly from: number;
      readonly to: number;
    };

export interface RecordsAnswer {
  readonly isLast: boolean;
  readonly keys: readonly string[];
  readonly values: readonly Uint8Array[];
}

export interface PayloadsAnswer {
  readonly next: number;
  readonly goneAt: number;
  readonly offsets: readonly number[];
  /** Of the log's entry by which each came. */
  readonly indexes: readonly number[];
  readonly messages: readonly Uint8Array[];
}

export function encodeQuestion(question: CatchUpQuestion): Uint8Array {
  if (question.kind === 'records') return encodeRecord(['records', question.page]);
  const { queueId, from, to } = question;
  return encodeRecord(['payloads', queueId, from, to]);
}

export function decodeQuestion(bytes: Uint8Array): CatchUpQuestion {
  const [kind, ...numbers] = listOf(decoded(bytes));
  const [first = -1, from = -1, to = -1] = numbers.map(countOf);
  if (kind === 'records' && numbers.length === 1) return { kind, page: first };
  if (kind === 'payloads' && numbers.length === 3 && from <= to) {
    return { kind, queueId: first, from, to };
  }
  throw unknown('a question');
}

export function encodeRecords({ isLast, keys, values }: RecordsAnswer): Uint8Array {
  return encodeRecord([isLast, keys, values]);
}

export function decodeRecords(bytes: Uint8Array): RecordsAnswer {
  const [isLast, keys, values] = listOf(decoded(bytes));
  const answer = { keys: listOf(keys).map(textOf), values: listOf(values).map(bytesOf) };
  if (typeof isLast !== 'boolean' || answer.keys.length !== answer.values.length) {
    throw unknown('a page of records');
  }
  return { isLast, ...answer };
}

/**
 * All of it but the messages, as many as there are offsets: each of them follows as a byte array of
 * MessagePack (`payloads-writer.ts`).
 */
export function encodePayloadsHead(answer: Omit<PayloadsAnswer, 'messages'>): Uint8Array {
  const { next, goneAt, offsets, indexes } = answer;
  const record = encodeRecord([next, goneAt, offsets, indexes, []]);
  const bytes = new Uint8Array(record.length + LIST_LENGTH_BYTES);
  bytes.set(record);
  const at = record.length - 1;
  bytes[at] = LIST_32;
  new DataView(bytes.buffer).setUint32(at + 1, offsets.length);
  return bytes;
}

/** The messages are views of `bytes`. */
export function decodePayloads(bytes: Uint8Array): PayloadsAnswer {
  const [next, goneAt, offsets, indexes, messages] = listOf(decoded(bytes, 'views'));
  const answer = {
    next: countOf(next),
    goneAt: countOf(goneAt),
    offsets: listOf(offsets).map(countOf),
    indexes: listOf(indexes).map(countOf),
    messages: listOf(messages).map(bytesOf),
  };
  const { length } = answer.offsets;
  const ascends = answer.offsets.every((offset, nth) => {
    return offset < answer.next && (nth === 0 || offset > (answer.offsets[nth - 1] ?? 0));
  });
  if (!ascends || answer.indexes.length !== length || answer.messages.length !== length) {
    throw unknown('payloads');
  }
  return answer;
}

function decoded(bytes: Uint8Array, how: 'copies' | 'views' = 'copies'): PlainData {
  try {
    return decodeForeign(bytes, how);
  } catch {
    throw unknown('plain data');
  }
}

function listOf(data: PlainData | undefined): readonly PlainData[] {
  if (!Array.isArray(data)) throw unknown('a list');
  return data as readonly PlainData[];
}

function countOf(data: PlainData | undefined): number {
  if (typeof data !== 'number' || !Number.isSafeInteger(data) || data < 0) throw unknown('a count');
  return data;
}

function textOf(data: PlainData): string {
  if (typeof data !== 'string') throw unknown('a text');
  return data;
}

function bytesOf(data: PlainData): Uint8Array {
  if (!(data instanceof Uint8Array)) throw unknown('bytes');
  return data;
}

function unknown(what: string): CodecError {
  return new CodecError('bad-value', `what a peer sent for a catch-up is not ${what}`);
}
