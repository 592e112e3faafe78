/**
 * The leader's side of the outbox: what leaves one queue for another. The machine opened an intent
 * for each such message, and keeps it until this has proposed its transfer (which appends and
 * closes in one) or its skip, and that is applied.
 *
 * Intents are worked off in their order, a bounded number and a bounded size at a time. One that
 * cannot be done now (its target is full, the disk is inside its reserve, its queue cannot be
 * declared) waits by itself, 1 s at first and 60 s at most, and holds up no other. A message that
 * cannot be read, or that goes in circles, is skipped with an alarm, so that nothing stops behind
 * it. Nothing here is state: after a crash the open intents are there, and a transfer that was
 * applied has closed its own, so none is done twice and none is forgotten.
 */

import type { QueueDefinition } from '../machine/definitions.ts';
import { defaultDefinition } from '../machine/default-definition.ts';
import type { Intent, RareEffect } from '../machine/effect.ts';
import type { SkipIntentCommand, SkipReason } from '../machine/command.ts';
import type { GroupId, QueueId } from '../machine/ids.ts';
import type { DefinedQueue } from '../machine/definition-commands.ts';
import { beginTransfer, finishCommand } from './codec.ts';
import { DLQ_QUEUE_PROPERTY, departureOf, property } from './departure.ts';
import type { DepartureNames } from './departure.ts';
import { PayloadCursor } from './payloads.ts';
import type { Payloads } from './payloads.ts';
import { StoredMessageView, StoredMessageWriter } from './stored-message.ts';
import { WakeHeap } from './wake-heap.ts';
import { CodecError, WireWriter } from './wire.ts';

export interface OutboxOptions {
  readonly machine: {
    openIntents(after: number, max: number): Intent[];
    queueNamed(name: string): Pick<DefinedQueue, 'queueId'> | undefined;
    definition(queueId: QueueId): QueueDefinition | undefined;
  };
  readonly payloads: Pick<Payloads, 'get' | 'fetch' | 'lostDetail'>;
  readonly proposals: {
    /** False: nothing is taken any more. */
    transfer(bytes: Uint8Array): boolean;
    plain(command: SkipIntentCommand, node: string): boolean;
  };
  /** For people: it is given up, and the message with it, or put off; and why. */
  told(intent: Intent, what: 'unreadable' | 'given-up' | 'put-off', detail: string): void;
  /** Declares a queue that is missing; rejects when it cannot be. */
  declare(queue: QueueDefinition): Promise<void>;
  /** As it is now; undefined when the group or its queue is gone. */
  groupName(queueId: QueueId, groupId: GroupId): Promise<string | undefined>;
  readonly now: () => number;
  /** The disk is inside its reserve: nothing that takes space is proposed. */
  readonly inReserve: () => boolean;
  /** There is something to do: call `drive` soon. */
  readonly wake: () => void;
  readonly failed: (error: unknown) => void;
}

export interface OutboxCounters {
  transferred: number;
  /** Of these, dead letters. */
  deadLettered: number;
  /** Times that a transfer could not be done, and was put off. */
  refused: number;
  skipped: number;
}

interface Flight {
  readonly intent: Intent;
  /** Of the proposed transfer. */
  bytes: number;
  tries: number;
  wakeAt: number;
}

/** Read or proposed, and not applied. */
const FLIGHTS_MAX = 64;
const FLIGHT_BYTES_MAX = 8 << 20;
const BACKOFF_MIN_MS = 1_000;
const BACKOFF_MAX_MS = 60_000;
const DOUBLINGS_MAX = 6;

export class OutboxDriver {
  readonly counters: OutboxCounters = { transferred: 0, deadLettered: 0, refused: 0, skipped: 0 };
  readonly #options: OutboxOptions;
  readonly #flights = new Map<number, Flight>();
  readonly #waiting = new WakeHeap<Flight>();
  readonly #messages = new StoredMessageWriter();
  #flying = 0;
  #flyingBytes = 0;
  /** Everything up to this intent was taken up. */
  #taken = 0;
  #more = true;

  constructor(options: OutboxOptions) {
    this.#options = options;
  }

  /** When `drive` wants to be called although nothing happens; Infinity: not at all. */
  get nextWake(): number {
    return this.#hasRoom ? this.#waiting.next : Number.POSITIVE_INFINITY;
  }

  /** Takes up what is due and what is new, as far as there is room. */
  drive(): void {
    const { machine, now } = this.#options;
    const time = now();
    while (this.#hasRoom) {
      const due = this.#waiting.due(time);
      if (due === undefined) break;
      this.#start(due);
    }
    while (this.#more && this.#hasRoom) {
      const max = FLIGHTS_MAX - this.#flying;
      const intents = machine.openIntents(this.#taken, max);
      this.#more = intents.length === max;
      for (const intent of intents) {
        this.#taken = intent.number;
        const flight = {
          intent,
          bytes: 0,
          tries: intent.refusals,
          wakeAt: Number.POSITIVE_INFINITY,
        };
        this.#flights.set(intent.number, flight);
        this.#start(flight);
      }
    }
  }

  /** What apply did. */
  /** The queue of the message that an intent on its way moves. */
  sourceOf(intent: number): QueueId | undefined {
    return this.#flights.get(intent)?.intent.queueId;
  }

  rare(effect: RareEffect): void {
    switch (effect.kind) {
      case 'intent-opened':
        this.#more = true;
        return;
      case 'intent-closed': {
        const flight = this.#flights.get(effect.intent);
        if (flight === undefined) return;
        this.#flights.delete(effect.intent);
        this.#count(flight.intent, effect.how);
        this.#land(flight);
        return;
      }
      case 'transfer-refused': {
        const flight = this.#flights.get(effect.intent);
        if (flight !== undefined) this.#putOff(flight);
        return;
      }
      default:
    }
  }

  get #hasRoom(): boolean {
    return this.#flying < FLIGHTS_MAX && this.#flyingBytes < FLIGHT_BYTES_MAX;
  }

