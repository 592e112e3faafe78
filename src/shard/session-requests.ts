/**
 * What nodes ask the leader of a shard about durable sessions, and the answers, as plain data (see
 * requests.ts). `epoch` is that of the owner who asks.
 *
 * ```
 *  request   ["claim-session", queueId, token, clean start, incarnation, expiry s,
 *             messages, bytes, overflow, user or null,
 *             null, or [will delay s, message]]
 *            ["change-session", queueId, epoch, [subscription, ...], [filter, ...]]
 *            ["replay-session", queueId, epoch, [[filter, run, next, end], ...]]
 *            ["halve-session", queueId, epoch, offset]      ["finish-session", ...] the same
 *            ["leave-session", queueId, epoch, expiry s, in peace]
 *            ["receive-session", queueId, epoch, packet id]
 *            ["choose-session", queueId, epoch, packet id, token, instead, [[share, queueId], ...]]
 *            ["end-session-keys", incarnation]
 *            of wills: will-requests.ts
 *  reply     claim:     [epoch, present, incarnation, the one before or "", [subscription, ...],
 *                       [offset, ...]]
 *            receive:   true: the key is new
 *            choose:    [chosen by this request, [[share, queueId], ...]]
 *            all others: null
 *  subscription         as in records (machine/session-record.ts)
 * ```
 *
 * Each may be asked again, of this leader or the next: a claim and a choice have tokens by which
 * they are known, and all else done twice is as if done once. What does not fit is a CodecError.
 */

import { OVERFLOWS } from '../machine/definitions.ts';
import type { Offset, QueueId } from '../machine/ids.ts';
import type { RecordData } from '../machine/record-data.ts';
import type { SessionLimits, SessionReplay } from '../machine/session-command.ts';
import {
  NEVER_EXPIRES,
  type StoredSubscription,
  subscriptionData,
  subscriptionOf,
} from '../machine/session-record.ts';
import type { StoredWill } from '../machine/session-will-record.ts';
import type { Choosing, Chosen, ShareChoice } from '../machine/share-choices.ts';
import { booleanIn, countIn, listIn, textIn } from './plain-fields.ts';
import type { PlainData } from './record-codec.ts';
import { replayData, replayOf } from './session-replays.ts';
import { type WillRequest, willData, willIn } from './will-requests.ts';
import { CodecError } from './wire.ts';

interface OfOwner {
  readonly queueId: QueueId;
  readonly ownerEpoch: number;
}

export interface ClaimSessionRequest {
  readonly kind: 'claim-session';
  readonly queueId: QueueId;
  readonly token: string;
  readonly cleanStart: boolean;
  readonly incarnation: string;
  readonly user: string | undefined;
  readonly expirySeconds: number;
  readonly limits: SessionLimits;
  readonly will: StoredWill | undefined;
}

export type SessionRequest =
  | ClaimSessionRequest
  | ({
      readonly kind: 'change-session';
      readonly subscribe: readonly StoredSubscription[];
      readonly unsubscribe: readonly string[];
    } & OfOwner)
  | ({ readonly kind: 'replay-session'; readonly replays: readonly SessionReplay[] } & OfOwner)
  | ({ readonly kind: 'halve-session' | 'finish-session'; readonly offset: Offset } & OfOwner)
  | ({
      readonly kind: 'leave-session';
      readonly expirySeconds: number;
      readonly isInPeace: boolean;
    } & OfOwner)
  | ({ readonly kind: 'receive-session'; readonly packetId: number } & OfOwner)
  | ({ readonly kind: 'choose-session'; readonly packetId: number } & Choosing & OfOwner)
  | { readonly kind: 'end-session-keys'; readonly session: string }
  | WillRequest;

export const SESSION_REQUESTS = [
  'claim-session',
  'change-session',
  'replay-session',
  'halve-session',
  'finish-session',
  'leave-session',
  'receive-session',
  'choose-session',
  'end-session-keys',
  'take-wills',
  'end-will',
] as const satisfies readonly SessionRequest['kind'][];

/** What a claim is told. */
export interface Claimed {
  readonly ownerEpoch: number;
  readonly present: boolean;
  readonly incarnation: string;
  readonly before: string;
  readonly subscriptions: readonly StoredSubscription[];
  readonly halves: readonly Offset[];
}

/** UTF-16 units of a token, or of the name of an incarnation. */
const NAME_LENGTH_MAX = 64;
/** Bytes of one text in a command. */
const TEXT_BYTES_MAX = 65_535;

export function sessionRequestData(request: SessionRequest): PlainData {
  const { kind } = request;
  switch (kind) {
    case 'claim-session': {
      const { queueId, token, cleanStart, incarnation, expirySeconds, limits, user, will } =
        request;
      const { maxMessages, maxBytes, overflow } = limits;
      const life = [queueId, token, cleanStart, incarnation, expirySeconds];
      return [kind, ...life, maxMessages, maxBytes, overflow, user ?? null, willData(will)];
    }
    case 'change-session': {
      const subscribe = request.subscribe.map((each) => subscriptionData(each) as PlainData);
      return [kind, request.queueId, request.ownerEpoch, subscribe, request.unsubscribe];
    }
    case 'replay-session':
      return [kind, request.queueId, request.ownerEpoch, request.replays.map(replayData)];
    case 'halve-session':
    case 'finish-session':
      return [kind, request.queueId, request.ownerEpoch, request.offset];
    case 'leave-session':
      return [kind, request.queueId, request.ownerEpoch, request.expirySeconds, request.isInPeace];
    case 'receive-session':
      return [kind, request.queueId, request.ownerEpoch, request.packetId];
    case 'choose-session': {
      const { queueId, ownerEpoch, packetId, token, isInstead } = request;
      const choices = request.choices.map(choiceData);
      return [kind, queueId, ownerEpoch, packetId, token, isInstead, choices];
    }
    case 'end-session-keys':
      return [kind, request.session];
    case 'take-wills':
      return [kind];
    case 'end-will':
      return [kind, request.queueId, request.number];
  }
}

