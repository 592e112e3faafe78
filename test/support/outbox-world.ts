/**
 * The leader's side of an outbox with a machine whose intents the test opens, messages by their
 * offset, and proposals to look at; and other shards that answer when the test says so.
 */

import { expect } from 'vitest';
import type { Message } from '../../src/broker/message.ts';
import type {
  EndRouteCommand,
  RouteEnd,
  TakeTransferCommand,
  TransferCommand,
} from '../../src/machine/command.ts';
import type { QueueDefinition } from '../../src/machine/definitions.ts';
import type { Intent } from '../../src/machine/effect.ts';
import {
  type GroupId,
  type Offset,
  type QueueId,
  type StampMs,
  shardOf,
} from '../../src/machine/ids.ts';
import { CommandDecoder, storedMessageStart } from '../../src/shard/codec.ts';
import type { Arrived, FoundQueue, NotNow, OtherShards } from '../../src/shard/other-shards.ts';
import { OutboxDriver } from '../../src/shard/outbox.ts';
import type { OutboxOptions } from '../../src/shard/outbox.ts';
import type { StoredMessage } from '../../src/shard/payloads.ts';
import { StoredMessageView, StoredMessageWriter } from '../../src/shard/stored-message.ts';
import { WireWriter } from '../../src/shard/wire.ts';
import { queue, turn } from './shard-world.ts';

const LENT_BYTES = 4_096;
const NO_PLACE = { node: '', boot: 0, number: 0, answeredUpTo: 0 };

export class OutboxWorld {
  now = 1_000_000;
  inReserve = false;
  readonly intents: Intent[] = [];
  readonly queues = new Map<number, QueueDefinition>();
  readonly messages = new Map<number, Message | 'away' | 'lost'>();
  readonly transfers: { command: TransferCommand; message: Message }[] = [];
  readonly skips: string[] = [];
  readonly told: string[] = [];
  readonly declared: string[] = [];
  refuseDeclarations = false;
  fetches = 0;
  /** So long a message that is away takes, and what it is then. */
  fetchTurns = 1;
  fetched = message;
  failure: unknown;
  readonly others: WorldOfOthers | undefined;
  /** Those that were told to have a route, and what was told of its end. */
  readonly routes: string[] = [];
  #nextRoute = 1;
  readonly #lent = Buffer.alloc(LENT_BYTES);
  driver: OutboxDriver;

  constructor(others?: WorldOfOthers) {
    this.others = others;
    this.driver = new OutboxDriver(this.#options());
    this.queues.set(5, queue('orders'));
    this.queues.set(6, queue('$dlq/orders'));
  }

  /** Another leader takes over. */
  change(): void {
    this.driver = new OutboxDriver(this.#options());
  }

  #options(): OutboxOptions {
    return {
      shard: 0,
      others: this.others,
      machine: {
        openIntents: (after, max) =>
          this.intents.filter((each) => each.number > after).slice(0, max),
        queueNamed: (name) => {
          for (const [id, definition] of this.queues) {
            if (definition.name === name) return { queueId: id as QueueId };
          }
          return undefined;
        },
        definition: (queueId) => this.queues.get(queueId),
        lowestRoute: () => Math.min(...this.#openRoutes()),
      },
      payloads: {
        lostDetail: 'rotten',
        get: (_queueId, offset) => {
          const given = this.messages.get(offset);
          if (given === undefined) return 'lost';
          return typeof given === 'string' ? given : this.#lend(stored(given));
        },
        fetch: async (_queueId, offset) => {
          this.fetches++;
          for (let turns = this.fetchTurns; turns > 0; turns--) await turn();
          this.messages.set(offset, this.fetched(offset));
          return { kind: 'ready' };
        },
      },
      proposals: {
        transfer: (bytes) => {
          const command = new CommandDecoder().decode(bytes, 0, { ...NO_PLACE });
          if (command.kind !== 'transfer') throw new Error(command.kind);
          const view = new StoredMessageView(bytes, storedMessageStart(bytes, 0), bytes.length);
          this.transfers.push({ command: structuredClone(command), message: view });
          return true;
        },
        plain: (command) => {
          if (command.kind === 'skip-intent')
            this.skips.push(`${command.intent} ${command.reason}`);
          else if (command.kind === 'route-intent') this.#route(command.intent, command.queueId);
          else this.#endRoute(command);
          return true;
        },
      },
      declare: async ({ name }) => {
        await turn();
        if (this.refuseDeclarations) throw new Error('no more queues');
        this.declared.push(name);
        this.queues.set(100 + this.queues.size, queue(name));
      },
      groupName: () => Promise.resolve('mail'),
      told: (intent, what, detail) => void this.told.push(`${intent.number} ${what}: ${detail}`),
      now: () => this.now,
      inReserve: () => this.inReserve,
      wake: () => undefined,
      failed: (error) => void (this.failure = error),
    };
  }

  /** The same memory for each, as that of blocks of a run is. */
  #lend({ bytes, ...at }: StoredMessage): StoredMessage {
    this.#lent.fill(0);
    this.#lent.set(bytes);
    return { bytes: this.#lent, ...at };
  }

  #openRoutes(): number[] {
    return this.intents.flatMap(({ route }) => (route === undefined ? [] : [route.number]));
  }

  /** As apply does it, a turn later. */
  #route(number: number, queueId: QueueId): void {
    setImmediate(() => {
      const at = this.intents.findIndex((each) => each.number === number);
      const route = { queueId, number: this.#nextRoute++ };
      const intent = { ...(this.intents[at] as Intent), route };
      this.intents[at] = intent;
      this.driver.rare({ kind: 'intent-routed', intent });
    });
  }

  #endRoute({ intent, number, how }: EndRouteCommand): void {
    this.routes.push(`${intent} ${number} ${how}`);
    setImmediate(() => {
      if (how === 'taken') {
        this.close(intent);
        return;
      }
      const at = this.intents.findIndex((each) => each.number === intent);
      this.intents[at] = { ...(this.intents[at] as Intent), route: undefined };
      this.driver.rare({ kind: 'route-ended', intent, how });
    });
  }

