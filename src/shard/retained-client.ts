/**
 * The queue of retained messages, from the main thread: what the broker asks of it, as requests to
 * shard 0. What is in it is read from the replica of this node; while there is none (it is being
 * opened anew, or waits for its state), from who leads.
 *
 * Holds nothing but the id of the queue.
 */

import { AdminError } from '../broker/ports.ts';
import type {
  OffsetRange,
  QueueDirectory,
  QueueId,
  RetainedPart,
  RetainedSource,
  StoredRetained,
} from '../broker/ports.ts';
import { DEFAULT_LIMITS, RETAINED_QUEUE } from '../machine/definitions.ts';
import type { PlacedDefinition } from '../machine/definitions.ts';
import { countIn } from './plain-fields.ts';
import type { PlainData } from './record-codec.ts';
import { type ShardRequest, decodeBody } from './requests.ts';
import {
  type KeptPart,
  RETAINED_RANGES_MAX,
  keptPartIn,
  storedPartIn,
} from './retained-requests.ts';
import type { ShardRequests } from './shard-requests.ts';
import type { Clock } from './stamp-clock.ts';
import { StoredMessageView } from './stored-message.ts';

/** The client of shard 0, as far as this needs it. */
export interface RetainedParts {
  readonly node: string;
  readonly queues: QueueDirectory;
  /** To who leads. */
  readonly requests: Pick<ShardRequests, 'make'>;
  /** Of the stream of this process; 0: it is not open. */
  readonly posting: { readonly boot: number };
}

export interface RetainedOwner {
  readonly client: {
    readonly isClosed: boolean;
    readonly admin: { declare(queue: PlacedDefinition): Promise<unknown> };
  };
  /** To this node's own shard. */
  readonly ownRequests: Pick<ShardRequests, 'make'>;
  readonly clock: Pick<Clock, 'wallMs'>;
}

const DEFINITION: PlacedDefinition = {
  name: RETAINED_QUEUE,
  type: 'classic',
  topics: [`$queue/${RETAINED_QUEUE}/#`],
  limits: DEFAULT_LIMITS,
};

export class RetainedClient implements RetainedSource {
  readonly #parts: RetainedParts;
  readonly #owner: RetainedOwner;

  constructor(parts: RetainedParts, owner: RetainedOwner) {
    this.#parts = parts;
    this.#owner = owner;
  }

  get isClosed(): boolean {
    return this.#owner.client.isClosed;
  }

  async open(): Promise<QueueId> {
    const { queues } = this.#parts;
    if (queues.named(RETAINED_QUEUE) === undefined) {
      await this.#owner.client.admin.declare(DEFINITION);
    }
    const queueId = queues.named(RETAINED_QUEUE)?.queueId;
    if (queueId !== undefined) return queueId;
    throw new AdminError('unavailable', 'the queue of retained messages is not known here yet');
  }

  async end(): Promise<number> {
    return countIn(decodeBody(await this.#parts.requests.make({ kind: 'end-retained' })));
  }

  async read(from: number, until: number): Promise<RetainedPart> {
    const { node, posting } = this.#parts;
    const part = storedPartIn(await this.#ask({ kind: 'read-retained', node, from, until }));
    const now = this.#owner.clock.wallMs();
    const messages = part.messages.map(({ offset, stored }) => retainedOf(offset, stored, now));
    const ownUpTo = part.boot === posting.boot ? part.number : 0;
    return { from, next: part.next, messages, ownUpTo, leads: part.leads };
  }

  async kept(from: number, to: number): Promise<KeptPart> {
    return keptPartIn(await this.#ask({ kind: 'kept-retained', from, to }));
  }

  async settle(ranges: readonly OffsetRange[]): Promise<void> {
    for (let at = 0; at < ranges.length; at += RETAINED_RANGES_MAX) {
      const some = ranges.slice(at, at + RETAINED_RANGES_MAX);
      await this.#owner.ownRequests.make({ kind: 'settle-retained', ranges: some });
    }
  }

  async #ask(request: ShardRequest): Promise<PlainData> {
    const { requests } = this.#parts;
    const { ownRequests } = this.#owner;
    try {
      return decodeBody(await ownRequests.make(request));
    } catch (error) {
      const isAway = error instanceof AdminError && error.code === 'unavailable';
      if (!isAway || this.isClosed || requests === ownRequests) throw error;
    }
    return decodeBody(await requests.make(request));
  }
}

function retainedOf(offset: number, stored: Uint8Array, nowMs: number): StoredRetained {
  const view = new StoredMessageView(stored, 0, stored.length);
  const { topic, payload, qos, retain, properties, origin, publishedAtMs } = view;
  const message = { topic, payload, qos, retain, properties };
  return { offset, message, origin, ageMs: Math.max(0, nowMs - publishedAtMs) };
}
