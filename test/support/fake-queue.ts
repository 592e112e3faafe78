/** One queue of the fake client: its messages, groups, members, and who holds what. */

import type { Message } from '../../src/broker/message.ts';
import type {
  ConsumeRequest,
  ConsumerSink,
  Offset,
  Origin,
  Position,
  QueueConsumer,
  QueueInfo,
  SettleAnswer,
  SettleOutcome,
  SettleRequest,
} from '../../src/broker/ports.ts';

export interface Stored {
  readonly offset: Offset;
  readonly message: Message;
  readonly origin: Origin;
  readonly publishedAtMs: number;
}

/** A message as a group has it. */
export interface FakeMessage extends Stored {
  attempt: number;
  redelivered: boolean;
}

export class FakeGroup {
  readonly name: string;
  readonly filter: string;
  readonly ready: FakeMessage[] = [];
  readonly consumers: FakeConsumer[] = [];
  readonly settled = new Set<number>();
  turn = 0;

  constructor(name: string, filter: string) {
    this.name = name;
    this.filter = filter;
  }

  offer(stored: Stored, queueName: string): void {
    if (this.settled.has(stored.offset)) return;
    if (matches(this.filter, routingKey(stored.message.topic, queueName))) {
      this.ready.push({ ...stored, attempt: 1, redelivered: false });
    } else {
      this.settled.add(stored.offset);
    }
  }

  /** What it holds everywhere goes: it begins at another place. */
  seek(from: number, messages: readonly Stored[], queueName: string): void {
    this.ready.length = 0;
    this.settled.clear();
    for (const consumer of this.consumers) consumer.forget();
    for (const stored of messages) {
      if (stored.offset < from) this.settled.add(stored.offset);
      else this.offer(stored, queueName);
    }
  }
}

interface Hooks {
  settled(offset: number, outcome: SettleOutcome): void;
  closed(how: 'lost' | 'returned'): void;
  dispatch(): void;
}

export class FakeConsumer implements QueueConsumer {
  readonly held = new Map<number, { message: FakeMessage; number: number }>();
  readonly queue: FakeQueue;
  readonly request: ConsumeRequest;
  readonly sink: ConsumerSink;
  readonly #hooks: Hooks;
  group: FakeGroup | undefined;
  credit: number;
  closed: 'lost' | 'returned' | undefined;

  constructor(
    queue: FakeQueue,
    parts: { readonly request: ConsumeRequest; readonly sink: ConsumerSink; readonly hooks: Hooks },
  ) {
    this.queue = queue;
    this.request = parts.request;
    this.sink = parts.sink;
    this.#hooks = parts.hooks;
    this.credit = parts.request.credit;
  }

  join(): void {
    this.group = this.queue.groupFor(this.request);
    this.group.consumers.push(this);
    this.sink.attached(this.group.name);
  }

  leave(): void {
    const members = this.group?.consumers ?? [];
    const at = members.indexOf(this);
    if (at >= 0) members.splice(at, 1);
  }

  grant(deliveries: number): void {
    this.credit += deliveries;
    this.#hooks.dispatch();
  }

  settle(offset: Offset, _term: number, deliveryNumber: number, outcome: SettleOutcome): void {
    this.#hooks.settled(offset, outcome);
    const current = this.held.get(offset)?.number === deliveryNumber;
    if (current && outcome !== 'complete') this.end(offset, outcome);
    // Also when it comes late.
    if (outcome === 'complete' && this.group !== undefined) this.queue.complete(this.group, offset);
    this.#hooks.dispatch();
  }

  /** A delivery that it holds is over. */
  end(offset: number, outcome: SettleOutcome): void {
    const held = this.held.get(offset);
    if (held === undefined) return;
    this.held.delete(offset);
    if (outcome === 'requeue') this.#back(held.message, 1);
    else this.group?.settled.add(offset);
    if (this.request.manual) this.sink.ended(held.message.offset, held.number);
  }

  forget(): void {
    for (const { message, number } of this.held.values()) {
      if (this.request.manual) this.sink.ended(message.offset, number);
    }
    this.held.clear();
  }

  expire(): void {
    for (const offset of this.held.keys()) this.end(offset, 'requeue');
  }

  close(how: 'lost' | 'returned'): void {
    if (this.closed !== undefined) return;
    this.closed = how;
    this.leave();
    this.#hooks.closed(how);
    for (const { message } of [...this.held.values()].reverse()) {
      this.#back(message, how === 'lost' ? 1 : 0);
    }
    this.held.clear();
    this.#hooks.dispatch();
  }

  #back(message: FakeMessage, attempts: number): void {
    message.attempt += attempts;
    message.redelivered = true;
    this.group?.ready.unshift(message);
  }
}

export class FakeQueue {
  /** What is appended was published so long ago. */
  olderMs = 0;
  info: QueueInfo;
  readonly groups = new Map<string, FakeGroup>();
  readonly #messages: Stored[] = [];

  constructor(info: QueueInfo) {
    this.info = info;
    if (info.defaultGroup === 'shared') this.groups.set('default', new FakeGroup('default', ''));
  }

  append(message: Message, origin: Origin): void {
    const offset = this.#messages.length as Offset;
    const stored = { offset, message, origin, publishedAtMs: Date.now() - this.olderMs };
    this.#messages.push(stored);
    for (const group of this.groups.values()) group.offer(stored, this.info.name);
  }

  /** Everything that was ever appended. */
  get messages(): readonly Stored[] {
    return this.#messages;
  }