export function sessionRequestOf(
  kind: SessionRequest['kind'],
  fields: readonly PlainData[],
): SessionRequest {
  if (kind === 'take-wills') return { kind };
  if (kind === 'end-session-keys') return { kind, session: nameIn(fields[0]) };
  const queueId = countIn(fields[0]) as QueueId;
  if (kind === 'claim-session') return claimOf(queueId, fields);
  if (kind === 'end-will') return { kind, queueId, number: countIn(fields[1]) };
  const of = { queueId, ownerEpoch: countIn(fields[1]) };
  switch (kind) {
    case 'change-session': {
      const subscribe = listIn(fields[2]).map(subscriptionIn);
      return { kind, ...of, subscribe, unsubscribe: listIn(fields[3]).map(filterIn) };
    }
    case 'replay-session':
      return { kind, ...of, replays: listIn(fields[2]).map(replayIn) };
    case 'halve-session':
    case 'finish-session':
      return { kind, ...of, offset: countIn(fields[2]) as Offset };
    case 'leave-session':
      return { kind, ...of, expirySeconds: secondsIn(fields[2]), isInPeace: booleanIn(fields[3]) };
    case 'receive-session':
      return { kind, ...of, packetId: packetIdIn(fields[2]) };
    case 'choose-session': {
      const asked = { packetId: packetIdIn(fields[2]), token: countIn(fields[3]) };
      const choices = listIn(fields[5]).map(choiceIn);
      return { kind, ...of, ...asked, isInstead: booleanIn(fields[4]), choices };
    }
  }
}

function claimOf(queueId: QueueId, fields: readonly PlainData[]): ClaimSessionRequest {
  const [, token, cleanStart, incarnation, expiry, messages, bytes, word, user, will] = fields;
  const overflow = OVERFLOWS.find((each) => each === word);
  if (overflow === undefined) throw new CodecError('bad-value', 'an overflow was expected');
  return {
    kind: 'claim-session',
    queueId,
    token: nameIn(token),
    cleanStart: booleanIn(cleanStart),
    incarnation: nameIn(incarnation),
    user: userIn(user),
    expirySeconds: secondsIn(expiry),
    limits: { maxMessages: countIn(messages), maxBytes: countIn(bytes), overflow },
    will: willIn(will),
  };
}

export function claimedData(claimed: Claimed): PlainData {
  const { ownerEpoch, present, incarnation, before, subscriptions, halves } = claimed;
  const stored = subscriptions.map((each) => subscriptionData(each) as PlainData);
  return [ownerEpoch, present, incarnation, before, stored, halves];
}

export function claimedIn(data: PlainData): Claimed {
  const [ownerEpoch, present, incarnation, before, subscriptions, halves] = listIn(data);
  return {
    ownerEpoch: countIn(ownerEpoch),
    present: booleanIn(present),
    incarnation: textIn(incarnation),
    before: textIn(before),
    subscriptions: listIn(subscriptions).map(subscriptionIn),
    halves: listIn(halves).map((each) => countIn(each) as Offset),
  };
}

export function chosenData({ isNew, choices }: Chosen): PlainData {
  return [isNew, choices.map(choiceData)];
}

export function chosenIn(data: PlainData): Chosen {
  const [isNew, choices] = listIn(data);
  return { isNew: booleanIn(isNew), choices: listIn(choices).map(choiceIn) };
}

function choiceData({ share, queueId }: ShareChoice): PlainData {
  return [share, queueId];
}

function choiceIn(data: PlainData): ShareChoice {
  const [share, queueId] = listIn(data);
  return { share: countIn(share), queueId: countIn(queueId) as QueueId };
}

function packetIdIn(data: PlainData | undefined): number {
  const packetId = countIn(data);
  if (packetId > 0xffff) throw new CodecError('bad-value', 'a packet id was expected');
  return packetId;
}

function subscriptionIn(data: PlainData): StoredSubscription {
  const subscription = plainIn(data, subscriptionOf);
  filterIn(subscription.filter);
  return subscription;
}

function replayIn(data: PlainData): SessionReplay {
  const replay = plainIn(data, replayOf);
  filterIn(replay.filter);
  return replay;
}

function plainIn<T>(data: PlainData, of: (data: RecordData) => T): T {
  try {
    return of(data as RecordData);
  } catch (cause) {
    throw new CodecError('bad-value', cause instanceof Error ? cause.message : 'no plain data');
  }
}

function filterIn(data: PlainData): string {
  const filter = textIn(data);
  const isFilter = filter !== '' && Buffer.byteLength(filter) <= TEXT_BYTES_MAX;
  if (!isFilter) throw new CodecError('bad-value', 'a filter was expected');
  return filter;
}

function nameIn(data: PlainData | undefined): string {
  const name = textIn(data);
  if (name === '' || name.length > NAME_LENGTH_MAX) {
    throw new CodecError('bad-value', 'a token or the name of an incarnation was expected');
  }
  return name;
}

function userIn(data: PlainData | undefined): string | undefined {
  if (data === null) return undefined;
  const user = textIn(data);
  const fits = Buffer.byteLength(user) <= TEXT_BYTES_MAX;
  if (!fits) throw new CodecError('bad-value', 'the name of a user was expected');
  return user;
}

function secondsIn(data: PlainData | undefined): number {
  const seconds = countIn(data);
  if (seconds > NEVER_EXPIRES) throw new CodecError('bad-value', 'an expiry was expected');
  return seconds;
}
