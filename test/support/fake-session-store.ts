/**
 * A `SessionStore` in memory over the fake queues, with what its port promises: owners are fenced
 * by their epoch, changes are in force when they are told, a claim begins anew what was given to
 * the owner before. Answers come in later turns; a test may hold them back, or have them fail.
 */

import { randomUUID } from 'node:crypto';
import { setImmediate } from 'node:timers';

import {
  type ClaimedSession,
  type ClaimRequest,
  type ConsumerSink,
  type DueWill,
  type Offset,
  type QueueConsumer,
  type QueueId,
  type QueueInfo,
  type SessionChange,
  SessionError,
  type SessionHandle,
  type SessionLeaving,
  type SessionRefusal,
  type SessionStore,
  type SessionWill,
  type StoredSubscription,
} from '../../src/broker/ports.ts';
import { parseSharedFilter } from '../../src/protocol/mqtt/topic.ts';

/** What it needs of the queues. */
export interface SessionQueues {
  declare(name: string, topics: readonly string[], set: Partial<QueueInfo>): void;
  remove(name: string): void;
  retopic(name: string, topics: readonly string[]): void;
  complete(name: string, offset: Offset): void;
  consumeOwn(queueId: QueueId, credit: number, sink: ConsumerSink): QueueConsumer;
  readonly queues: { named(name: string): QueueInfo | undefined };
}

interface Record {
  readonly queueId: QueueId;
  ownerEpoch: number;
  incarnation: string;
  user: string;
  expirySeconds: number;
  readonly subscriptions: Map<string, StoredSubscription>;
  readonly halves: Set<Offset>;
  owner: { readonly sink: ConsumerSink; readonly consumer: QueueConsumer } | undefined;
  will: SessionWill | undefined;
  /** When it is due, in the time of `passed`; Infinity: its owner is there. */
  willAtMs: number;
}

export class FakeSessionStore implements SessionStore {
  readonly claims: ClaimRequest[] = [];
  readonly discards: string[] = [];
  readonly changes: SessionChange[] = [];
  readonly left: ({ readonly clientId: string } & SessionLeaving)[] = [];
  readonly halved: Offset[] = [];
  readonly finished: Offset[] = [];
  /** Every wish is refused so. */
  refusal: SessionRefusal | undefined;
  /** Wishes wait for it before they are done. */
  gate: Promise<void> = Promise.resolve();
  readonly #queues: SessionQueues;
  readonly #records = new Map<string, Record>();
  #publishWill: ((will: DueWill) => Promise<boolean>) | undefined;
  #wills = 0;
  #nowMs = 0;

  constructor(queues: SessionQueues) {
    this.#queues = queues;
  }

  has(clientId: string): boolean {
    return this.#records.has(clientId);
  }

