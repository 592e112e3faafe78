/**
 * The record of a durable session (of MQTT), beside its queue: who owns it, what it subscribes to,
 * which deliveries are halfway (QoS 2), and when it ends.
 *
 *   mqtt-session/<queueId>  [1, owner epoch, token, present, before, incarnation, expiry seconds,
 *                           ends at, check at, [subscription, ...],
 *                           [offset, ...], user, and 1 where it has a will]
 *   subscription            [filter, flags, identifier, wish], and run, next, end of its replay
 *
 * The owner epoch is raised by each claim and never goes back while the queue lives; 0: nobody has
 * claimed it yet, and there is no record. Bounded: `SESSION_SUBSCRIPTIONS_MAX` subscriptions,
 * `SESSION_UNITS_MAX` UTF-16 units of their filters and wishes, `SESSION_HALVES_MAX` offsets. A
 * session that nobody uses has nothing in memory: its record is loaded when a command needs it.
 */

import { assert } from './assert.ts';
import { type RecordData, countOf, listOf, stringOf } from './record-data.ts';
import type { RecordContent, RecordTable } from './record-table.ts';
import { RecordsOfKind, numberName } from './records-of-kind.ts';

const SESSION_SUBSCRIPTIONS_MAX = 10_000;
export const SESSION_UNITS_MAX = 65_536;
/** As many as there are packet ids. */
export const SESSION_HALVES_MAX = 65_535;
/** Of an expiry: it never ends by itself. */
export const NEVER_EXPIRES = 0xffff_ffff;
/** The end of a session that never ends. */
export const NEVER_ENDS = Number.MAX_SAFE_INTEGER;
const RETAIN_HANDLING_SHIFT = 4;
const ROUTED_FLAG = 64;
const SHARE = /^\$share\/[^/]+\/./su;
/** UTF-16 units that count about as much as a small record. */
const UNITS_OF_WEIGHT = 200;

/**
 * What a SUBSCRIBE still owes of the retained messages, by their offsets in the queue of those. It
 * moves in the command that stores one of them in the session's queue.
 */
export interface StoredReplay {
  /** Names the SUBSCRIBE; other than any before of the session. From 1. */
  readonly run: number;
  /** All below is done. */
  readonly next: number;
  /** What came at or behind it came as a live message; 0: not known yet. */
  readonly end: number;
}

/** A subscription with all that its client said; its key is the filter. */
export interface StoredSubscription {
  /** As the client wrote it, `$share/<name>/` included. 1 to 65,535 UTF-16 units. */
  readonly filter: string;
  readonly qos: 0 | 1 | 2;
  readonly noLocal: boolean;
  readonly retainAsPublished: boolean;
  readonly retainHandling: 0 | 1 | 2;
  /** MQTT subscription identifier; 0: none. To 268,435,455. */
  readonly identifier: number;
  /** What its client wants of a queue (`$queue/...`), in the frontend's words; '': nothing. */
  readonly wish: string;
  /** Of a share of ordinary topics: all nodes know the session as its member. At QoS 1 and 2. */
  readonly isRouted?: boolean | undefined;
  /** Absent: it owes nothing. */
  readonly replay?: StoredReplay | undefined;
}

/** Its lists are replaced, never changed. */
export class SessionRecord implements RecordContent {
  readonly weight: number;
  ownerEpoch = 0;
  /** Of the claim that was applied last: the same one again is answered as it was. */
  token = '';
  /** What that claim found: a session that had not ended. */
  wasPresent = false;
  /** The life of the session that this claim ended; '': none. */
  before = '';
  /** Names this life of the session, in publish keys too. */
  incarnation = '';
  expirySeconds = 0;
  /** A stamp; 0: somebody has it, and it does not end. */
  endsAt = 0;
  /** When the timer fires that counts; 0: there is none. */
  checkAt = 0;
  subscriptions: readonly StoredSubscription[] = [];
  /** Ascending. */
  halves: readonly number[] = [];
  /** Whose it is; '': nobody's. */
  user = '';
  /** There is a record of its will (`session-will.ts`). */
  hasWill = false;

  constructor(weight = 2) {
    this.weight = weight;
  }