  open(number: number, more: Partial<Intent> = {}): void {
    const intent: Intent = {
      number,
      reason: 'rejected',
      queueId: 5 as QueueId,
      groupId: 0 as GroupId,
      offset: number as Offset,
      attempts: 1,
      stamp: 1 as StampMs,
      target: { kind: 'name', name: '$dlq/orders' },
      refusals: 0,
      route: undefined,
      ...more,
    };
    this.intents.push(intent);
    if (!this.messages.has(number)) this.messages.set(number, message(number));
    this.driver.rare({ kind: 'intent-opened', intent });
  }

  close(intent: number): void {
    const at = this.intents.findIndex((each) => each.number === intent);
    this.intents.splice(at, 1);
    this.driver.rare({ kind: 'intent-closed', intent, how: 'transferred' });
  }

  refuse(intent: number): void {
    this.driver.rare({ kind: 'transfer-refused', intent, queueId: 6 as QueueId });
  }

  async drive(): Promise<void> {
    for (let turns = 0; turns < 8; turns++) {
      this.driver.drive();
      await turn();
    }
    expect(this.failure).toBeUndefined();
  }

  get sent(): number[] {
    return this.transfers.map(({ command }) => command.intent);
  }
}

/** Other shards: names and queues as the test says, and messages that wait for its answer. */
export class WorldOfOthers implements OtherShards {
  readonly found = new Map<string, FoundQueue>();
  readonly names = new Map<number, string>();
  readonly asked: string[] = [];
  readonly taking: {
    readonly shard: number;
    readonly command: TakeTransferCommand;
    readonly message: Message;
    readonly answer: (arrived: Arrived | NotNow) => void;
  }[] = [];
  /** Nobody says where a name is. */
  isSilent = false;
  readonly silentNames = new Set<string>();
  /** So long an answer about a name takes. */
  asksTurns = 1;

  find(name: string): Promise<FoundQueue> {
    return this.#asks(`find ${name}`, name);
  }

  findOrDeclare({ name }: QueueDefinition, near: string): Promise<FoundQueue> {
    return this.#asks(`declare ${name} near ${near}`, name);
  }

  /** An outbox asks it never. */
  missing(): Promise<readonly string[]> {
    return Promise.reject(new Error('nobody sweeps names here'));
  }

  placeOf(): Promise<undefined> {
    return Promise.reject(new Error('no session ends here'));
  }

  unplace(): Promise<undefined> {
    return this.placeOf();
  }

  endKeys(): Promise<undefined> {
    return this.placeOf();
  }

  overKeys(): Promise<readonly string[]> {
    return this.missing();
  }

  nameOf(queueId: QueueId): Promise<string | undefined> {
    return Promise.resolve(this.names.get(queueId));
  }

  take(shard: number, bytes: Uint8Array): Promise<Arrived | NotNow> {
    const command = new CommandDecoder().decode(bytes, 0, { ...NO_PLACE });
    if (command.kind !== 'take-transfer') throw new Error(command.kind);
    expect(command.targets.map(shardOf)).toEqual([shard]);
    const view = new StoredMessageView(bytes, storedMessageStart(bytes, 0), bytes.length);
    return new Promise((answer) => {
      this.taking.push({ shard, command: structuredClone(command), message: view, answer });
    });
  }

  /** The one that was sent last of this number has this answer. */
  say(number: number, kind: RouteEnd | 'not-now'): void {
    const one = this.taking.findLast(({ command }) => command.number === number);
    if (one === undefined) throw new Error(`nobody sent ${number}`);
    one.answer(kind === 'not-now' ? { kind, detail: 'nobody is there' } : { kind, next: 1 });
  }

  async #asks(question: string, name: string): Promise<FoundQueue> {
    this.asked.push(question);
    for (let turns = this.asksTurns; turns > 0; turns--) await turn();
    if (this.isSilent || this.silentNames.has(name)) return new Promise(() => undefined);
    return this.found.get(name) ?? { kind: 'none' };
  }
}

export function message(offset: number): Message {
  const topic = `$queue/orders/${offset}`;
  return { topic, payload: Buffer.from('x'), qos: 1, retain: false, properties: undefined };
}

function stored(given: Message): StoredMessage {
  const writer = new WireWriter(64);
  new StoredMessageWriter().write(writer, given, { clientId: 'c', protocol: 'mqtt' });
  const bytes = writer.take();
  return { bytes, start: 0, end: bytes.length, index: 1 as StoredMessage['index'] };
}
