/**
 * QoS 2 publishes of durable sessions that no queue takes: the shard of the publisher's session has
 * the key of each before anybody hears of it, so that a retry is known, on whichever node it comes
 * (MQTT 5.0 section 4.3.3). Then it goes to its subscribers, in the order in which it came.
 *
 * Bounded by those who publish: no more of one connection wait than it may have unanswered.
 */

import { type Message, ownedMessage } from './message.ts';
import {
  type Acknowledgeable,
  type Publisher,
  type PublishKey,
  type PublishOutcome,
  type PublishRefusal,
  type PublishWaiter,
  SessionError,
  type SessionHandle,
  type SessionStore,
  type Unlogged,
} from './ports.ts';

export interface UnqueuedPublishesParts {
  readonly sessions: () => SessionStore;
  /** To live subscribers, and to a queue that takes it by now. */
  readonly publish: (message: Message, publisher: Publisher, tag: number) => PublishOutcome;
  readonly release: (key: PublishKey, waiter: PublishWaiter, tag: number) => void;
  /** What a publish is told that was done before. */
  readonly known: Unlogged;
}

type Outcome = Acknowledgeable | PublishRefusal;

interface Waiting {
  /** It owns its bytes. */
  readonly message: Message;
  readonly publisher: Publisher;
  readonly key: PublishKey;
  readonly tag: number;
  found: 'new' | 'known' | PublishRefusal | undefined;
}

export class UnqueuedPublishes {
  readonly #parts: UnqueuedPublishesParts;
  /** By session; oldest first. */
  readonly #waiting = new Map<string, Waiting[]>();

  constructor(parts: UnqueuedPublishesParts) {
    this.#parts = parts;
  }

  /** False: its publisher has no session with a queue, so that nobody could keep its key. */
  take(message: Message, { key, subscriber, origin, waiter }: Publisher, tag: number): boolean {
    const queueId = subscriber?.queueId;
    if (key === undefined || queueId === undefined) return false;
    const { ownerEpoch, session: incarnation } = key;
    const handle = { clientId: origin.clientId, queueId, ownerEpoch, incarnation };
    // The object of a publisher says something else with each publish.
    const publisher = { origin, subscriber, waiter, key: undefined };
    const held = { message: ownedMessage(message), publisher, key, tag, found: undefined };
    const before = this.#waiting.get(incarnation);
    if (before === undefined) this.#waiting.set(incarnation, [held]);
    else before.push(held);
    void this.#keep(handle, held);
    return true;
  }

  async #keep(handle: SessionHandle, held: Waiting): Promise<void> {
    const { sessions } = this.#parts;
    held.found = await sessions().receive(handle, held.key.packetId).catch(refusalOf);
    const waiting = this.#waiting.get(handle.incarnation) ?? [];
    for (let first = waiting[0]; first?.found !== undefined; first = waiting[0]) {
      waiting.shift();
      this.#goOn(first, first.found);
    }
    if (waiting.length === 0) this.#waiting.delete(handle.incarnation);
  }

  #goOn(held: Waiting, found: 'new' | 'known' | PublishRefusal): void {
    const { publish, known } = this.#parts;
    const { message, publisher, tag } = held;
    if (found !== 'new') {
      publisher.waiter?.enqueued(tag, found === 'known' ? known : found);
      return;
    }
    // Without its key: a queue of the same shard would take it for one that is stored.
    const waiter = { enqueued: (_tag: number, late: Outcome): void => this.#told(held, late) };
    const outcome = publish(message, { ...publisher, waiter }, tag);
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
