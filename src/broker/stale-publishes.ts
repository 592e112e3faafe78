/**
 * Publishes to ordinary topics that wait until the routes of this node are known to be current
 * (`QueueFreshness`): a durable session may have subscribed elsewhere, and this node was not told.
 *
 * ```
 *   publish ---(routes are current, nobody waits)-----------------------------> routed
 *      |                                                                          ^
 *      +---> held ---(every shard has answered a question that came after it)-----+
 *              |
 *              +---(timeoutMs)---> refused as `unavailable`: nothing of it was done
 * ```
 *
 * Only those that somebody waits for (QoS 1 and 2) begin to wait. While any do, all of them do, in
 * the order in which they came; so do a will and a retained message that nobody waits for, which
 * must not overtake what their publisher said before. Those are never refused: where there is no
 * room, or no answer, they go.
 *
 * What waits is copied and bounded in bytes; a crash loses it, and nobody was told otherwise.
 */

import type { BrokerCounters } from './broker-counters.ts';
import { keptBytes, type Message, ownedMessage } from './message.ts';
import type { Publisher, PublishOutcome } from './ports.ts';
import type { QueueFreshness } from './queue-freshness.ts';
import { QUEUE_PREFIX } from './queue-topic.ts';

/** Of all publishes that wait; above it they are refused. */
export const STALE_BYTES_MAX = 16 * 1024 * 1024;
/** Above the half of it publishers are asked to stop, below a quarter to go on. */
const HIGH_WATER_BYTES = STALE_BYTES_MAX / 2;
const LOW_WATER_BYTES = STALE_BYTES_MAX / 4;
/** Routed in one turn of the event loop, at about 2 us each. */
const TURN_MAX = 1_024;
/** While something waits, those whose time is over are looked for so often. */
const LOOK_MS = 50;

export interface StalePublishesParts {
  readonly freshness: QueueFreshness;
  /** Routed as if it came now. */
  readonly publish: (
    message: Message,
    publisher: Publisher,
    tag: number | undefined,
  ) => PublishOutcome;
  /** `hasRoom` is true again. */
  readonly roomAgain: () => void;
  readonly counters: Pick<BrokerCounters, 'held' | 'unrouted'>;
}

interface Held {
  /** It owns its bytes. */
  readonly message: Message;
  readonly publisher: Publisher;
  readonly tag: number | undefined;
  readonly cameMs: number;
  readonly bytes: number;
}

export class StalePublishes {
  readonly #parts: StalePublishesParts;
  /** Oldest first, from `#head` on. */
  #held: Held[] = [];
  #head = 0;
  #bytes = 0;
  #hasRoom = true;
  #timer: NodeJS.Timeout | undefined;
  #goesOn = false;

  constructor(parts: StalePublishesParts) {
    this.#parts = parts;
    parts.freshness.onAnswer(() => this.#goOn());
  }

  /** Publishes that wait. */
  get size(): number {
    return this.#held.length - this.#head;
  }

  /** False: so much waits that publishers are to stop until `roomAgain`. */
  get hasRoom(): boolean {
    return this.#hasRoom;
  }

  /** Undefined: it is to be routed now. `unavailable`: too much waits. */
  hold(
    message: Message,
    publisher: Publisher,
    tag: number | undefined,
  ): 'waiting' | 'unavailable' | undefined {
    const isFirst = this.size === 0;
    const isFree = tag === undefined && message.qos === 0 && !message.retain;
    if (isFree || (isFirst && tag === undefined)) return undefined;
    const { freshness } = this.#parts;
    // Read for each publish: the process may have been stopped since the one before.
    const cameMs = freshness.now();
    if (isFirst && freshness.covers(cameMs, cameMs)) return undefined;
    // There the name decides (`unknown-queues.ts`), and no session subscribes.
    if (message.topic.startsWith(QUEUE_PREFIX)) return undefined;
    const bytes = keptBytes(message);
    const { counters } = this.#parts;
    if (this.#bytes + bytes > STALE_BYTES_MAX) {
      if (tag === undefined) return undefined;
      counters.unrouted++;
      return 'unavailable';
    }
    counters.held++;
    this.#bytes += bytes;
    if (this.#bytes > HIGH_WATER_BYTES) this.#hasRoom = false;
    // The object of a publisher says something else with each publish.
    const own = { message: ownedMessage(message), publisher: { ...publisher } };
    this.#held.push({ ...own, tag, cameMs, bytes });
    this.#timer ??= setTimeout(() => this.#look(), LOOK_MS).unref();
    return 'waiting';
  }

  /** Everything that waits is refused. */
  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    while (this.size > 0) this.#refuse(this.#take());
  }

  /** Those that may be routed by now are, in their order. */
  #goOn(): void {
    const { freshness } = this.#parts;
    if (this.#goesOn || this.size === 0) return;
    for (let left = TURN_MAX; left > 0 && this.size > 0; left--) {
      const { cameMs } = this.#held[this.#head] as Held;
      if (!freshness.covers(cameMs, freshness.now())) return;
      this.#publish(this.#take());
    }
    if (this.size === 0) return;
    this.#goesOn = true;
    setImmediate(() => {
      this.#goesOn = false;
      this.#goOn();
    });
  }

  /** Time has passed: what could not be asked is asked again, and who waited long is refused. */
  #look(): void {
    this.#timer = undefined;
    this.#goOn();
    const { freshness } = this.#parts;
    const before = freshness.now() - freshness.timeoutMs;
    while (!this.#goesOn && this.size > 0 && (this.#held[this.#head] as Held).cameMs <= before) {
      this.#refuse(this.#take());
    }
    if (this.size > 0) this.#timer ??= setTimeout(() => this.#look(), LOOK_MS).unref();
  }

  #take(): Held {
    const held = this.#held[this.#head++] as Held;
    this.#bytes -= held.bytes;
    if (this.#head >= TURN_MAX || this.#head === this.#held.length) {
      this.#held.splice(0, this.#head);
      this.#head = 0;
    }
    return held;
  }

  #publish({ message, publisher, tag }: Held): void {
    const outcome = this.#parts.publish(message, publisher, tag);
    if (tag !== undefined && outcome !== 'waiting') publisher.waiter?.enqueued(tag, outcome);
    this.#checkRoom();
  }

  #refuse(held: Held): void {
    const { publisher, tag } = held;
    if (tag === undefined) {
      this.#publish(held);
    } else {
      this.#parts.counters.unrouted++;
      publisher.waiter?.enqueued(tag, 'unavailable');
    }
    this.#checkRoom();
  }

  #checkRoom(): void {
    if (this.#hasRoom || this.#bytes > LOW_WATER_BYTES) return;
    this.#hasRoom = true;
    this.#parts.roomAgain();
  }
}
