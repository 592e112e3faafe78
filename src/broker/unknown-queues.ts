/**
 * Queues that this node does not know: they may be there all the same, where other nodes make some,
 * and are looked for; and they may be made on their first use (`queues.auto_create`).
 *
 * ```
 *   hold ---> held ----(looked for, made)---> released: routed anew, or refused
 *               ^                 |
 *             later  <-- came while it was looked for: what was answered proves nothing to them
 * ```
 *
 * Publishes to one name keep their order: when a queue shows up that takes some of them, they go
 * before the next publish is routed. Nothing of it is on the way of a publish to a queue that is
 * known. What waits is copied and bounded in bytes; a crash loses it, and nobody was told
 * otherwise.
 */

import { keptBytes, type Message, ownedMessage } from './message.ts';
import {
  AdminError,
  type Committed,
  type EnqueueRefusal,
  type EnqueueWaiter,
  type GonePublish,
  type MakeRefusal,
  type Origin,
  type Publisher,
  type QueueDefinition,
  type QueueInfo,
} from './ports.ts';
import { QUEUE_PREFIX, parseQueueTopic } from './queue-topic.ts';

/** Of all publishes that wait; above it they are refused. */
const MAX_HELD_BYTES = 16 * 1024 * 1024;
/** Above the half of it publishers are asked to stop, below a quarter to go on. */
const HIGH_WATER_BYTES = MAX_HELD_BYTES / 2;
const LOW_WATER_BYTES = MAX_HELD_BYTES / 4;

export interface HeldPublish {
  readonly message: Message;
  readonly publisher: Publisher;
  readonly tag: number | undefined;
  /** The queue that is known under its name is gone: whoever shows it is behind. */
  readonly isGone?: boolean;
}

/** Of a publish whose queue was gone: once more is enough. */
class AgainWaiter implements EnqueueWaiter {
  readonly #waiter: EnqueueWaiter;

  constructor(waiter: EnqueueWaiter) {
    this.#waiter = waiter;
  }

  enqueued(tag: number, outcome: Committed | EnqueueRefusal): void {
    this.#waiter.enqueued(tag, outcome);
  }
}

export interface UnknownQueuesParts {
  /** As that of the client of the queues; undefined: what `queue` says is the newest state. */
  readonly lookUp: ((name: string) => Promise<boolean>) | undefined;
  readonly definitionOf: (name: string) => QueueDefinition | undefined;
  /** Whether one is made for him. */
  readonly mayDeclare: (origin: Origin, name: string) => boolean;
  /** With so many queues, none is made. */
  readonly maxQueues: number;
  readonly queueCount: () => number;
  readonly queue: (name: string) => QueueInfo | undefined;
  readonly declare: (definition: QueueDefinition) => Promise<unknown>;
  /** The routes are to be those of the newest state. */
  readonly refresh: () => void;
  /** The queue of this topic is known, or another one than the catch-all takes it. */
  readonly isTaken: (topic: string) => boolean;
  /** The publish goes on, or is refused. Tells nobody during the call but of a refusal. */
  readonly release: (held: HeldPublish, refusal: EnqueueRefusal | undefined) => void;
  /** `hasRoom` is true again. */
  readonly roomAgain: () => void;
}

interface Search {
  readonly name: string;
  held: HeldPublish[];
  later: HeldPublish[];
  /** Nobody was asked yet, or the queue is being made: who comes now is held with the others. */
  isOpen: boolean;
}

export class UnknownQueues {
  readonly #parts: UnknownQueuesParts;
  readonly #searches = new Map<string, Search>();
  readonly #making = new Map<string, Promise<QueueInfo | MakeRefusal>>();
  #heldBytes = 0;
  #hasRoom = true;

  constructor(parts: UnknownQueuesParts) {
    this.#parts = parts;
  }

  /** False: so much waits that publishers to queues are to stop until `roomAgain`. */
  get hasRoom(): boolean {
    return this.#hasRoom;
  }

