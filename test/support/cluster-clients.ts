/**
 * Who publishes, consumes and settles in a fault schedule: on each node the clients of the product
 * for both shards, through one of its lives. Every answer and every delivery is told to the ledger.
 */

import { expect } from 'vitest';
import type { Random } from '../../raft/simulation/random.ts';
import type { Delivery, Offset, QueueConsumer, QueueId } from '../../src/broker/ports.ts';
import type { SettleAnswer } from '../../src/broker/ports.ts';
import type { ShardClient } from '../../src/shard/client.ts';
import type { ClusterLedger } from './cluster-ledger.ts';

const ORIGIN = { clientId: 'c', protocol: 'mqtt' } as const;
const OUTCOMES = ['complete', 'complete', 'complete', 'requeue', 'discard'] as const;
/** More than there are messages. */
const DRAIN_CREDIT = 60_000;

export interface ScheduledQueue {
  readonly name: string;
  readonly shard: number;
}

export interface ClusterClientsOptions {
  readonly random: Random;
  readonly ledger: ClusterLedger;
  readonly queues: readonly ScheduledQueue[];
  readonly payloadBytes: number;
  saw(what: Happened): void;
}

export const HAPPENED = [
  'publish unanswered',
  'redelivered',
  'settlement acknowledged',
  'settlement unanswered',
  'dead letter',
] as const;
export type Happened = (typeof HAPPENED)[number];

interface Held {
  readonly client: ShardClient;
  readonly queueId: QueueId;
  readonly group: string;
  readonly offset: Offset;
  readonly term: number;
  readonly deliveryNumber: number;
  readonly text: string;
}

/** The clients of one node through one of its lives, by shard, and what they hold. */
interface Seat {
  readonly clients: readonly ShardClient[];
  readonly publisher: string;
  published: number;
  readonly consumers: Map<string, QueueConsumer>;
  readonly held: Held[];
}

export class ClusterClients {
  readonly #options: ClusterClientsOptions;
  /** By node. */
  readonly #seats = new Map<string, Seat>();
  #lives = 0;

  constructor(options: ClusterClientsOptions) {
    this.#options = options;
  }

  /** Those of the node now; undefined: not all are there. */
  look(node: string, clients: readonly ShardClient[] | undefined): void {
    const seat = this.#seats.get(node);
    if (seat?.clients.every((client, shard) => client === clients?.[shard]) === true) return;
    this.leave(node);
    if (clients === undefined) return;
    const publisher = `${node}${++this.#lives}`;
    const none = { published: 0, consumers: new Map(), held: [] };
    this.#seats.set(node, { clients, publisher, ...none });
  }

  leave(node: string): void {
    const seat = this.#seats.get(node);
    if (seat === undefined) return;
    this.#seats.delete(node);
    this.#options.ledger.unheard(seat.publisher);
  }

  /** One step of everybody. */
  use(): void {
    const { random, queues } = this.#options;
    for (const seat of this.#seats.values()) {
      if (random.chance(0.3)) this.#publish(seat, random.pick(queues), random.between(1, 8));
      if (random.chance(0.05)) this.#consume(seat, random.pick(queues));
      if (random.chance(0.02)) this.#close(seat, random.pick(queues).name);
      if (random.chance(0.3)) this.#settle(seat, random.between(1, 6));
    }
  }

  /** Nobody consumes any more. */
  rest(): void {
    for (const seat of this.#seats.values()) {
      for (const name of [...seat.consumers.keys()]) this.#close(seat, name);
    }
  }

  /** Takes and settles everything that is in the queue. */
  drain(client: ShardClient, name: string): void {
    const { ledger } = this.#options;
    const queueId = client.queues.named(name)?.queueId as QueueId;
    const none = { group: undefined, filter: '', start: undefined, manual: false };
    const consumer = client.consume(
      { ...none, queueId, clientId: 'drain', credit: DRAIN_CREDIT },
      {
        attached: () => undefined,
        batchEnd: () => undefined,
        ended: () => undefined,
        cancelled: (why) => expect.fail(`the drain was cancelled: ${why}`),
        delivered: ({ message, offset, term, deliveryNumber }) => {
          const text = textOf(message.payload);
          ledger.delivered(name, offset, text);
          ledger.drained(name, text);
          if (!this.#options.queues.some((each) => each.name === name)) {
            this.#options.saw('dead letter');
          }
          consumer.settle(offset, term, deliveryNumber, 'complete');
        },
      },
    );
  }

