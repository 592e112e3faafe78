/**
 * A `SessionStore` in memory over the fake queues, with what its port promises: owners are fenced
 * by their epoch, changes are in force when they are told, a claim begins anew what was given to
 * the owner before. Answers come in later turns; a test may hold them back, or have them fail.
 */

import { randomUUID } from 'node:crypto';
import { setImmediate } from 'node:timers';

import {
  type Chosen,
  type ClaimedSession,
  type ClaimRequest,
  type Committed,
  type ConsumerSink,
  type DueWill,
  type EnqueueRefusal,
  type EnqueueWaiter,
  type Offset,
  type Origin,
  type QueueConsumer,
  type QueueId,
  type QueueInfo,
  type ReplayedMessage,
  type SessionChange,
  SessionError,
  type SessionHandle,
  type SessionLeaving,
  type SessionRefusal,
  type SessionReplay,
  type SessionStore,
  type SessionWill,
  type ShareChoosing,
  type StoredReplay,
  type StoredSubscription,
} from '../../src/broker/ports.ts';
import type { Message } from '../../src/broker/message.ts';
import { sameTopics } from '../../src/machine/definitions.ts';
import { NEVER_ENDS, SessionRecord } from '../../src/machine/session-record.ts';
import { sessionPatterns } from '../../src/machine/session-patterns.ts';
import { KeptChoices } from '../../src/machine/share-choices.ts';

/** What it needs of the queues. */
export interface SessionQueues {
  declare(name: string, topics: readonly string[], set: Partial<QueueInfo>): void;
  remove(name: string): void;
  retopic(name: string, topics: readonly string[]): void;
  complete(name: string, offset: Offset): void;
  append(queueId: QueueId, message: Message, origin: Origin): void;
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
  isLeft: boolean;
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
  readonly moved: SessionReplay[] = [];
  /** Offsets of retained messages that were stored. */
  readonly replayed: number[] = [];
  /** Where replays end is not taken. */
  refuseMoves = false;
  /** What becomes of a step in its turn. */
  replayOutcome: (step: ReplayedMessage['step']) => 'committed' | EnqueueRefusal = () =>
    'committed';
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

  readonly chosen: ShareChoosing[] = [];
  readonly #choices = new Map<string, KeptChoices>();

  async choose(handle: SessionHandle, choosing: ShareChoosing): Promise<Chosen> {
    this.chosen.push(choosing);
    await this.#turn();
    this.#owned(handle);
    const kept = this.#choices.get(handle.incarnation) ?? new KeptChoices();
    this.#choices.set(handle.incarnation, kept);
    const token = this.chosen.length;
    const chosen = kept.choose(choosing.packetId, { token, ...choosing });
    if (chosen === undefined) throw new SessionError('unavailable', 'too many choices');
    return chosen;
  }

  /** The key of a publish is gone. */
  released({ session, packetId }: { readonly session: string; readonly packetId: number }): void {
    this.#choices.get(session)?.delete(packetId);
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
    record.isLeft = false;
    this.#retopic(clientId, record);
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
    const record = this.#owned(handle);
    const { subscriptions } = record;
    for (const filter of change.unsubscribe) subscriptions.delete(filter);
    for (const subscription of change.subscribe) {
      const before = subscriptions.get(subscription.filter);
      const { replay = before?.replay, ...others } = subscription;
      const isOwed = replay !== undefined && subscription.qos > 0;
      subscriptions.set(subscription.filter, isOwed ? { ...others, replay } : others);
    }
    this.#retopic(handle.clientId, record);
  }

  /** As the machine has its queue defined. */
  #retopic(clientId: string, { subscriptions, isLeft }: Record): void {
    const stored = new SessionRecord();
    stored.subscriptions = [...subscriptions.values()];
    stored.endsAt = isLeft ? NEVER_ENDS : 0;
    const topics = sessionPatterns(stored, 0);
    const name = this.queueNameOf(clientId);
    if (sameTopics(this.#queues.queues.named(name)?.topics ?? [], topics)) return;
    this.#queues.retopic(name, topics);
  }

  async moveReplays(handle: SessionHandle, replays: readonly SessionReplay[]): Promise<void> {
    this.moved.push(...replays);
    await this.#turn();
    if (this.refuseMoves) throw new SessionError('unavailable', 'as the test says');
    const { subscriptions } = this.#owned(handle);
    for (const { filter, run, next, end } of replays) {
      const { replay, ...of } = subscriptions.get(filter) ?? {};
      if (replay?.run !== run) continue;
      this.#moved(subscriptions, of as StoredSubscription, {
        run,
        next: Math.max(next, replay.next),
        end: replay.end === 0 ? end : replay.end,
      });
    }
  }

  #moved(
    subscriptions: Map<string, StoredSubscription>,
    of: StoredSubscription,
    replay: StoredReplay,
  ): void {
    const { replay: _before, ...others } = of;
    const isDone = replay.next >= replay.end;
    subscriptions.set(of.filter, isDone ? others : { ...others, replay });
  }

  replay(handle: SessionHandle, replayed: ReplayedMessage, waiter: EnqueueWaiter): void {
    const { step, message, origin } = replayed;
    const record = this.#records.get(handle.clientId);
    const isOwner = record?.ownerEpoch === handle.ownerEpoch;
    const all = [...(record?.subscriptions.values() ?? [])];
    const of = all.find(({ replay }) => replay?.run === step.run);
    const outcome = this.#outcomeOf(isOwner ? of?.replay : undefined, step);
    if (outcome === 'committed' && record !== undefined && of?.replay !== undefined) {
      const { replay } = of;
      if (step.at >= replay.next) {
        this.#moved(record.subscriptions, of, { ...replay, next: step.next });
        this.#queues.append(handle.queueId, message, origin);
        this.replayed.push(step.at);
      }
    }
    setImmediate(() => {
      waiter.enqueued(step.at, outcome === 'committed' ? (1 as Committed) : outcome);
    });
  }

  #outcomeOf(replay: StoredReplay | undefined, step: ReplayedMessage['step']) {
    if (replay === undefined) return 'stale-owner';
    if (step.from > replay.next || step.at >= replay.end) return 'queue-full';
    return this.replayOutcome(step);
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
    record.isLeft = true;
    this.#retopic(handle.clientId, record);
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
      isLeft: false,
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
