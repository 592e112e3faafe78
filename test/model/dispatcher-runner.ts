/**
 * A dispatcher over a real machine, with clients that do anything at any time, and what must hold
 * whatever they do:
 *
 * - a consumer hears `attached` once before its first delivery, or `cancelled`; nothing follows its
 *   end
 * - nothing is delivered that is settled in its group, has expired, or is not for its filter; nor
 *   to two at once; nor beyond a consumer's credit
 * - who asks for a settlement hears once, and with `done` only when the machine has it
 */

import { expect } from 'vitest';
import type { Command, Position, SettleOutcome } from '../../src/machine/command.ts';
import { DEFAULT_LIMITS, type QueueLimits, type QueueType } from '../../src/machine/definitions.ts';
import { Effects } from '../../src/machine/effect.ts';
import { filterTakes } from '../../src/machine/filters.ts';
import type { GroupId, LogIndex, Offset, QueueId } from '../../src/machine/ids.ts';
import { SETTLED_CHUNK } from '../../src/machine/settled-ranges.ts';
import { Alarms } from '../../src/shard/alarms.ts';
import { Dispatcher } from '../../src/shard/dispatcher.ts';
import type { DeliveryHeader, DispatcherOptions, SettleAsk } from '../../src/shard/dispatcher.ts';
import { StoredMessageWriter } from '../../src/shard/stored-message.ts';
import { WireWriter } from '../../src/shard/wire.ts';
import { MachineDriver, type SeenEffect, Sender } from '../machine/machine-driver.ts';

export const VISIBILITY = 1_000;
const TERM = 4;

interface Published {
  readonly bytes: Uint8Array;
  readonly topic: string;
  readonly expiresAt: number;
}

interface Client {
  readonly id: number;
  group: { groupId: GroupId; name: string } | undefined;
  isOver: boolean;
  granted: number;
  delivered: number;
}

interface Hold {
  readonly consumer: number;
  readonly groupId: GroupId;
  readonly offset: Offset;
  readonly deliveryNumber: number;
  /** When another one may have it. */
  until: number;
}

export class DispatcherRunner {
  readonly driver = new MachineDriver();
  readonly queueId: QueueId;
  readonly type: QueueType;
  readonly sender: Sender;
  readonly dispatcher: Dispatcher;
  readonly clients = new Map<number, Client>();
  readonly messages: Published[] = [];
  readonly lost = new Set<number>();
  /** What has been delivered, the newest last, and who holds what now. */
  readonly deliveries: Hold[] = [];
  readonly holds = new Map<string, Hold>();
  readonly asked = new Map<number, SettleAsk>();
  readonly answered = new Map<string, number>();
  readonly #proposals: Command[] = [];
  readonly #effects = new Effects();
  #nextClient = 1;
  #nextTag = 1;
  open = true;
  failure: Error | undefined;