  group(name: string): FakeGroup {
    const group = this.groups.get(name);
    if (group === undefined) throw new Error(`no group ${name} of ${this.info.name}`);
    return group;
  }

  consumer(request: ConsumeRequest, sink: ConsumerSink, hooks: Hooks): FakeConsumer {
    return new FakeConsumer(this, { request, sink, hooks });
  }

  /** The group that a consumer asks for, made if it is missing, sought if it says where. */
  groupFor({ group, clientId, filter, start }: ConsumeRequest): FakeGroup {
    const { defaultGroup, name: queueName, type } = this.info;
    const own = defaultGroup === 'shared' ? 'default' : clientId.split('-', 1)[0];
    const base = group ?? own ?? clientId;
    const name = filter === '' || filter === '#' ? base : `${base}@${filter}`;
    const known = this.groups.get(name);
    if (known !== undefined) {
      if (start !== undefined) known.seek(this.#place(start), this.#messages, queueName);
      return known;
    }
    const made = new FakeGroup(name, filter);
    if (type !== 'stream') {
      const others = [...this.groups.values()];
      for (const { offset } of this.#messages) {
        if (others.length > 0 && others.every(({ settled }) => settled.has(offset))) {
          made.settled.add(offset);
        }
      }
    }
    const from = this.#place(start ?? { kind: type === 'stream' ? 'next' : 'first' });
    for (const stored of this.#messages) {
      if (stored.offset < from) made.settled.add(stored.offset);
      else made.offer(stored, queueName);
    }
    this.groups.set(name, made);
    return made;
  }

  #place(position: Position): number {
    const next = this.#messages.length;
    switch (position.kind) {
      case 'first':
        return 0;
      case 'last':
        return Math.max(0, next - 1);
      case 'next':
        return next;
      case 'offset':
        return position.offset;
      case 'time': {
        const found = this.#messages.find(({ publishedAtMs }) => publishedAtMs >= position.ms);
        return found?.offset ?? next;
      }
    }
  }

  settle(request: SettleRequest): SettleAnswer {
    const { offset, deliveryNumber, outcome } = request;
    const group = this.groups.get(request.group);
    if (group === undefined) return 'no-group';
    if (outcome === 'commit') {
      for (let each = 0; each <= offset; each++) this.complete(group, each);
      return 'done';
    }
    if (group.settled.has(offset)) return 'already';
    if (offset >= this.#messages.length) return 'stale';
    if (outcome === 'complete') {
      this.complete(group, offset);
      return 'done';
    }
    const holder = group.consumers.find(({ held }) => held.get(offset)?.number === deliveryNumber);
    if (holder === undefined) return 'stale';
    if (outcome !== 'extend') holder.end(offset, outcome);
    return 'done';
  }

  complete(group: FakeGroup, offset: number): void {
    for (const consumer of group.consumers) consumer.end(offset, 'complete');
    group.settled.add(offset);
    const at = group.ready.findIndex((message) => message.offset === offset);
    if (at >= 0) group.ready.splice(at, 1);
  }

  /** Round robin over the members with credit. */
  dispatch(nextNumber: () => number): void {
    const touched = new Set<FakeConsumer>();
    for (const group of this.groups.values()) {
      for (;;) {
        const consumer = group.ready.length > 0 ? nextMember(group) : undefined;
        const message = consumer === undefined ? undefined : group.ready.shift();
        if (consumer === undefined || message === undefined) break;
        this.#deliver(consumer, { message, number: nextNumber() });
        touched.add(consumer);
      }
    }
    for (const consumer of touched) consumer.sink.batchEnd();
  }

  #deliver(consumer: FakeConsumer, held: { message: FakeMessage; number: number }): void {
    const { message, number } = held;
    consumer.credit--;
    consumer.held.set(message.offset, held);
    // A view that is wrong after the call, as that of a receive buffer would be.
    const payload = new Uint8Array(message.message.payload);
    consumer.sink.delivered({
      queueId: this.info.queueId,
      queueName: this.info.name,
      groupName: consumer.group?.name ?? '',
      offset: message.offset,
      term: 1,
      deliveryNumber: number,
      attempt: message.attempt,
      redelivered: message.redelivered,
      origin: message.origin,
      publishedAtMs: message.publishedAtMs,
      message: { ...message.message, payload },
    });
    payload.fill(0xee);
  }
}

function nextMember(group: FakeGroup): FakeConsumer | undefined {
  const count = group.consumers.length;
  for (let step = 0; step < count; step++) {
    const consumer = group.consumers[(group.turn + step) % count];
    if (consumer === undefined || consumer.credit === 0) continue;
    group.turn = (group.turn + step + 1) % count;
    return consumer;
  }
  return undefined;
}

/** What follows the queue's name in the topic; the whole topic of a captured message. */
function routingKey(topic: string, queueName: string): string {
  const own = `$queue/${queueName}`;
  if (topic === own) return '';
  if (topic.startsWith(`${own}/`)) return topic.slice(own.length + 1);
  return topic.startsWith('$queue/') ? topic.split('/').slice(2).join('/') : topic;
}

function matches(filter: string, key: string): boolean {
  if (filter === '' || filter === '#') return true;
  const wanted = filter.split('/');
  const levels = key.split('/');
  for (const [at, level] of wanted.entries()) {
    if (level === '#') return true;
    if (at >= levels.length || (level !== '+' && level !== levels[at])) return false;
  }
  return wanted.length === levels.length;
}
