/**
 * Queues that are made on their first use (`queues.auto_create`): one declaration for each name,
 * and the publishes to it that wait meanwhile, in their order.
 *
 * Nothing of it is on the way of a publish to a queue that exists. What waits is copied and bounded
 * in bytes; a crash loses it, and nobody was told otherwise. A publish to a name that is being made
 * waits behind the others also when the queue shows up before the declaration is answered.
 */

import { keptBytes, type Message, ownedMessage } from './message.ts';
import {
  AdminError,
  type MakeRefusal,
  type Publisher,
  type QueueDefinition,
  type QueueInfo,
} from './ports.ts';
import { parseQueueTopic } from './queue-topic.ts';

/** Of all publishes that wait for a queue to be made; above it they are refused. */
const MAX_HELD_BYTES = 16 * 1024 * 1024;

export interface HeldPublish {
  readonly message: Message;
  readonly publisher: Publisher;
  readonly tag: number | undefined;
}

export interface AutoQueuesParts {
  readonly definitionOf: (name: string) => QueueDefinition | undefined;
  /** With so many queues, none is made. */
  readonly maxQueues: number;
  readonly queueCount: () => number;
  readonly queue: (name: string) => QueueInfo | undefined;
  readonly declare: (definition: QueueDefinition) => Promise<unknown>;
  /** The queue is there, or there is none: the publish goes on. */
  readonly release: (held: HeldPublish, refusal: DeclareRefusal | undefined) => void;
}

type DeclareRefusal = Exclude<MakeRefusal, 'too-many-queues'>;

interface Making {
  readonly done: Promise<QueueInfo | MakeRefusal>;
  readonly held: HeldPublish[];
}

export class AutoQueues {
  readonly #parts: AutoQueuesParts;
  readonly #making = new Map<string, Making>();
  #heldBytes = 0;

  constructor(parts: AutoQueuesParts) {
    this.#parts = parts;
  }

  /** Some queue is being made: a publish to it must not overtake those that wait. */
  get busy(): boolean {
    return this.#making.size > 0;
  }

  /**
   * A publish that no queue takes (`missing` is the name in its topic), or any while `busy`.
   * `waiting`: it is kept until its queue is there. Undefined: it has no business here.
   */
  hold(
    missing: string | undefined,
    message: Message,
    from: { readonly publisher: Publisher; readonly tag: number | undefined },
  ): 'waiting' | MakeRefusal | undefined {
    const name = missing ?? parseQueueTopic(message.topic)?.name ?? '';
    if (missing !== undefined && !this.#making.has(name)) {
      if (this.#isFull) return 'too-many-queues';
      if (this.make(name) === undefined) return undefined;
    }
    const making = this.#making.get(name);
    if (making === undefined) return undefined;
    const bytes = keptBytes(message);
    if (this.#heldBytes + bytes > MAX_HELD_BYTES) return 'unavailable';
    this.#heldBytes += bytes;
    // The publisher's key is that of the publish in hand: it must not change while this one waits.
    const publisher = { ...from.publisher };
    making.held.push({ message: ownedMessage(message), publisher, tag: from.tag });
    return 'waiting';
  }

  /** Undefined: the name is none that a queue may have. Never rejects. */
  make(name: string): Promise<QueueInfo | MakeRefusal> | undefined {
    const making = this.#making.get(name);
    if (making !== undefined) return making.done;
    const definition = this.#parts.definitionOf(name);
    if (definition === undefined) return undefined;
    if (this.#isFull) return Promise.resolve('too-many-queues');
    const held: HeldPublish[] = [];
    const done = this.#declare(definition, held);
    this.#making.set(name, { done, held });
    return done;
  }

  get #isFull(): boolean {
    return this.#parts.queueCount() + this.#making.size >= this.#parts.maxQueues;
  }

  async #declare(
    definition: QueueDefinition,
    held: readonly HeldPublish[],
  ): Promise<QueueInfo | MakeRefusal> {
    let refusal: DeclareRefusal = 'unavailable';
    try {
      await this.#parts.declare(definition);
    } catch (error) {
      if (!(error instanceof AdminError)) throw error;
      if (error.code === 'invalid') refusal = 'no-queue';
    }
    // `exists`: somebody else declared it meanwhile, in another way; it takes messages too.
    const queue = this.#parts.queue(definition.name);
    this.#making.delete(definition.name);
    for (const each of held) {
      this.#heldBytes -= keptBytes(each.message);
      this.#parts.release(each, queue === undefined ? refusal : undefined);
    }
    return queue ?? refusal;
  }
}