  /**
   * A publish whose route names a queue that is not known. `waiting`: it is kept until that is
   * found or made. Undefined: there is none, and none can be made.
   */
  hold(
    name: string,
    message: Message,
    from: { readonly publisher: Publisher; readonly tag: number | undefined },
  ): 'waiting' | MakeRefusal | 'not-authorized' | undefined {
    const known = this.#searches.get(name);
    if (known === undefined && this.#parts.lookUp === undefined) {
      if (this.#definitionOf(name) === undefined) return undefined;
      if (!this.#parts.mayDeclare(from.publisher.origin, name)) return 'not-authorized';
      if (this.#isFull) return 'too-many-queues';
    }
    // The publisher's key is that of the publish in hand: it must not change while this one waits.
    const publisher = { ...from.publisher };
    return this.#keep(name, { message, publisher, tag: from.tag }) ? 'waiting' : 'unavailable';
  }

  /** A publish to a queue that was deleted, and may have been made anew; false: nothing is done. */
  holdGone({ message, origin, waiter, tag, key }: GonePublish): boolean {
    const { topic } = message;
    const name = topic.startsWith(QUEUE_PREFIX) ? parseQueueTopic(topic)?.name : undefined;
    if (name === undefined || waiter instanceof AgainWaiter) return false;
    const again = new AgainWaiter(waiter);
    const publisher = { origin, subscriber: undefined, waiter: again, key };
    return this.#keep(name, { message, publisher, tag, isGone: true });
  }

  /** False: too much is kept. */
  #keep(name: string, publish: HeldPublish): boolean {
    const bytes = keptBytes(publish.message);
    if (this.#heldBytes + bytes > MAX_HELD_BYTES) return false;
    this.#heldBytes += bytes;
    if (this.#heldBytes > HIGH_WATER_BYTES) this.#hasRoom = false;
    const held = { ...publish, message: ownedMessage(publish.message) };
    const search = this.#searches.get(name);
    if (search === undefined) this.#begin(name, held);
    else if (search.isOpen) search.held.push(held);
    else search.later.push(held);
    return true;
  }

  /** The queues have changed: those that a queue takes now go, before anybody overtakes them. */
  changed(): void {
    for (const search of this.#searches.values()) {
      search.held = this.#goOn(search.held);
      search.later = this.#goOn(search.later);
    }
  }

  /** Undefined: there is nobody to ask. Never rejects. */
  find(name: string): Promise<QueueInfo | 'unavailable' | undefined> | undefined {
    const asked = this.#parts.lookUp?.(name);
    return asked?.then((isKnown) => (isKnown ? this.#parts.queue(name) : 'unavailable'));
  }

  /** Undefined: there is nobody to ask, and none can be made. Never rejects. */
  make(name: string): Promise<QueueInfo | MakeRefusal | undefined> | undefined {
    const found = this.find(name);
    if (found === undefined) return this.#make(name);
    return found.then((queue) => queue ?? this.#make(name));
  }

  #begin(name: string, first: HeldPublish): void {
    const isOpen = this.#parts.lookUp !== undefined;
    const search: Search = { name, held: [first], later: [], isOpen };
    this.#searches.set(name, search);
    void this.#search(search);
  }

  async #search(search: Search): Promise<void> {
    // All of this turn are asked for together.
    if (search.isOpen) await turn();
    while (search.held.length > 0) {
      search.isOpen = false;
      const refusal = await this.#ask(search);
      this.#parts.refresh();
      const { held, later } = search;
      search.held = later;
      search.later = [];
      for (const each of held) this.#let(each, refusal);
    }
    this.#searches.delete(search.name);
  }

  /** Why those that are held cannot go on. */
  async #ask(search: Search): Promise<EnqueueRefusal | undefined> {
    const { name } = search;
    const asked = this.find(name);
    const found = asked === undefined ? undefined : await asked;
    if (found !== undefined) return typeof found === 'string' ? found : undefined;
    if (this.#definitionOf(name) === undefined) return undefined;
    const { mayDeclare } = this.#parts;
    if (!search.held.some(({ publisher }) => mayDeclare(publisher.origin, name))) {
      return 'not-authorized';
    }
    const made = this.#make(name);
    if (made === undefined) return undefined;
    // Nobody has heard that it is made: it is there for everyone who comes until then.
    search.isOpen = true;
    search.held.push(...search.later.splice(0));
    const queue = await made;
    return typeof queue === 'string' ? queue : undefined;
  }

  /** One declaration for each name; undefined: it is none that a queue may have. */
  #make(name: string): Promise<QueueInfo | MakeRefusal> | undefined {
    const making = this.#making.get(name);
    if (making !== undefined) return making;
    const definition = this.#parts.definitionOf(name);
    if (definition === undefined) return undefined;
    if (this.#isFull) return Promise.resolve('too-many-queues');
    const made = this.#declare(definition);
    this.#making.set(name, made);
    return made;
  }

  async #declare(definition: QueueDefinition): Promise<QueueInfo | MakeRefusal> {
    const { name } = definition;
    let refusal: MakeRefusal = 'unavailable';
    try {
      await this.#parts.declare(definition);
    } catch (error) {
      if (!(error instanceof AdminError)) throw error;
      if (error.code === 'invalid') refusal = 'no-queue';
      // Somebody else declared it meanwhile, in another way; it takes messages too.
      if (error.code === 'exists') await this.#parts.lookUp?.(name);
    } finally {
      this.#making.delete(name);
    }
    return this.#parts.queue(name) ?? refusal;
  }

  /** A queue of the broker's own (`$dlq/...`) is not made by its name. */
  #definitionOf(name: string): QueueDefinition | undefined {
    return name.startsWith('$') ? undefined : this.#parts.definitionOf(name);
  }

  get #isFull(): boolean {
    return this.#parts.queueCount() + this.#making.size >= this.#parts.maxQueues;
  }

  /** Those that no queue takes yet. */
  #goOn(held: HeldPublish[]): HeldPublish[] {
    if (held.length === 0) return held;
    return held.filter((each) => {
      const isTaken = each.isGone !== true && this.#parts.isTaken(each.message.topic);
      if (isTaken) this.#let(each, undefined);
      return !isTaken;
    });
  }

  #let(held: HeldPublish, refusal: EnqueueRefusal | undefined): void {
    this.#heldBytes -= keptBytes(held.message);
    this.#parts.release(held, refusal);
    if (this.#hasRoom || this.#heldBytes > LOW_WATER_BYTES) return;
    this.#hasRoom = true;
    this.#parts.roomAgain();
  }
}

function turn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
