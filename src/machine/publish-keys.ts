/**
 * The keys of QoS 2 publishes: (session incarnation, packetId), from the enqueue to its release.
 *
 * A key is stored with the message. A publish whose key is there already is a retry: it is
 * accepted, and nothing is stored again. The release takes the key away, because the packet id may
 * be used again then; the end of the session takes all of them. Each command tells the epoch of the
 * session's owner: the highest is kept until the session ends, and a lower one, an owner from
 * before a takeover, is refused.
 *
 * One record a session, at most 8 KiB (65,536 packet ids, a bit each). At most
 * `MAX_KEYED_SESSIONS` sessions: a new one is refused then, a known one goes on.
 *
 * A publish with too many queues for one command comes in parts, in ascending order of the queues.
 * Until the last one is stored the key is *begun*: the highest queue stands beside it up to which
 * all is stored. Whatever comes with that key stores nothing up to there, whole or in parts, and
 * with the same queues or others; and a part behind one that was refused stores nothing at all.
 *
 * Which members of shares a publish is given to stands beside its key, whether that is there yet or
 * not (`share-choices.ts`).
 */

import { assert } from './assert.ts';
import type { PublishKey } from './command.ts';
import { type RecordData, type RecordKey, bytesOf, countOf, listOf } from './record-data.ts';
import type { RecordContent, RecordTable } from './record-table.ts';
import { RecordsOfKind, wordName } from './records-of-kind.ts';
import { type Choosing, type Chosen, KeptChoices } from './share-choices.ts';

const MAX_KEYED_SESSIONS = 1_000_000;
const PACKET_IDS = 65_536;
/** Choices that count about as much as a small record. */
const CHOICES_OF_WEIGHT = 100;
/** Packet ids whose bits lie in one part; only parts with a bit are there. */
const PART = 256;

export type KeyAnswer = 'new' | 'known' | 'stale-owner' | 'too-many';

class SessionKeys implements RecordContent {
  readonly weight: number;
  /** False: nothing was ever heard of the session, or it has ended. */
  isKnown = false;
  ownerEpoch = 0;
  readonly #parts = new Map<number, Uint8Array>();
  /** By packet id: the queue up to which a publish in parts is stored. */
  readonly #begun = new Map<number, number>();
  readonly choices: KeptChoices;

  constructor(choices = new KeptChoices()) {
    this.weight = 2 + Math.ceil(choices.units / CHOICES_OF_WEIGHT);
    this.choices = choices;
  }

  static fromData(data: RecordData): SessionKeys {
    const [format, ownerEpoch, ...rest] = listOf(data);
    assert(format === 1 || format === 2 || format === 3, 'publish-keys: unknown format');
    const keys = new SessionKeys(format === 3 ? KeptChoices.fromData(rest[1]) : undefined);
    keys.isKnown = true;
    keys.ownerEpoch = countOf(ownerEpoch);
    const begun = format === 1 ? [] : listOf(rest[0]).map(countOf);
    for (let i = 0; i < begun.length; i += 2) {
      keys.#begun.set(begun[i] as number, begun[i + 1] as number);
    }
    const parts = rest.slice(format - 1);
    for (let i = 0; i < parts.length; i += 2) {
      const bits = bytesOf(parts[i + 1]);
      assert(bits.length === PART / 8, 'publish-keys: a wrong length');
      keys.#parts.set(countOf(parts[i]), bits.slice());
    }
    return keys;
  }

  has(packetId: number): boolean {
    const bits = this.#parts.get(Math.floor(packetId / PART));
    return (
      bits !== undefined && (((bits[byteOf(packetId)] as number) >>> (packetId & 7)) & 1) === 1
    );
  }

  /** The queue up to which the publish is stored; 0: nothing is, or all of it. */
  through(packetId: number): number {
    return this.#begun.get(packetId) ?? 0;
  }

  begin(packetId: number, through: number): void {
    this.#begun.set(packetId, Math.max(through, this.through(packetId)));
  }

  add(packetId: number): void {
    this.#begun.delete(packetId);
    const part = Math.floor(packetId / PART);
    const bits = this.#parts.get(part) ?? new Uint8Array(PART / 8);
    this.#parts.set(part, bits);
    const byte = byteOf(packetId);
    bits[byte] = (bits[byte] as number) | (1 << (packetId & 7));
  }

  delete(packetId: number): void {
    this.choices.delete(packetId);
    this.#begun.delete(packetId);
    const part = Math.floor(packetId / PART);
    const bits = this.#parts.get(part);
    if (bits === undefined) return;
    const byte = byteOf(packetId);
    bits[byte] = (bits[byte] as number) & ~(1 << (packetId & 7));
    if (bits.every((each) => each === 0)) this.#parts.delete(part);
  }

  forget(): void {
    this.isKnown = false;
    this.ownerEpoch = 0;
    this.#parts.clear();
    this.#begun.clear();
    this.choices.clear();
  }