  static fromData(data: RecordData): SessionRecord {
    const [format, epoch, token, present, before, incarnation, ...rest] = listOf(data);
    const [expiry, endsAt, checkAt, subscriptions, halves, user, will] = rest;
    assert(format === 1, 'mqtt-session: unknown format');
    const stored = listOf(subscriptions).map(subscriptionOf);
    const offsets = listOf(halves).map(countOf);
    const weight = 2 + Math.ceil((unitsOf(stored) + offsets.length * 2) / UNITS_OF_WEIGHT);
    const record = new SessionRecord(weight);
    record.ownerEpoch = countOf(epoch);
    record.token = stringOf(token);
    record.wasPresent = countOf(present) === 1;
    record.before = stringOf(before);
    record.incarnation = stringOf(incarnation);
    record.expirySeconds = countOf(expiry);
    record.endsAt = countOf(endsAt);
    record.checkAt = countOf(checkAt);
    record.subscriptions = stored;
    record.halves = offsets;
    record.user = stringOf(user);
    record.hasWill = will !== undefined && countOf(will) === 1;
    return record;
  }

  hasEnded(stamp: number): boolean {
    return this.endsAt !== 0 && this.endsAt <= stamp;
  }

  toData(): RecordData | undefined {
    if (this.ownerEpoch === 0) return undefined;
    return [
      1,
      this.ownerEpoch,
      this.token,
      this.wasPresent ? 1 : 0,
      this.before,
      this.incarnation,
      this.expirySeconds,
      this.endsAt,
      this.checkAt,
      this.subscriptions.map(subscriptionData),
      [...this.halves],
      this.user,
      ...(this.hasWill ? [1] : []),
    ];
  }
}

export type SessionRecords = RecordsOfKind<SessionRecord, number>;

export const SESSION_KIND = 'mqtt-session';

export function sessionRecords(table: RecordTable): SessionRecords {
  return new RecordsOfKind<SessionRecord, number>(table, {
    prefix: SESSION_KIND,
    nameOf: numberName,
    fromData: (data) => SessionRecord.fromData(data),
    fresh: () => new SessionRecord(),
  });
}

/** What the bound of filters and wishes counts. */
function unitsOf(subscriptions: readonly StoredSubscription[]): number {
  let units = 0;
  for (const { filter, wish } of subscriptions) units += filter.length + wish.length;
  return units;
}

/** May a session have so many, and so long ones? */
export function fitsSession(subscriptions: readonly StoredSubscription[]): boolean {
  if (subscriptions.length > SESSION_SUBSCRIPTIONS_MAX) return false;
  return unitsOf(subscriptions) <= SESSION_UNITS_MAX;
}

/** For records, commands and requests alike. */
export function subscriptionData(subscription: StoredSubscription): RecordData {
  const { filter, qos, noLocal, retainAsPublished, retainHandling, isRouted } = subscription;
  const { identifier, wish, replay } = subscription;
  const flags =
    qos |
    (noLocal ? 4 : 0) |
    (retainAsPublished ? 8 : 0) |
    (retainHandling << RETAIN_HANDLING_SHIFT) |
    (isRouted === true ? ROUTED_FLAG : 0);
  const data = [filter, flags, identifier, wish];
  return replay === undefined ? data : [...data, replay.run, replay.next, replay.end];
}

/** The opposite; what does not fit is an assertion. */
export function subscriptionOf(data: RecordData): StoredSubscription {
  const [filter, word, identifier, wish, run, next, end] = listOf(data);
  const flags = countOf(word);
  const qos = flags & 3;
  const retainHandling = (flags >>> RETAIN_HANDLING_SHIFT) & 3;
  const isKnown = flags < ROUTED_FLAG * 2 && qos <= 2 && retainHandling <= 2;
  assert(isKnown, 'mqtt-session: unknown flags of a subscription');
  const isRouted = (flags & ROUTED_FLAG) !== 0;
  const text = stringOf(filter);
  assert(!isRouted || (qos > 0 && SHARE.test(text)), 'mqtt-session: no share that is routed');
  return {
    filter: text,
    qos: qos as 0 | 1 | 2,
    noLocal: (flags & 4) !== 0,
    retainAsPublished: (flags & 8) !== 0,
    retainHandling: retainHandling as 0 | 1 | 2,
    identifier: countOf(identifier),
    wish: stringOf(wish),
    ...(isRouted && { isRouted }),
    ...(run !== undefined && {
      replay: { run: countOf(run), next: countOf(next), end: countOf(end) },
    }),
  };
}
