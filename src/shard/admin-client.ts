/**
 * What operators do to queues, on the main thread: requests to the shard, and their answers put
 * together. Every promise rejects with an `AdminError`: the shard's own word, `unavailable` when it
 * is gone, and `invalid` for what cannot be asked at all. Holds nothing.
 */

import { AdminError } from '../broker/ports.ts';
import type {
  MoveWish,
  Offset,
  PeekedMessage,
  Position,
  QueueAdmin,
  QueueDetail,
  QueueSummary,
} from '../broker/ports.ts';
import { ownedMessage } from '../broker/message.ts';
import type { PlacedDefinition } from '../machine/definitions.ts';
import { type NewGroup, detailIn, listPartIn, peekPartIn } from './admin-requests.ts';
import { countIn } from './plain-fields.ts';
import type { PlainData } from './record-codec.ts';
import { type Declared, type ShardRequest, decodeBody, decodeDeclared } from './requests.ts';
import { ShardError } from './shard-error.ts';
import { StoredMessageView } from './stored-message.ts';
import type { ShardRequests } from './shard-requests.ts';

const PAGE_MAX = 1_000;

export class AdminClient implements QueueAdmin {
  readonly #requests: ShardRequests;

  constructor(requests: ShardRequests) {
    this.#requests = requests;
  }

  async list(after: string, max: number): Promise<readonly QueueSummary[]> {
    checkMax(max);
    const queues: QueueSummary[] = [];
    let behind = after;
    for (let more = true; more && queues.length < max;) {
      const request = { kind: 'list', after: behind, max: max - queues.length } as const;
      const part = listPartIn(await this.ask(request));
      queues.push(...part.queues);
      behind = part.queues.at(-1)?.definition.name ?? behind;
      more = part.more && part.queues.length > 0;
    }
    return queues;
  }

  async show(name: string): Promise<QueueDetail> {
    return detailIn(await this.ask({ kind: 'show', name }));
  }

  /** Rejects with the ShardError `elsewhere` where its name is to be placed anew. */
  async declare(definition: PlacedDefinition): Promise<Declared> {
    const [outcome] = decodeDeclared(await this.#make({ kind: 'declare', queues: [definition] }));
    return outcome ?? 'same';
  }

  /** `placed`: as `PlaceClient.where` told it; of a queue in shard 0 undefined. */
  async delete(name: string, placed?: number): Promise<void> {
    await this.ask({ kind: 'delete', name, placed });
  }

  async purge(name: string, group: string | undefined): Promise<number> {
    return countIn(await this.ask({ kind: 'purge', name, group }));
  }

  async peek(name: string, from: Offset, max: number): Promise<readonly PeekedMessage[]> {
    checkMax(max);
    checkCount(from, 'the offset');
    const messages: PeekedMessage[] = [];
    for (let next: Offset | undefined = from; next !== undefined && messages.length < max;) {
      const request: ShardRequest = { kind: 'peek', name, from: next, max: max - messages.length };
      const part = peekPartIn(await this.ask(request));
      for (const { offset, stored } of part.messages) messages.push(peeked(offset, stored));
      next = part.next;
    }
    return messages;
  }

  async move(wish: MoveWish): Promise<number> {
    checkCount(wish.max, 'the number of messages');
    return countIn(await this.ask({ kind: 'move', ...wish }));
  }

  async seek(name: string, group: string, position: Position): Promise<Offset> {
    if (position.kind === 'offset') checkCount(position.offset, 'the offset');
    if (position.kind === 'time') checkCount(position.ms, 'the time');
    return countIn(await this.ask({ kind: 'seek', name, group, position })) as Offset;
  }

  async deleteGroup(name: string, group: string): Promise<void> {
    await this.ask({ kind: 'delete-group', name, group });
  }

  /** Those that are missing. */
  async makeGroups(name: string, groups: readonly NewGroup[]): Promise<void> {
    await this.ask({ kind: 'make-groups', name, groups });
  }

  /** The body of the reply. */
  async ask(request: ShardRequest): Promise<PlainData> {
    return decodeBody(await this.#make(request));
  }

  async #make(request: ShardRequest): Promise<Uint8Array> {
    try {
      return await this.#requests.make(request);
    } catch (error) {
      if (error instanceof ShardError && error.code !== 'elsewhere')
        throw new AdminError('unavailable', error.message);
      throw error;
    }
  }
}

function peeked(offset: Offset, stored: Uint8Array): PeekedMessage {
  const view = new StoredMessageView(stored, 0, stored.length);
  const { origin, publishedAtMs } = view;
  return { offset, origin, publishedAtMs, message: ownedMessage(view) };
}

function checkMax(max: number): void {
  if (!Number.isSafeInteger(max) || max < 1 || max > PAGE_MAX) {
    throw new AdminError('invalid', `at most 1 to ${PAGE_MAX} can be asked for at once`);
  }
}

function checkCount(value: number, what: string): void {
  if (!Number.isSafeInteger(value) || value < 0) {
    throw new AdminError('invalid', `${what} is not a whole number from 0`);
  }
}