  toData(): RecordData | undefined {
    if (!this.isKnown) return undefined;
    const sorted = [...this.#parts].sort(([a], [b]) => a - b);
    const parts = sorted.flatMap(([part, bits]) => [part, bits.slice()]);
    const begun = [...this.#begun].sort(([a], [b]) => a - b).flat();
    if (!this.choices.isEmpty) {
      return [3, this.ownerEpoch, begun, this.choices.toData(), ...parts];
    }
    if (begun.length === 0) return [1, this.ownerEpoch, ...parts];
    return [2, this.ownerEpoch, begun, ...parts];
  }
}

class SessionsHead implements RecordContent {
  count = 0;

  static fromData(data: RecordData): SessionsHead {
    const [format, count] = listOf(data);
    assert(format === 1, 'publish-keys: unknown format');
    const head = new SessionsHead();
    head.count = countOf(count);
    return head;
  }

  toData(): RecordData | undefined {
    return this.count === 0 ? undefined : [1, this.count];
  }
}

/** There is one head. */
const HEAD = 'all';

export class PublishKeys {
  readonly #heads: RecordsOfKind<SessionsHead, string>;
  readonly #sessions: RecordsOfKind<SessionKeys, string>;
  readonly #maxSessions: number;

  constructor(table: RecordTable, maxSessions = MAX_KEYED_SESSIONS) {
    this.#maxSessions = maxSessions;
    this.#heads = new RecordsOfKind<SessionsHead, string>(table, {
      prefix: 'sessions',
      nameOf: wordName,
      fromData: (data) => SessionsHead.fromData(data),
      fresh: () => new SessionsHead(),
    });
    this.#sessions = new RecordsOfKind<SessionKeys, string>(table, {
      prefix: 'session',
      nameOf: wordName,
      fromData: (data) => SessionKeys.fromData(data),
      fresh: () => new SessionKeys(),
    });
  }

  load(kind: 'sessions' | 'session', rest: string, data: RecordData | undefined): void {
    if (kind === 'sessions') this.#heads.load(rest, data);
    else this.#sessions.load(rest, data);
  }

  /** What everything below needs. */
  needs(session: string, keys: RecordKey[]): void {
    this.#heads.need(HEAD, keys);
    this.#sessions.need(session, keys);
  }

  /** What becomes of a publish with this key; changes nothing. */
  check({ session, ownerEpoch, packetId }: PublishKey): KeyAnswer {
    assert(packetId >= 0 && packetId < PACKET_IDS, 'publish-keys: no such packet id');
    const keys = this.#sessions.get(session);
    if (!keys.isKnown) return this.#heads.get(HEAD).count < this.#maxSessions ? 'new' : 'too-many';
    if (ownerEpoch < keys.ownerEpoch) return 'stale-owner';
    return keys.has(packetId) ? 'known' : 'new';
  }

  /** Of a publish whose answer was `new`: the queue up to which it is stored already; 0: none. */
  storedThrough({ session, packetId }: PublishKey): number {
    return this.#sessions.get(session).through(packetId);
  }

  /** The publish, or this part of it and those before, is stored, or was before. */
  take(key: PublishKey): void {
    const { packetId, part } = key;
    const keys = this.#heard(key);
    if (part === undefined || part.through === 0) keys.add(packetId);
    else keys.begin(packetId, part.through);
  }

  /**
   * Of a publish whose answer was `new` or `known`: to which members of shares it goes. One that is
   * stored goes to those of before alone. Undefined: there is no room for them.
   */
  choose(key: PublishKey, choosing: Choosing): Chosen | undefined {
    const { session, packetId } = key;
    const keys = this.#sessions.get(session);
    const isOver = keys.has(packetId) && !keys.choices.has(packetId);
    if (isOver && !choosing.isInstead) return { isNew: false, choices: [] };
    return this.#heard(key).choices.choose(packetId, choosing);
  }

  /** Its session is known from now on, and older owners are refused. */
  #heard({ session, ownerEpoch }: PublishKey): SessionKeys {
    const keys = this.#sessions.change(session);
    if (!keys.isKnown) {
      keys.isKnown = true;
      this.#heads.change(HEAD).count += 1;
    }
    keys.ownerEpoch = Math.max(keys.ownerEpoch, ownerEpoch);
    return keys;
  }

  /** The publish is finished, maybe since long; false: a later owner has been here. */
  release({ session, ownerEpoch, packetId }: PublishKey): boolean {
    const { isKnown, ownerEpoch: highest } = this.#sessions.get(session);
    if (!isKnown) return true;
    if (ownerEpoch < highest) return false;
    const keys = this.#sessions.change(session);
    keys.ownerEpoch = ownerEpoch;
    keys.delete(packetId);
    return true;
  }

  /** The session has ended. */
  end(session: string): void {
    if (!this.#sessions.get(session).isKnown) return;
    this.#sessions.change(session).forget();
    this.#heads.change(HEAD).count -= 1;
  }

  get count(): number {
    return this.#heads.get(HEAD).count;
  }
}

function byteOf(packetId: number): number {
  return (packetId % PART) >>> 3;
}
