/**
 * Wishes about wills of durable sessions, and the answers, as plain data (see requests.ts).
 *
 * ```
 *  request   ["take-wills"]                     answered when there are some, or the leader is lost
 *            ["end-will", queueId, number]      it is published
 *  reply     take-wills, and leave-session:  [[queueId, number, stored message], ...]
 *            end-will: null
 * ```
 *
 * Whoever takes a will is to publish it. The leader offers it again after a minute, to anybody, as
 * long as it is not ended.
 */

import type { QueueId } from '../machine/ids.ts';
import type { StoredWill } from '../machine/session-will-record.ts';
import { NEVER_EXPIRES } from '../machine/session-record.ts';
import { countIn, listIn } from './plain-fields.ts';
import type { PlainData } from './record-codec.ts';
import { StoredMessageView } from './stored-message.ts';
import { CodecError } from './wire.ts';

export type WillRequest =
  | { readonly kind: 'take-wills' }
  | { readonly kind: 'end-will'; readonly queueId: QueueId; readonly number: number };

/** One that is due. */
export interface DueWillBytes {
  /** Of the session. */
  readonly queueId: QueueId;
  /** The owner epoch of the claim that brought it. */
  readonly number: number;
  /** As a shard stores a message. */
  readonly message: Uint8Array;
}

/** What a claim brings. */
export function willData(will: StoredWill | undefined): PlainData {
  return will === undefined ? null : [will.delaySeconds, will.message];
}

/** Its message is a view. */
export function willIn(data: PlainData | undefined): StoredWill | undefined {
  if (data === null) return undefined;
  const [delay, message] = listIn(data);
  const delaySeconds = countIn(delay);
  if (delaySeconds > NEVER_EXPIRES) throw new CodecError('bad-value', 'a delay was expected');
  return { delaySeconds, message: storedIn(message) };
}

export function dueWillsData(wills: readonly DueWillBytes[]): PlainData {
  return wills.map(({ queueId, number, message }) => [queueId, number, message]);
}

export function dueWillsIn(data: PlainData): readonly DueWillBytes[] {
  return listIn(data).map((each) => {
    const [queueId, number, message] = listIn(each);
    const of = { queueId: countIn(queueId) as QueueId, number: countIn(number) };
    return { ...of, message: storedIn(message) };
  });
}

/** Throws a CodecError unless it is a stored message. */
function storedIn(data: PlainData | undefined): Uint8Array {
  if (!(data instanceof Uint8Array)) throw new CodecError('bad-value', 'a will was expected');
  const view = new StoredMessageView(data, 0, data.length);
  if (view.topic === '') throw new CodecError('bad-value', 'a will has a topic');
  return data;
}
