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
 */

import { assert } from './assert.ts';
import type { PublishKey } from './command.ts';
import { type RecordData, type RecordKey, bytesOf, countOf, listOf } from './record-data.ts';
import type { RecordContent, RecordTable } from './record-table.ts';
import { RecordsOfKind, wordName } from './records-of-kind.ts';

const MAX_KEYED_SESSIONS = 1_000_000;
const PACKET_IDS = 65_536;
/** Packet ids whose bits lie in one part; only parts with a bit are there. */
const PART = 256;

export type KeyAnswer = 'new' | 'known' | 'stale-owner' | 'too-many';

class SessionKeys implements RecordContent {
  readonly weight = 2;
  /** False: nothing was ever heard of the session, or it has ended. */
  isKnown = false;
  ownerEpoch = 0;
  readonly #parts = new Map<number, Uint8Array>();

  static fromData(data: RecordData): SessionKeys {
    const [format, ownerEpoch, ...parts] = listOf(data);
    assert(format === 1, 'publish-keys: unknown format');
    const keys = new SessionKeys();
    keys.isKnown = true;
    keys.ownerEpoch = countOf(ownerEpoch);
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

  add(packetId: number): void {
    const part = Math.floor(packetId / PART);
    const bits = this.#parts.get(part) ?? new Uint8Array(PART / 8);
    this.#parts.set(part, bits);
    const byte = byteOf(packetId);
    bits[byte] = (bits[byte] as number) | (1 << (packetId & 7));
  }

  delete(packetId: number): void {
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
  }

  toData(): RecordData | undefined {
    if (!this.isKnown) return undefined;
    const parts = [...this.#parts].sort(([a], [b]) => a - b);
    return [1, this.ownerEpoch, ...parts.flatMap(([part, bits]) => [part, bits.slice()])];
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

  /** The publish is stored, or was before. */
  take({ session, ownerEpoch, packetId }: PublishKey): void {
    const keys = this.#sessions.change(session);
    if (!keys.isKnown) {
      keys.isKnown = true;
      this.#heads.change(HEAD).count += 1;
    }
    keys.ownerEpoch = Math.max(keys.ownerEpoch, ownerEpoch);
    keys.add(packetId);
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
