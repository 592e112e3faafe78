/**
 * Who publishes, consumes and settles in a fault schedule: on each node the client of the product
 * over all shards, through one of its lives. Every answer and every delivery is told to the ledger.
 */

import { expect } from 'vitest';
import type { Random } from '../../raft/simulation/random.ts';
import type { Message } from '../../src/broker/message.ts';
import type { Delivery, Offset, QueueConsumer, QueueId } from '../../src/broker/ports.ts';
import type { SettleAnswer } from '../../src/broker/ports.ts';
import type { QueueClients } from '../../src/shard/queue-clients.ts';
import type { ClusterLedger } from './cluster-ledger.ts';

export const ORIGIN = { clientId: 'c', protocol: 'mqtt' } as const;
const OUTCOMES = ['complete', 'complete', 'complete', 'requeue', 'discard'] as const;
/** More than there are messages. */
const DRAIN_CREDIT = 60_000;
/** At each step, of all together. */
const PUBLISHES = 0.9;
/** Of a queue that was made by hand. */
const NO_WISHES = { group: undefined, filter: '', start: undefined } as const;

export interface ClusterClientsOptions {
  readonly random: Random;
  readonly ledger: ClusterLedger;
  /** That are consumed by hand; the others are only published to. */
  consumed(): readonly string[];
  queues(): readonly string[];
  readonly payloadBytes: number;
  readonly saw: (what: Happened) => void;
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
  readonly queueId: QueueId;
  readonly group: string;
  readonly offset: Offset;
  readonly term: number;
  readonly deliveryNumber: number;
  readonly text: string;
}

/** The client of one node through one of its lives, and what it holds. */
export interface Seat {
  readonly client: QueueClients;
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

  /** Where somebody can go now. */
  get seats(): readonly Seat[] {
    return [...this.#seats.values()];
  }

  at(node: string): Seat | undefined {
    return this.#seats.get(node);
  }

  /** That of the node now; undefined: it has none. */
  look(node: string, client: QueueClients | undefined): void {
    const seat = this.#seats.get(node);
    if (seat?.client === client) return;
    this.leave(node);
    if (client === undefined) return;
    const publisher = `${node}${++this.#lives}`;
    const none = { published: 0, consumers: new Map(), held: [] };
    this.#seats.set(node, { client, publisher, ...none });
  }

  leave(node: string): void {
    const seat = this.#seats.get(node);
    if (seat === undefined) return;
    this.#seats.delete(node);
    this.#options.ledger.unheard(seat.publisher);
  }

  /** Their node is to go: they say goodbye, and go elsewhere. */
  quit(node: string): void {
    const seat = this.#seats.get(node);
    for (const name of seat?.consumers.keys() ?? []) this.#close(seat as Seat, name);
    this.leave(node);
  }

  /** One step of everybody. */
  use(): void {
    const { random } = this.#options;
    const queues = this.#options.queues();
    const consumed = this.#options.consumed();
    // As much on three nodes as on seven.
    const share = PUBLISHES / this.#seats.size;
    for (const seat of this.#seats.values()) {
      if (random.chance(share)) this.publish(seat, random.pick(queues), random.between(1, 8));
      if (random.chance(0.05)) this.#consume(seat, random.pick(consumed));
      if (random.chance(0.02)) this.#close(seat, random.pick(consumed));
      if (random.chance(0.3)) this.#settle(seat, random.between(1, 6));
    }
  }

  /** Nobody consumes any more. */
  rest(): void {
    for (const seat of this.#seats.values()) {
      for (const name of seat.consumers.keys()) this.#close(seat, name);
    }
  }

  /** Takes and settles everything that is in the queue. */
  drain(seat: Seat, name: string): QueueConsumer {
    const { ledger } = this.#options;
    const { client } = seat;
    const queueId = client.queues.named(name)?.queueId as QueueId;
    const consumer = client.consume(
      { ...NO_WISHES, manual: false, queueId, clientId: 'drain', credit: DRAIN_CREDIT },
      {
        attached: () => undefined,
        batchEnd: () => undefined,
        ended: () => undefined,
        cancelled: (why) => {
          if (this.seats.includes(seat)) expect.fail(`the drain was cancelled: ${why}`);
        },
        delivered: ({ message, offset, term, deliveryNumber }) => {
          const text = textOf(message.payload);
          ledger.delivered(name, offset, text);
          ledger.drained(name, text);
          if (!this.#options.consumed().includes(name)) this.#options.saw('dead letter');
          consumer.settle(offset, term, deliveryNumber, 'complete');
        },
      },
    );
    return consumer;
  }

  publish(seat: Seat, name: string, count: number): void {
    const { random, ledger, payloadBytes, saw } = this.#options;
    const { client } = seat;
    const target = client.queues.named(name)?.queueId;
    if (!client.writable || target === undefined) return;
    for (let left = count; left > 0; left -= 1) {
      const text = ledger.published(name, seat.publisher, seat.published++);
      const message = messageOf(text, random.below(payloadBytes));
      const waiter = {
        enqueued: (_tag: number, outcome: unknown): void => {
          if (!this.seats.includes(seat)) return;
          if (ledger.told(text, outcome)) saw('publish unanswered');
        },
      };
      client.enqueue([target], message, ORIGIN, waiter, 0);
    }
  }

  #consume(seat: Seat, name: string): void {
    const { client } = seat;
    const queueId = client.queues.named(name)?.queueId;
    if (queueId === undefined || seat.consumers.has(name)) return;
    const credit = this.#options.random.between(1, 20);
    const consumer = client.consume(
      { ...NO_WISHES, manual: true, queueId, clientId: seat.publisher, credit },
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
        delivered: (delivery) => this.#delivered(seat, delivery),
      },
    );
    seat.consumers.set(name, consumer);
  }

  #delivered(seat: Seat, delivery: Delivery): void {
    const { queueId, queueName, groupName: group, offset, term, deliveryNumber } = delivery;
    const text = textOf(delivery.message.payload);
    this.#options.ledger.delivered(queueName, offset, text);
    if (delivery.redelivered) this.#options.saw('redelivered');
    seat.held.push({ queueId, group, offset, term, deliveryNumber, text });
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
      seat.client.settle({ ...held, outcome }, waiter, 0);
    }
  }
}

export function messageOf(text: string, fillerBytes: number): Message {
  const payload = Buffer.from(`${text} ${'x'.repeat(fillerBytes)}`);
  return { topic: 't', payload, qos: 1, retain: false, properties: undefined };
}

/** What names the message. */
export function textOf(payload: Uint8Array): string {
  return Buffer.from(payload).toString().split(' ')[0] ?? '';
}
