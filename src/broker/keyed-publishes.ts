/**
 * QoS 2 publishes of durable sessions that need a word of the log before anybody hears of them, so
 * that a retry is known, on whichever node it comes (MQTT 5.0 section 4.3.3):
 *
 *     that no queue takes       the shard of the publisher's session has the key
 *     to shares with durable    the same shard has which member of each gets it: a retry goes to
 *     members                   those, under its key, and to nobody else
 *
 * Then each goes on, in the order in which it came. A member whose session has ended before it was
 * stored there gives its place to another one, which the log is told first. Where a retry finds
 * that a share has no member in the log, its message was delivered to a clean session, and is not
 * given to anybody again.
 *
 * Bounded by those who publish: no more of one connection wait than it may have unanswered.
 */

import { type Message, ownedMessage } from './message.ts';
import {
  type Acknowledgeable,
  type Chosen,
  type Publisher,
  type PublishKey,
  type PublishOutcome,
  type PublishRefusal,
  type PublishWaiter,
  SessionError,
  type SessionHandle,
  type SessionStore,
  type QueueId,
  type ShareChoice,
  type Subscriber,
  type Unlogged,
} from './ports.ts';
import type { Member } from './shares.ts';

/** Members that end while one publish looks for one that does not. */
const INSTEAD_MAX = 8;

/** Behind the keys of shares, which have 48 bits. */
const INSTEAD = 2 ** 48;

/**
 * What the log is told of a member that takes the place of one that is gone: that it is such a one,
 * too. What it is given goes without the key of the publish, which a shard may have since a first
 * attempt, for other queues.
 */
export function insteadOf({ share, queueId }: ShareChoice): ShareChoice[] {
  return [
    { share, queueId },
    { share: share + INSTEAD, queueId },
  ];
}

export function isInstead(choices: readonly ShareChoice[], share: number): boolean {
  return choices.some((each) => each.share === share + INSTEAD);
}

/** Who gets a message of each share that has durable members. */
export interface Picked {
  /** Those to whom it is delivered at once, by the filter of the share as it was subscribed. */
  readonly live: ReadonlyMap<string, Member>;
  /** The others. */
  readonly choices: readonly ShareChoice[];
  /** Of these, who is connected here. */
  readonly connected: ReadonlyMap<QueueId, Subscriber>;
}

/** A publish whose members are in the log. */
export interface ChosenPublish {
  /** It owns its bytes. */
  readonly message: Message;
  /** Without a key. */
  readonly publisher: Publisher;
  readonly tag: number;
  readonly key: PublishKey;
  readonly handle: SessionHandle;
  readonly picked: Picked;
  readonly chosen: Chosen;
}

export interface KeyedPublishesParts {
  readonly sessions: () => SessionStore;
  /** To live subscribers, and to a queue that takes it by now. */
  readonly publish: (message: Message, publisher: Publisher, tag: number) => PublishOutcome;
  readonly publishChosen: (publish: ChosenPublish) => PublishOutcome;
  /** Others in place of members that are gone, where there are any. */
  readonly instead: (topic: string, choices: readonly ShareChoice[]) => readonly ShareChoice[];
  readonly release: (key: PublishKey, waiter: PublishWaiter, tag: number) => void;
  /** What a publish is told that was done before. */
  readonly known: Unlogged;
}

type Outcome = Acknowledgeable | PublishRefusal;
type Found = 'new' | 'known' | Chosen | PublishRefusal;

interface Waiting {
  /** It owns its bytes. */
  readonly message: Message;
  readonly publisher: Publisher;
  readonly key: PublishKey;
  readonly tag: number;
  readonly handle: SessionHandle;
  /** Undefined: it meets no share with durable members. */
  readonly picked: Picked | undefined;
  found: Found | undefined;
}

export class KeyedPublishes {
  readonly #parts: KeyedPublishesParts;
  /** By session; oldest first. */
  readonly #waiting = new Map<string, Waiting[]>();