  constructor(type: QueueType, limits: Partial<QueueLimits>) {
    this.type = type;
    const bounds = {
      ...DEFAULT_LIMITS,
      retry: { minMs: 50, maxMs: 400, multiplier: 2, jitter: 0 },
      visibilityTimeoutMs: VISIBILITY,
      maxUnsettledSpan: 30,
      deliveryLimit: 4,
      maxGroups: 6,
      groupExpiresMs: 1_000,
      ...limits,
    };
    this.queueId = this.driver.declare('orders', bounds, type);
    this.sender = new Sender(this.driver);
    this.dispatcher = new Dispatcher(this.#options());
  }

  get now(): number {
    return this.driver.now;
  }

  // What clients do.

  publish(topic: string, more: { expirySeconds?: number | undefined; priority: number }): void {
    const { expirySeconds, priority } = more;
    const ttlMs = expirySeconds === undefined ? 0 : expirySeconds * 1_000;
    const options = { ttlMs, priority, delayMs: 0, producer: undefined, key: undefined };
    const effects = this.sender.send([this.queueId], 100, { topic, options });
    this.sender.answeredUpTo = this.sender.number;
    if (!effects.some(({ kind }) => kind === 'enqueued')) return;
    this.messages.push({
      bytes: this.#store(topic, expirySeconds),
      topic,
      expiresAt: ttlMs === 0 ? Infinity : this.now + ttlMs,
    });
    this.tell(effects);
  }

  attach(request: {
    group: string | undefined;
    filter: string;
    start: Position | undefined;
    credit: number;
    manual: boolean;
    clientId: string;
  }): void {
    const id = this.#nextClient++;
    const { credit } = request;
    this.clients.set(id, { id, group: undefined, isOver: false, granted: credit, delivered: 0 });
    this.dispatcher.attach(id, { queueId: this.queueId, ...request });
  }

  grant(client: Client, credit: number): void {
    client.granted += credit;
    this.dispatcher.grant(client.id, credit);
  }

  close(client: Client, how: 'lost' | 'returned'): void {
    client.isOver = true;
    for (const hold of this.holds.values()) {
      if (hold.consumer === client.id) this.#letGo(hold);
    }
    this.dispatcher.close(client.id, how);
  }

  settle(hold: Hold, outcome: SettleOutcome): void {
    const { groupId, offset, deliveryNumber, consumer } = hold;
    const { queueId } = this;
    const isOver = this.clients.get(consumer)?.isOver === true;
    if (isOver && outcome !== 'complete') return;
    if (outcome === 'complete' || !this.#isStreamNack(outcome)) this.#letGo(hold);
    if (outcome === 'complete') this.holds.delete(`${groupId}:${offset}`);
    this.dispatcher.settle({ queueId, groupId, offset, term: TERM, deliveryNumber, outcome });
  }

  ask(group: string, hold: Hold, outcome: SettleAsk['outcome']): void {
    const { offset, deliveryNumber, groupId } = hold;
    const tag = this.#nextTag++;
    const { queueId } = this;
    const ask: SettleAsk = { tag, queueId, group, offset, term: TERM, deliveryNumber, outcome };
    this.asked.set(tag, ask);
    if (outcome === 'complete' || outcome === 'commit') {
      // It may be of another group than the delivery.
      for (const each of this.holds.values()) if (each.offset <= offset) each.until = -1;
    } else if (outcome === 'extend') {
      const held = this.holds.get(`${groupId}:${offset}`);
      if (held !== undefined) held.until = -1;
    } else if (!this.#isStreamNack(outcome)) this.#letGo(hold);
    this.dispatcher.ask(ask);
  }

  /** An operator, or a timer of the machine. */
  run(command: Command): void {
    this.holds.clear();
    this.tell(this.driver.run(command));
  }

  // Time.

  serve(): void {
    while (this.dispatcher.serve(1, () => 0));
  }

  applyNext(): boolean {
    const command = this.#proposals.shift();
    if (command === undefined) return false;
    if (command.kind === 'seek-group') this.holds.clear();
    this.tell(this.driver.run(command));
    return true;
  }

  fireTimers(): void {
    for (let left = 50; left > 0 && this.driver.machine.nextTimer() <= this.now; left--) {
      this.tell(this.driver.run({ kind: 'fire-timers', max: 64 }));
    }
  }

  /** Until nothing moves any more at this time. */
  async rest(): Promise<void> {
    for (let quiet = 0; quiet < 3;) {
      const before = this.deliveries.length;
      this.serve();
      let applied = false;
      while (this.applyNext()) applied = true;
      for (let turn = 0; turn < 4; turn++) await Promise.resolve();
      quiet = applied || this.deliveries.length > before ? 0 : quiet + 1;
    }
    if (this.failure !== undefined) throw this.failure;
  }

  tell(effects: readonly SeenEffect[]): void {
    const columns = this.#effects;
    columns.clear();
    for (const effect of effects) this.#add(effect);
    for (let at = 0; at < columns.length; at++) {
      const effect = effects[at] as SeenEffect;
      if (effect.kind === 'enqueued') {
        this.dispatcher.enqueued(this.queueId, effect.offset as Offset, effect.priority);
      } else if (effect.kind === 'settled') this.dispatcher.settled(columns, at);
      else if (effect.kind === 'ranged') this.dispatcher.ranged(columns, at);
      else if (effect.kind === 'requeued') this.dispatcher.requeued(columns, at);
      else if (effect.kind !== 'confirmed') this.dispatcher.rare(effect);
    }
  }

  isSettled(groupId: GroupId, offset: number): boolean {
    if (!this.driver.groups(this.queueId).some((group) => group.groupId === groupId)) return true;
    const { floor, settled } = this.driver.dispatchStart(this.queueId, groupId);
    const bits = settled.get(Math.floor(offset / SETTLED_CHUNK));
    return offset < floor || bits?.has(offset % SETTLED_CHUNK) === true;
  }

  #isStreamNack(outcome: SettleAsk['outcome']): boolean {
    return outcome === 'requeue' && this.type === 'stream';
  }

  #letGo(hold: Hold): void {
    const key = `${hold.groupId}:${hold.offset}`;
    if (this.holds.get(key)?.deliveryNumber === hold.deliveryNumber) this.holds.delete(key);
  }

  /** One column entry for each effect, at its place. */
  #add(effect: SeenEffect): void {
    const columns = this.#effects;
    const { queueId } = this;
    switch (effect.kind) {
      case 'settled': {
        const at = columns.addSettled(queueId, effect.groupId, effect.offset);
        columns.finishSettled(at, effect.floor, effect.discarded);
        break;
      }
      case 'ranged': {
        const at = columns.addRanged(queueId, effect.groupId, effect);
        columns.finishRanged(at, effect.floor);
        break;
      }
      case 'requeued': {
        const at = columns.addRequeued(queueId, effect.groupId, effect.offset);
        columns.finishRequeued(at, effect.attempts, effect.notBefore);
        break;
      }
      default:
        columns.addEnqueued(queueId, 0, 0);
    }
  }