  subscriptions(clientId: string): readonly StoredSubscription[] {
    return [...(this.#records.get(clientId)?.subscriptions.values() ?? [])];
  }

  publishWills(publish: (will: DueWill) => Promise<boolean>): void {
    this.#publishWill = publish;
  }

  /** So much time goes by, and wills are due. */
  passed(ms: number): void {
    this.#nowMs += ms;
    for (const record of this.#records.values()) {
      if (record.willAtMs <= this.#nowMs) this.#willIsDue(record);
    }
  }

  #willIsDue(record: Record): void {
    const { will } = record;
    record.will = undefined;
    record.willAtMs = Number.POSITIVE_INFINITY;
    if (will === undefined) return;
    const { origin, message } = will;
    this.#wills++;
    void this.#publishWill?.({ origin, message, keySession: `will/${this.#wills}` });
  }

  queueNameOf(clientId: string): string {
    return `$session/${clientId}`;
  }

  /** As the test says: by default the key was not there. */
  received: 'new' | 'known' = 'new';
  readonly receives: number[] = [];

  async receive(handle: SessionHandle, packetId: number): Promise<'new' | 'known'> {
    this.receives.push(packetId);
    await this.#turn();
    this.#owned(handle);
    return this.received;
  }

  async claim(request: ClaimRequest): Promise<ClaimedSession> {
    this.claims.push(request);
    await this.#turn();
    const { clientId, cleanStart, expirySeconds, user } = request;
    const known = this.#ofUser(clientId, user);
    if (known !== undefined) this.#cancel(known, 'taken-over');
    if (known !== undefined && (cleanStart || known.will?.delaySeconds === 0)) {
      this.#willIsDue(known);
    }
    if (known !== undefined && cleanStart) this.#remove(clientId);
    const record = this.#records.get(clientId) ?? this.#make(clientId);
    record.ownerEpoch++;
    record.user = user ?? record.user;
    record.expirySeconds = expirySeconds;
    record.will = request.will;
    record.willAtMs = Number.POSITIVE_INFINITY;
    const { queueId, ownerEpoch, incarnation, subscriptions, halves } = record;
    return {
      handle: { clientId, queueId, ownerEpoch, incarnation },
      present: known !== undefined && !cleanStart,
      subscriptions: [...subscriptions.values()],
      halves: [...halves].sort((a, b) => a - b),
    };
  }

  async discard(clientId: string, user: string | undefined): Promise<boolean> {
    this.discards.push(clientId);
    await this.#turn();
    const known = this.#ofUser(clientId, user);
    if (known !== undefined) {
      this.#cancel(known, 'taken-over');
      this.#willIsDue(known);
    }
    return this.end(clientId);
  }

  /** As an operator ends it, or its time. */
  end(clientId: string): boolean {
    const record = this.#records.get(clientId);
    if (record === undefined) return false;
    this.#cancel(record, 'queue-deleted');
    this.#remove(clientId);
    return true;
  }

  /** A PUBREC came to a former owner. */
  half(clientId: string, offset: number): void {
    this.#records.get(clientId)?.halves.add(offset as Offset);
  }

  /** Another node claims it. */
  takeOver(clientId: string): void {
    const record = this.#records.get(clientId);
    if (record === undefined) throw new Error(`no session ${clientId}`);
    record.ownerEpoch++;
    this.#cancel(record, 'taken-over');
  }

  async change(handle: SessionHandle, change: SessionChange): Promise<void> {
    this.changes.push(change);
    await this.#turn();
    const { subscriptions } = this.#owned(handle);
    for (const filter of change.unsubscribe) subscriptions.delete(filter);
    for (const subscription of change.subscribe) {
      subscriptions.set(subscription.filter, subscription);
    }
    const captured = [...subscriptions.values()].filter(isCaptured);
    const name = this.queueNameOf(handle.clientId);
    this.#queues.retopic(
      name,
      captured.map(({ filter }) => filter),
    );
  }

  async halve(handle: SessionHandle, offset: Offset): Promise<void> {
    await this.#turn();
    this.#owned(handle).halves.add(offset);
    this.halved.push(offset);
    this.#queues.complete(this.queueNameOf(handle.clientId), offset);
  }

  async finish(handle: SessionHandle, offset: Offset): Promise<void> {
    await this.#turn();
    this.#owned(handle).halves.delete(offset);
    this.finished.push(offset);
  }

  async leave(handle: SessionHandle, leaving: SessionLeaving): Promise<void> {
    await this.#turn();
    const record = this.#owned(handle);
    this.left.push({ clientId: handle.clientId, ...leaving });
    const { expirySeconds, isInPeace } = leaving;
    record.expirySeconds = expirySeconds;
    if (isInPeace) record.will = undefined;
    const delaySeconds = Math.min(record.will?.delaySeconds ?? 0, expirySeconds);
    record.willAtMs = this.#nowMs + delaySeconds * 1000;
    if (delaySeconds === 0) this.#willIsDue(record);
    if (expirySeconds === 0) this.#remove(handle.clientId);
  }

  consume(handle: SessionHandle, credit: number, sink: ConsumerSink): QueueConsumer {
    const record = this.#records.get(handle.clientId);
    if (record?.ownerEpoch !== handle.ownerEpoch) {
      setImmediate(() => sink.cancelled('taken-over', 'it has another owner'));
      return { grant: () => {}, settle: () => {}, close: () => {} };
    }
    const consumer = this.#queues.consumeOwn(handle.queueId, credit, sink);
    record.owner = { sink, consumer };
    return consumer;
  }

  #ofUser(clientId: string, user: string | undefined): Record | undefined {
    const known = this.#records.get(clientId);
    if (known === undefined || known.user === '' || (user ?? known.user) === known.user) {
      return known;
    }
    throw new SessionError('other-user', `${clientId} is that of another user`);
  }

  #make(clientId: string): Record {
    const name = this.queueNameOf(clientId);
    this.#queues.declare(name, [], { type: 'session' });
    const queueId = this.#queues.queues.named(name)?.queueId;
    if (queueId === undefined) throw new Error(`${name} was not made`);
    const record: Record = {
      queueId,
      ownerEpoch: 0,
      incarnation: randomUUID(),
      user: '',
      expirySeconds: 0,
      subscriptions: new Map(),
      halves: new Set(),
      owner: undefined,
      will: undefined,
      willAtMs: Number.POSITIVE_INFINITY,
    };
    this.#records.set(clientId, record);
    return record;
  }

  #remove(clientId: string): void {
    this.#records.delete(clientId);
    this.#queues.remove(this.queueNameOf(clientId));
  }

  #cancel(record: Record, reason: 'taken-over' | 'queue-deleted'): void {
    record.owner?.consumer.close('returned');
    record.owner?.sink.cancelled(reason, '');
    record.owner = undefined;
  }

  #owned({ clientId, ownerEpoch }: SessionHandle): Record {
    const record = this.#records.get(clientId);
    if (record?.ownerEpoch === ownerEpoch) return record;
    throw new SessionError('stale-owner', `${clientId} has another owner`);
  }

  async #turn(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
    await this.gate;
    if (this.refusal !== undefined) throw new SessionError(this.refusal, 'as the test says');
  }
}

function isCaptured({ filter, qos }: StoredSubscription): boolean {
  return qos > 0 && parseSharedFilter(filter) === undefined && !filter.startsWith('$queue/');
}