  constructor(parts: KeyedPublishesParts) {
    this.#parts = parts;
  }

  /**
   * `pick` is called if it is taken; undefined: it meets no share. False: its publisher has no
   * session with a queue, so that nobody could keep its key.
   */
  take(
    message: Message,
    { key, subscriber, origin, waiter }: Publisher,
    { tag, pick }: { readonly tag: number; readonly pick: (() => Picked) | undefined },
  ): boolean {
    const queueId = subscriber?.queueId;
    if (key === undefined || queueId === undefined) return false;
    const { ownerEpoch, session: incarnation } = key;
    const handle = { clientId: origin.clientId, queueId, ownerEpoch, incarnation };
    // The object of a publisher says something else with each publish.
    const publisher = { origin, subscriber, waiter, key: undefined };
    const picked = pick?.();
    const own = { message: ownedMessage(message), publisher, key, tag };
    const held = { ...own, handle, picked, found: undefined };
    const before = this.#waiting.get(incarnation);
    if (before === undefined) this.#waiting.set(incarnation, [held]);
    else before.push(held);
    void this.#keep(held);
    return true;
  }

  async #keep(held: Waiting): Promise<void> {
    const { handle, key, picked } = held;
    const asked =
      picked === undefined
        ? this.#parts.sessions().receive(handle, key.packetId)
        : this.#choose(held, picked);
    held.found = await asked.catch(refusalOf);
    const waiting = this.#waiting.get(handle.incarnation) ?? [];
    for (let first = waiting[0]; first?.found !== undefined; first = waiting[0]) {
      waiting.shift();
      this.#goOn(first, first.found);
    }
    if (waiting.length === 0) this.#waiting.delete(handle.incarnation);
  }

  async #choose({ message, handle, key }: Waiting, { choices }: Picked): Promise<Chosen> {
    const sessions = this.#parts.sessions();
    const { packetId } = key;
    let chosen = await sessions.choose(handle, { packetId, choices, isInstead: false });
    for (let left = INSTEAD_MAX; left > 0; left--) {
      const others = this.#parts.instead(message.topic, chosen.choices);
      if (others.length === 0) break;
      const now = await sessions.choose(handle, {
        packetId,
        choices: others.flatMap(insteadOf),
        isInstead: true,
      });
      chosen = { isNew: chosen.isNew, choices: now.choices };
    }
    return chosen;
  }

  #goOn(held: Waiting, found: Found): void {
    const { known } = this.#parts;
    const { message, publisher, tag, key, handle, picked } = held;
    if (typeof found === 'string' && found !== 'new') {
      publisher.waiter?.enqueued(tag, found === 'known' ? known : found);
      return;
    }
    const told = { enqueued: (_tag: number, late: Outcome): void => this.#told(held, late) };
    const own = { ...publisher, waiter: told };
    // Without its key: a queue of the same shard would take it for one that is stored.
    const outcome =
      found === 'new' || picked === undefined
        ? this.#parts.publish(message, own, tag)
        : this.#parts.publishChosen({
            message,
            publisher: own,
            tag,
            key,
            handle,
            picked,
            chosen: found,
          });
    if (outcome !== 'waiting') this.#told(held, outcome);
  }

  #told({ publisher: { waiter }, key, tag }: Waiting, outcome: Outcome): void {
    if (typeof outcome === 'number') {
      waiter?.enqueued(tag, outcome);
      return;
    }
    // Its PUBREC frees the packet id [MQTT-4.3.3-9], which means another message from then on.
    const released = (_tag: number, done: Outcome): void => {
      waiter?.enqueued(tag, typeof done === 'number' ? outcome : 'timeout');
    };
    this.#parts.release(key, { enqueued: released }, 0);
  }
}

function refusalOf(error: unknown): PublishRefusal {
  if (!(error instanceof SessionError)) throw error;
  // Whether the key is kept is not known.
  return error.code === 'stale-owner' ? 'stale-owner' : 'timeout';
}