  #count(intent: Intent, how: 'transferred' | SkipReason): void {
    if (how !== 'transferred') this.counters.skipped++;
    else {
      this.counters.transferred++;
      const isLetter = intent.reason === 'rejected' || intent.reason === 'delivery-limit';
      if (isLetter) this.counters.deadLettered++;
    }
  }

  #start(flight: Flight): void {
    this.#flying++;
    this.#work(flight).catch(this.#options.failed);
  }

  #land(flight: Flight): void {
    this.#flying--;
    this.#flyingBytes -= flight.bytes;
    flight.bytes = 0;
    this.#options.wake();
  }

  #putOff(flight: Flight): void {
    this.counters.refused++;
    const wait = BACKOFF_MIN_MS * 2 ** Math.min(flight.tries, DOUBLINGS_MAX);
    flight.tries++;
    this.#waiting.set(flight, this.#options.now() + Math.min(wait, BACKOFF_MAX_MS));
    this.#land(flight);
  }

  async #work(flight: Flight): Promise<void> {
    const { intent } = flight;
    const view = await this.#read(intent);
    if (typeof view === 'string') {
      this.#skip(intent, 'unreadable', view);
      return;
    }
    if (this.#options.inReserve()) {
      this.#putOff(flight);
      return;
    }
    const targets = await this.#targets(intent, view);
    if (targets === 'not-now') {
      this.#putOff(flight);
      return;
    }
    const [first] = targets;
    if (first === undefined) {
      this.#skip(intent, 'no-target', 'no queue is left that could take it');
      return;
    }
    const names = await this.#names(intent, first);
    const nowMs = this.#options.now();
    const { publishedAtMs } = view;
    const departure = departureOf(intent, { message: view, publishedAtMs, nowMs }, names);
    if (departure === undefined) {
      this.#skip(intent, 'hop-limit', 'it went through too many dead-letter queues');
      return;
    }
    const writer = new WireWriter(view.payload.length + 1024);
    const head = { intent: intent.number, targets, options: departure.options };
    const start = beginTransfer(writer, head);
    this.#messages.publishedAtMs = publishedAtMs;
    if (!this.#messages.write(writer, departure.message, view.origin)) {
      this.#skip(intent, 'no-target', 'its properties are too long for a message');
      return;
    }
    finishCommand(writer, start);
    flight.bytes = writer.length;
    this.#flyingBytes += flight.bytes;
    if (this.#options.proposals.transfer(writer.take())) this.#options.wake();
  }

  #skip(intent: Intent, reason: SkipReason, detail: string): void {
    this.#options.told(intent, reason === 'unreadable' ? reason : 'given-up', detail);
    const command = { kind: 'skip-intent', intent: intent.number, reason } as const;
    if (this.#options.proposals.plain(command, '')) this.#options.wake();
  }

  /** Words: it cannot be read, and why. */
  async #read({ queueId, offset }: Intent): Promise<StoredMessageView | string> {
    const { payloads } = this.#options;
    const cursor = new PayloadCursor();
    for (;;) {
      const found = payloads.get(queueId, offset, cursor);
      if (found === 'lost') return payloads.lostDetail;
      if (found !== 'away') {
        try {
          // Of its own: what a read brought is given to the next one.
          const stored = found.bytes.slice(found.start, found.end);
          return new StoredMessageView(stored, 0, stored.length);
        } catch (error) {
          if (error instanceof CodecError) return error.message;
          throw error;
        }
      }
      const fetched = await payloads.fetch(queueId, offset);
      if (fetched.kind === 'lost') return fetched.detail;
    }
  }

  /** Those that exist; `not-now`: the one that is missing cannot be declared. */
  async #targets(intent: Intent, view: StoredMessageView): Promise<QueueId[] | 'not-now'> {
    const { machine } = this.#options;
    const { target } = intent;
    switch (target.kind) {
      case 'queues':
        return target.queueIds.filter((queueId) => machine.definition(queueId) !== undefined);
      case 'source': {
        const name = property(view, DLQ_QUEUE_PROPERTY);
        const source = name === undefined ? undefined : machine.queueNamed(name)?.queueId;
        if (source !== undefined) return [source];
        // Back to where it is, rather than nowhere.
        return machine.definition(intent.queueId) === undefined ? [] : [intent.queueId];
      }
      case 'name':
        return this.#deadLetterQueue(intent, target.name);
    }
  }

  async #deadLetterQueue(intent: Intent, name: string): Promise<QueueId[] | 'not-now'> {
    const { machine } = this.#options;
    const there = machine.queueNamed(name);
    if (there !== undefined) return [there.queueId];
    const missing = defaultDefinition(name, 'classic');
    try {
      // Not by itself the source of another one: a cycle would declare queues without end.
      await this.#options.declare({ ...missing, limits: { ...missing.limits, deadLetter: '' } });
    } catch (error) {
      const detail = error instanceof Error ? error.message : String(error);
      this.#options.told(intent, 'put-off', `${name} cannot be declared: ${detail}`);
      return 'not-now';
    }
    const made = machine.queueNamed(name);
    return made === undefined ? 'not-now' : [made.queueId];
  }

  async #names(intent: Intent, target: QueueId): Promise<DepartureNames> {
    const { machine } = this.#options;
    const { queueId, groupId } = intent;
    const queue = machine.definition(queueId)?.name;
    return {
      queue: queue ?? `#${queueId}`,
      group: (await this.#options.groupName(queueId, groupId)) ?? `#${groupId}`,
      target: machine.definition(target)?.name ?? `#${target}`,
    };
  }
}