  #options(): DispatcherOptions {
    const { driver } = this;
    const isOpen = (): boolean => this.open;
    const later = async (answer: () => void): Promise<void> => {
      await Promise.resolve();
      answer();
    };
    return {
      term: TERM,
      marks: { inheritedThrough: 0, seenBelow: new Map() },
      payloads: this.#payloads(),
      proposals: {
        settle: ({ queueId, groupId }, offset, { outcome, cause }) => {
          this.#proposals.push({ kind: 'settle', queueId, groupId, offset, outcome, cause });
          return true;
        },
        plain: (command) => this.#proposals.push(command) > 0,
      },
      output: {
        attached: (consumer, { groupId, name }) => this.#attached(consumer, { groupId, name }),
        deliver: (header) => this.#delivered(header),
        ended: () => undefined,
        cancelled: (consumer) => this.#cancelled(consumer),
        settled: (tag, answer) => this.#answered(tag, answer),
        get open() {
          return isOpen();
        },
        takes: isOpen,
      },
      holdsBack: () => false,
      alarms: new Alarms(
        { warn: () => undefined, error: () => undefined },
        { nameOf: () => 'orders', lostGroups: () => [] },
      ),
      now: () => this.now,
      definition: (queueId) => driver.machine.definition(queueId),
      goneBelow: () => 0 as Offset,
      groupNamed: (queueId, name, found) =>
        later(() => {
          driver.groups(queueId);
          found(driver.machine.groupNamed(queueId, name));
        }),
      start: ({ queueId, groupId }, began) =>
        later(() => {
          const isThere = driver.groups(queueId).some((group) => group.groupId === groupId);
          began(isThere ? driver.dispatchStart(queueId, groupId) : undefined);
        }),
      wake: () => undefined,
      failed: (error) => void (this.failure ??= error as Error),
    };
  }

  #payloads(): DispatcherOptions['payloads'] {
    const stored = { bytes: new Uint8Array(0), start: 0, end: 0, index: 1 as LogIndex };
    return {
      lostDetail: 'damaged',
      lostIsGone: false,
      get: (_queueId, offset) => {
        if (this.lost.has(offset)) return 'lost';
        const { bytes } = this.messages[offset] as Published;
        return Object.assign(stored, { bytes, end: bytes.length });
      },
      fetch: async () => ({ kind: 'ready' }),
    };
  }

  #attached(id: number, group: { groupId: GroupId; name: string }): void {
    const client = this.clients.get(id) as Client;
    expect([client.isOver, client.group]).toEqual([false, undefined]);
    client.group = group;
  }

  #cancelled(id: number): void {
    const client = this.clients.get(id) as Client;
    expect(client.isOver).toBe(false);
    client.isOver = true;
    for (const hold of this.holds.values()) if (hold.consumer === id) this.#letGo(hold);
  }

  #delivered({ consumer, offset, deliveryNumber }: DeliveryHeader): void {
    const client = this.clients.get(consumer) as Client;
    const { group } = client;
    if (group === undefined || client.isOver) throw new Error('delivered to nobody');
    client.delivered += 1;
    expect(client.delivered).toBeLessThanOrEqual(client.granted);
    const { groupId, name } = group;
    const { topic, expiresAt } = this.messages[offset] as Published;
    expect(expiresAt).toBeGreaterThan(this.now);
    expect(this.isSettled(groupId, offset)).toBe(false);
    const filter = name.includes('@') ? name.slice(name.indexOf('@') + 1) : '';
    expect(filterTakes(filter, 'orders', topic)).toBe(true);
    const key = `${groupId}:${offset}`;
    expect(this.holds.get(key)?.until ?? 0).toBeLessThanOrEqual(this.now);
    const until = this.now + VISIBILITY;
    const hold = { consumer, groupId, offset, deliveryNumber, until };
    this.holds.set(key, hold);
    this.deliveries.push(hold);
  }

  #answered(tag: number, answer: string): void {
    const ask = this.asked.get(tag);
    if (ask === undefined) throw new Error('answered twice, or not asked');
    this.asked.delete(tag);
    this.answered.set(answer, (this.answered.get(answer) ?? 0) + 1);
    if (ask.outcome !== 'complete' || (answer !== 'done' && answer !== 'already')) return;
    const group = this.driver.groups(this.queueId).find(({ name }) => name === ask.group);
    if (group !== undefined) expect(this.isSettled(group.groupId, ask.offset)).toBe(true);
  }

  #store(topic: string, expirySeconds: number | undefined): Uint8Array {
    const writer = new WireWriter(128);
    const stored = new StoredMessageWriter();
    stored.publishedAtMs = this.now;
    const properties = expirySeconds === undefined ? undefined : { expirySeconds };
    const message = {
      topic,
      payload: Buffer.from('x'),
      qos: 1,
      retain: false,
      properties,
    } as const;
    stored.write(writer, message, { clientId: 'c', protocol: 'mqtt' });
    return writer.written().slice();
  }
}
