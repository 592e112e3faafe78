/**
 * What the shards of a node ask of the others, through the clients of the main thread: it has one
 * for each shard, which knows its queues and finds whoever leads it. The same port `OtherShards` on
 * both sides; in between plain data crosses the threads.
 *
 * Before the clients are there, and after they are gone, every answer is `not-now`: the outbox asks
 * again, and nothing is lost.
 */

import type { QueueDefinition } from './machine/definitions.ts';
import type { QueueId } from './machine/ids.ts';
import type { NotNow, OtherShards } from './shard/other-shards.ts';

export type OthersAsk =
  | { readonly kind: 'find'; readonly name: string }
  | { readonly kind: 'declare'; readonly queue: QueueDefinition; readonly near: string }
  | { readonly kind: 'name'; readonly queueId: QueueId }
  | { readonly kind: 'take'; readonly shard: number; readonly command: Uint8Array }
  | {
      readonly kind: 'missing';
      readonly shard: number;
      readonly names: readonly string[];
      readonly fence: number;
    }
  | { readonly kind: 'place'; readonly name: string }
  | { readonly kind: 'unplace'; readonly name: string; readonly version: number }
  | { readonly kind: 'end-keys'; readonly session: string }
  | { readonly kind: 'over-keys'; readonly shard: number; readonly names: readonly string[] };

interface Answers {
  readonly find: Awaited<ReturnType<OtherShards['find']>>;
  readonly declare: Awaited<ReturnType<OtherShards['findOrDeclare']>>;
  readonly name: Awaited<ReturnType<OtherShards['nameOf']>>;
  readonly take: Awaited<ReturnType<OtherShards['take']>>;
  readonly missing: Awaited<ReturnType<OtherShards['missing']>>;
  readonly place: Awaited<ReturnType<OtherShards['placeOf']>>;
  readonly unplace: Awaited<ReturnType<OtherShards['unplace']>>;
  readonly 'end-keys': Awaited<ReturnType<OtherShards['endKeys']>>;
  readonly 'over-keys': Awaited<ReturnType<OtherShards['overKeys']>>;
}
export type OthersTold = Answers[OthersAsk['kind']];

/** How a shard asks; the answer is that of the kind that was asked for. */
export type AsksOthers = <Kind extends OthersAsk['kind']>(
  ask: Extract<OthersAsk, { kind: Kind }>,
) => Promise<Answers[Kind]>;

function othersOver(asks: AsksOthers): OtherShards {
  return {
    find: (name) => asks({ kind: 'find', name }),
    findOrDeclare: (queue, near) => asks({ kind: 'declare', queue, near }),
    nameOf: (queueId) => asks({ kind: 'name', queueId }),
    take: (shard, command) => asks({ kind: 'take', shard, command }),
    missing: (shard, names, fence) => asks({ kind: 'missing', shard, names, fence }),
    placeOf: (name) => asks({ kind: 'place', name }),
    unplace: (name, version) => asks({ kind: 'unplace', name, version }),
    endKeys: (session) => asks({ kind: 'end-keys', session }),
    overKeys: (shard, names) => asks({ kind: 'over-keys', shard, names }),
  };
}

function answerOfOthers(others: OtherShards, ask: OthersAsk): Promise<OthersTold> {
  switch (ask.kind) {
    case 'find':
      return others.find(ask.name);
    case 'declare':
      return others.findOrDeclare(ask.queue, ask.near);
    case 'name':
      return others.nameOf(ask.queueId);
    case 'take':
      return others.take(ask.shard, ask.command);
    case 'missing':
      return others.missing(ask.shard, ask.names, ask.fence);
    case 'place':
      return others.placeOf(ask.name);
    case 'unplace':
      return others.unplace(ask.name, ask.version);
    case 'end-keys':
      return others.endKeys(ask.session);
    case 'over-keys':
      return others.overKeys(ask.shard, ask.names);
  }
}

/** The main thread's end: the others of each shard, once there are clients. */
export class OthersDesk {
  /** By the shard that asks. */
  readonly #others = new Map<number, OtherShards>();
  #make: ((shard: number) => OtherShards) | undefined;

  open(make: (shard: number) => OtherShards): void {
    this.#make = make;
  }

  close(): void {
    this.#make = undefined;
  }

  async answer(shard: number, ask: OthersAsk): Promise<OthersTold> {
    if (this.#make === undefined) return NOT_NOW;
    const others = this.#others.get(shard) ?? this.#make(shard);
    this.#others.set(shard, others);
    return answerOfOthers(others, ask);
  }

  /** Within one thread. */
  of(shard: number): OtherShards {
    // Of the kind that was asked for: `answerOfOthers` has one for each.
    return othersOver((ask) => this.answer(shard, ask) as Promise<never>);
  }
}

const NOT_NOW: NotNow = { kind: 'not-now', detail: 'the clients of this node are not open' };

interface Waiting {
  resolve(told: never): void;
  reject(error: Error): void;
}

/**
 * The shards' end, where they have a thread of their own. Bounded by what the outboxes have open.
 */
export class OthersAsks {
  readonly #post: (id: number, shard: number, ask: OthersAsk) => void;
  readonly #waiting = new Map<number, Waiting>();
  #nextId = 1;

  constructor(post: (id: number, shard: number, ask: OthersAsk) => void) {
    this.#post = post;
  }

  of(shard: number): OtherShards {
    return othersOver((ask) => {
      const id = this.#nextId++;
      return new Promise((resolve, reject) => {
        this.#waiting.set(id, { resolve, reject });
        this.#post(id, shard, ask);
      });
    });
  }

  told(id: number, told: OthersTold): void {
    this.#waiting.get(id)?.resolve(told as never);
    this.#waiting.delete(id);
  }

  failed(id: number, error: Error): void {
    this.#waiting.get(id)?.reject(error);
    this.#waiting.delete(id);
  }
}
