import { describe, expect, it } from 'vitest';
import type { Message } from '../../src/broker/message.ts';
import type { QueueDefinition } from '../../src/machine/definitions.ts';
import type { Intent } from '../../src/machine/effect.ts';
import type { GroupId, Offset, QueueId, StampMs } from '../../src/machine/ids.ts';
import type { TransferCommand } from '../../src/machine/command.ts';
import { CommandDecoder } from '../../src/shard/codec.ts';
import { property } from '../../src/shard/departure.ts';
import { OutboxDriver } from '../../src/shard/outbox.ts';
import type { StoredMessage } from '../../src/shard/payloads.ts';
import { StoredMessageView, StoredMessageWriter } from '../../src/shard/stored-message.ts';
import { storedMessageStart } from '../../src/shard/codec.ts';
import { WireWriter } from '../../src/shard/wire.ts';
import { queue, turn } from '../support/shard-world.ts';

const NO_PLACE = { node: '', boot: 0, number: 0, answeredUpTo: 0 };

/** A machine with intents that a test opens, messages by their offset, and proposals to look at. */
class World {
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
  failure: unknown;
  readonly driver = new OutboxDriver({
    shard: 0,
    others: undefined,
    machine: {
      openIntents: (after, max) => this.intents.filter((each) => each.number > after).slice(0, max),
      queueNamed: (name) => {
        for (const [id, definition] of this.queues) {
          if (definition.name === name) return { queueId: id as QueueId };
        }
        return undefined;
      },
      definition: (queueId) => this.queues.get(queueId),
      lowestRoute: () => 1,
    },
    payloads: {
      lostDetail: 'rotten',
      get: (_queueId, offset) => {
        const given = this.messages.get(offset);
        if (given === undefined) return 'lost';
        return typeof given === 'string' ? given : stored(given);
      },
      fetch: async (_queueId, offset) => {
        this.fetches++;
        await turn();
        this.messages.set(offset, message(offset));
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
        if (command.kind !== 'skip-intent') throw new Error(command.kind);
        this.skips.push(`${command.intent} ${command.reason}`);
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
  });

  constructor() {
    this.queues.set(5, queue('orders'));
    this.queues.set(6, queue('$dlq/orders'));
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

function message(offset: number): Message {
  const topic = `$queue/orders/${offset}`;
  return { topic, payload: Buffer.from('x'), qos: 1, retain: false, properties: undefined };
}

function stored(given: Message): StoredMessage {
  const writer = new WireWriter(64);
  new StoredMessageWriter().write(writer, given, { clientId: 'c', protocol: 'mqtt' });
  const bytes = writer.take();
  return { bytes, start: 0, end: bytes.length, index: 1 as StoredMessage['index'] };
}

describe('the outbox', () => {
  it('sends open intents in their order, with what tells why they left', async () => {
    const world = new World();
    for (const number of [1, 2, 3]) world.open(number);
    world.messages.set(2, 'away');
    await world.drive();
    expect(world.sent.toSorted((a, b) => a - b)).toEqual([1, 2, 3]);
    expect(world.fetches).toBe(1);
    const first = world.transfers[0] ?? expect.fail('nothing was sent');
    expect(first.command.targets).toEqual([6]);
    expect(first.message.topic).toBe('$queue/$dlq/orders/1');
    expect(property(first.message, '_flux.dlq-group')).toBe('mail');
  });

  it('proposes nothing twice, however often it is driven and woken', async () => {
    const world = new World();
    world.open(1);
    await world.drive();
    world.driver.rare({ kind: 'intent-opened', intent: world.intents[0] as Intent });
    await world.drive();
    expect(world.sent).toEqual([1]);
    world.close(1);
    await world.drive();
    expect(world.sent).toEqual([1]);
    expect(world.driver.counters).toMatchObject({ transferred: 1, deadLettered: 1 });
  });

  it('Q6: tries a refused one again later and later, and holds up no other', async () => {
    const world = new World();
    world.open(1);
    await world.drive();
    const waits: number[] = [];
    for (let time = 0; time < 9; time++) {
      world.refuse(1);
      const due = world.driver.nextWake;
      waits.push(due - world.now);
      world.now = due - 1;
      await world.drive();
      expect(world.sent).toHaveLength(time + 1);
      world.now = due;
      await world.drive();
      expect(world.sent).toHaveLength(time + 2);
    }
    expect(waits.map((ms) => ms / 1000)).toEqual([1, 2, 4, 8, 16, 32, 60, 60, 60]);
    world.refuse(1);
    world.open(2);
    await world.drive();
    expect(world.sent.at(-1)).toBe(2);
  });

  it('has a bounded number under way, and goes on as they are done', async () => {
    const world = new World();
    for (let number = 1; number <= 200; number++) world.open(number);
    await world.drive();
    expect(world.sent).toHaveLength(64);
    for (const done of world.sent.slice(0, 10)) world.close(done);
    await world.drive();
    expect(world.sent).toHaveLength(74);
    while (world.intents.length > 0) {
      for (const done of world.sent)
        if (world.intents.some((each) => each.number === done)) world.close(done);
      await world.drive();
    }
    expect(world.sent.toSorted((a, b) => a - b)).toEqual(
      Array.from({ length: 200 }, (_none, at) => at + 1),
    );
  });

  it('declares a dead-letter queue that is missing, once for all that wait for it', async () => {
    const world = new World();
    world.queues.delete(6);
    world.refuseDeclarations = true;
    world.open(1);
    await world.drive();
    expect(world.sent).toEqual([]);
    expect(world.told[0]).toContain('no more queues');
    world.refuseDeclarations = false;
    world.now = world.driver.nextWake;
    await world.drive();
    expect(world.declared).toEqual(['$dlq/orders']);
    expect(world.sent).toEqual([1]);
  });

  it('skips what cannot be read, with an alarm, and what goes in circles', async () => {
    const world = new World();
    world.messages.set(1, 'lost');
    world.open(1);
    const hops = { userProperties: [['_flux.hops', '16']] as const };
    world.messages.set(2, { ...message(2), properties: hops });
    world.open(2);
    world.open(3, { target: { kind: 'queues', queueIds: [77 as QueueId] } });
    world.open(4);
    await world.drive();
    expect(world.skips.toSorted()).toEqual(['1 unreadable', '2 hop-limit', '3 no-target']);
    expect(world.told).toHaveLength(3);
    expect(world.sent).toEqual([4]);
  });

  it('sends a dead letter back to where it came from, and to where it is if that is gone', async () => {
    const world = new World();
    const from = (name: string): Message => ({
      ...message(1),
      properties: { userProperties: [['_flux.dlq-queue', name]] },
    });
    world.messages.set(1, from('orders'));
    world.messages.set(2, from('deleted'));
    const back = { reason: 'moved', queueId: 6 as QueueId, target: { kind: 'source' } } as const;
    world.open(1, back);
    world.open(2, back);
    await world.drive();
    expect(world.transfers.map(({ command }) => [command.intent, command.targets])).toEqual([
      [1, [5]],
      [2, [6]],
    ]);
  });

  it('D10: takes no space while the disk is inside its reserve', async () => {
    const world = new World();
    world.inReserve = true;
    world.open(1);
    await world.drive();
    expect(world.sent).toEqual([]);
    world.inReserve = false;
    world.now = world.driver.nextWake;
    await world.drive();
    expect(world.sent).toEqual([1]);
  });
});