  #publish(seat: Seat, { name, shard }: ScheduledQueue, count: number): void {
    const { random, ledger, payloadBytes, saw } = this.#options;
    const client = seat.clients[shard];
    const target = client?.queues.named(name)?.queueId;
    if (client?.writable !== true || target === undefined) return;
    for (let left = count; left > 0; left -= 1) {
      const text = ledger.published(name, seat.publisher, seat.published++);
      const filler = 'x'.repeat(random.below(payloadBytes));
      const payload = Buffer.from(`${text} ${filler}`);
      const plain = { qos: 1, retain: false, properties: undefined } as const;
      const waiter = {
        enqueued: (_tag: number, outcome: unknown): void => {
          if (![...this.#seats.values()].includes(seat)) return;
          if (ledger.told(text, outcome)) saw('publish unanswered');
        },
      };
      client.enqueue([target], { topic: `$queue/${name}`, payload, ...plain }, ORIGIN, waiter, 0);
    }
  }

  #consume(seat: Seat, { name, shard }: ScheduledQueue): void {
    const client = seat.clients[shard];
    const queueId = client?.queues.named(name)?.queueId;
    if (client === undefined || queueId === undefined || seat.consumers.has(name)) return;
    const none = { group: undefined, filter: '', start: undefined, manual: true };
    const credit = this.#options.random.between(1, 20);
    const consumer = client.consume(
      { ...none, queueId, clientId: seat.publisher, credit },
      {
        attached: () => undefined,
        batchEnd: () => undefined,
        ended: (offset, deliveryNumber) => {
          const at = seat.held.findIndex(
            (each) =>
              each.queueId === queueId &&
              each.offset === offset &&
              each.deliveryNumber === deliveryNumber,
          );
          if (at >= 0) seat.held.splice(at, 1);
          seat.consumers.get(name)?.grant(1);
        },
        cancelled: () => void seat.consumers.delete(name),
        delivered: (delivery) => this.#delivered(seat, client, delivery),
      },
    );
    seat.consumers.set(name, consumer);
  }

  #delivered(seat: Seat, client: ShardClient, delivery: Delivery): void {
    const { queueId, queueName, groupName: group, offset, term, deliveryNumber } = delivery;
    const text = textOf(delivery.message.payload);
    this.#options.ledger.delivered(queueName, offset, text);
    if (delivery.redelivered) this.#options.saw('redelivered');
    seat.held.push({ client, queueId, group, offset, term, deliveryNumber, text });
  }

  #close(seat: Seat, name: string): void {
    seat.consumers.get(name)?.close(this.#options.random.pick(['lost', 'returned']));
    seat.consumers.delete(name);
  }

  #settle(seat: Seat, count: number): void {
    const { random, ledger, saw } = this.#options;
    for (let left = Math.min(count, seat.held.length); left > 0; left -= 1) {
      const [held] = seat.held.splice(random.below(seat.held.length), 1) as [Held];
      const outcome = random.pick(OUTCOMES);
      if (outcome !== 'requeue') ledger.asked(held.text, outcome);
      const waiter = {
        settled: (_tag: number, answer: SettleAnswer): void => {
          if (answer === 'unavailable') saw('settlement unanswered');
          if (answer !== 'done' || outcome === 'requeue') return;
          saw('settlement acknowledged');
          ledger.acknowledged(held.text, outcome);
        },
      };
      held.client.settle({ ...held, outcome }, waiter, 0);
    }
  }
}

/** What names the message. */
export function textOf(payload: Uint8Array): string {
  return Buffer.from(payload).toString().split(' ')[0] ?? '';
}
