/**
 * Durable sessions on the main thread: the port of frontends, over the clients of all shards.
 *
 * A session is a queue in one of the shards: found by its name as any queue, made where there is
 * none, and all else is asked of whoever leads its shard (session-requests.ts), which is safe to be
 * asked again of the next leader. Keeps nothing but where the keys of publishes may be.
 */

import { randomInt, randomUUID } from 'node:crypto';
import { AdminError, SessionError } from '../broker/ports.ts';
import type {
  CancelReason,
  Chosen,
  ClaimedSession,
  ClaimRequest,
  ConsumerSink,
  Delivery,
  EnqueueWaiter,
  Offset,
  QueueConsumer,
  QueueDefinition,
  QueueDirectory,
  QueueId,
  ReplayedMessage,
  ReplayStep,
  SessionChange,
  SessionHandle,
  SessionLeaving,
  SessionLimits,
  SessionReplay,
  SessionStore,
  SessionWill,
  ShareChoosing,
} from '../broker/ports.ts';
import { defaultDefinition } from '../machine/default-definition.ts';
import type { StoredWill } from '../machine/session-will-record.ts';
import type { ShardClient } from './client.ts';
import type { PlainData } from './record-codec.ts';
import { newIncarnation } from './key-names.ts';
import { sessionQueueName } from './session-name.ts';
import {
  type Claimed,
  type ClaimSessionRequest,
  type SessionRequest,
  chosenIn,
  claimedIn,
} from './session-requests.ts';
import { ShardError } from './shard-error.ts';
import { StoredMessageWriter } from './stored-message.ts';
import { type PublishWill, WillTaker } from './will-taker.ts';
import { dueWillsIn } from './will-requests.ts';
import { CodecError, WireWriter } from './wire.ts';

/** A session may end, and its queue go, between two steps so often. */
const TRIES_MAX = 8;

/** One shard, as far as sessions need it. */
export type SessionShard = Pick<ShardClient, 'admin' | 'consume' | 'consumers' | 'isClosed'>;

export interface SessionStoreParts {
  readonly queues: QueueDirectory;
  /** In which the queue is. */
  readonly shardOf: (queueId: QueueId) => SessionShard;
  /** Shards that a start went on without, and that were not reached since. */
  readonly unreached: ReadonlySet<number>;
  /** Undefined: what the directory says is the newest state. */
  readonly lookUp: ((name: string) => Promise<boolean>) | undefined;
  readonly declare: (definition: QueueDefinition) => Promise<unknown>;
  /** Sessions that there may be. */
  readonly maxSessions: number;
  /** A life of a session began elsewhere, or before: its keys may be in any shard. */
  readonly keysAreEverywhere: (incarnation: string, ownerEpoch: number) => void;
  /** One key may be in the shard of its queue. */
  readonly keyIsIn: (queueId: QueueId, key: { session: string; packetId: number }) => void;
  /** This owner is over; a later one may be of this node too. */
  readonly keysAreForgotten: (incarnation: string, ownerEpoch: number) => void;
  /** To the queue of a session alone, with the offset of the step as the tag. */
  readonly enqueue: (
    queueId: QueueId,
    replayed: Omit<ReplayedMessage, 'step'> & { readonly step: ReplayStep },
    waiter: EnqueueWaiter,
  ) => void;
  /** It has ended, or was that of a will: its keys go, in every shard. */
  readonly endKeys: (incarnation: string) => void;
}

/** What is to be emptied has no use for limits. */
const NO_LIMITS: SessionLimits = { maxMessages: 0, maxBytes: 0, overflow: 'drop-head' };
/** Attempts to choose members of shares are told apart by one of so many numbers. */
const TOKENS = 2 ** 48 - 1;
/** Of a will, at first. */
const WILL_BYTES = 256;

export class SessionsOfAll implements SessionStore {
  readonly #parts: SessionStoreParts;
  readonly #shards: SessionShard[] = [];
  readonly #takers = new Map<SessionShard, WillTaker>();
  #publishWill: PublishWill | undefined;

  constructor(parts: SessionStoreParts) {
    this.#parts = parts;
  }

  /** Each one that has a log. */
  addShard(shard: SessionShard): void {
    this.#shards.push(shard);
    if (this.#publishWill !== undefined) this.#takeFrom(shard, this.#publishWill);
  }

  publishWills(publish: PublishWill): void {
    if (this.#publishWill !== undefined) return;
    this.#publishWill = publish;
    for (const shard of this.#shards) this.#takeFrom(shard, publish);
  }

  #takeFrom(shard: SessionShard, publish: PublishWill): void {
    const taker = new WillTaker(shard, { publish, endKeys: this.#parts.endKeys });
    this.#takers.set(shard, taker);
    void taker.run();
  }

  queueNameOf(clientId: string): string {
    return sessionQueueName(clientId);
  }

  async claim(request: ClaimRequest): Promise<ClaimedSession> {
    const { clientId } = request;
    if (clientId === '' || /\p{Surrogate}/u.test(clientId)) {
      throw new SessionError('invalid', 'no session can have this client id');
    }
    const will = request.will && storedWill(request.will);
    const asked = { ...request, will, token: randomUUID() };
    const name = sessionQueueName(clientId);
    for (let tries = 0; tries < TRIES_MAX; tries++) {
      const found = await this.#find(name);
      if (found !== undefined && !request.cleanStart) this.#refuseUnreached();
      const queueId = found ?? (await this.#make(name));
      const claimed = await this.#claim(queueId, asked);
      if (claimed !== undefined) return this.#claimed({ clientId, queueId }, claimed);
    }
    throw new SessionError('unavailable', 'the session ends and begins at the same time');
  }

  async discard(clientId: string, user: string | undefined): Promise<boolean> {
    const name = sessionQueueName(clientId);
    const asked = { token: randomUUID(), cleanStart: true, user };
    for (let tries = 0; tries < TRIES_MAX; tries++) {
      const queueId = await this.#find(name);
      if (queueId === undefined) return false;
      const life = { ...asked, expirySeconds: 0, limits: NO_LIMITS, will: undefined };
      const claimed = await this.#claim(queueId, life);
      if (claimed === undefined) continue;
      const { handle } = this.#claimed({ clientId, queueId }, claimed);
      await this.leave(handle, { expirySeconds: 0, isInPeace: true });
      return true;
    }
    throw new SessionError('unavailable', 'the session ends and begins at the same time');
  }

  async change({ queueId, ownerEpoch }: SessionHandle, change: SessionChange): Promise<void> {
    const { subscribe, unsubscribe } = change;
    const of = { queueId, ownerEpoch, subscribe, unsubscribe };
    await this.#ask(queueId, { kind: 'change-session', ...of });
  }

  async moveReplays(handle: SessionHandle, replays: readonly SessionReplay[]): Promise<void> {
    const { queueId, ownerEpoch } = handle;
    await this.#ask(queueId, { kind: 'replay-session', queueId, ownerEpoch, replays });
  }

  replay(handle: SessionHandle, replayed: ReplayedMessage, waiter: EnqueueWaiter): void {
    const { queueId, ownerEpoch } = handle;
    const step = { ...replayed.step, ownerEpoch };
    this.#parts.enqueue(queueId, { ...replayed, step }, waiter);
  }

  async halve({ queueId, ownerEpoch }: SessionHandle, offset: Offset): Promise<void> {
    await this.#ask(queueId, { kind: 'halve-session', queueId, ownerEpoch, offset });
    this.#parts.shardOf(queueId).consumers.halved(queueId, offset);
  }

  async finish({ queueId, ownerEpoch }: SessionHandle, offset: Offset): Promise<void> {
    await this.#ask(queueId, { kind: 'finish-session', queueId, ownerEpoch, offset });
  }

  async receive(handle: SessionHandle, packetId: number): Promise<'new' | 'known'> {
    const { queueId, ownerEpoch, incarnation: session } = handle;
    this.#parts.keyIsIn(queueId, { session, packetId });
    const request = { kind: 'receive-session', queueId, ownerEpoch, packetId } as const;
    return (await this.#ask(queueId, request)) === true ? 'new' : 'known';
  }

  async choose(handle: SessionHandle, { packetId, ...asked }: ShareChoosing): Promise<Chosen> {
    const { queueId, ownerEpoch, incarnation: session } = handle;
    this.#parts.keyIsIn(queueId, { session, packetId });
    const of = { queueId, ownerEpoch, packetId, token: randomInt(TOKENS), ...asked };
    return chosenIn(await this.#ask(queueId, { kind: 'choose-session', ...of }));
  }

  async leave(handle: SessionHandle, leaving: SessionLeaving): Promise<void> {
    const { queueId, ownerEpoch, incarnation } = handle;
    this.#parts.keysAreForgotten(incarnation, ownerEpoch);
    const of = { queueId, ownerEpoch, ...leaving };
    const due = dueWillsIn(await this.#ask(queueId, { kind: 'leave-session', ...of }));
    if (due.length > 0) void this.#takers.get(this.#parts.shardOf(queueId))?.publish(due);
  }

  consume(handle: SessionHandle, credit: number, sink: ConsumerSink): QueueConsumer {
    const { queueId, clientId, ownerEpoch, incarnation } = handle;
    const over = (): void => this.#parts.keysAreForgotten(incarnation, ownerEpoch);
    const owner = new OwnerSink(sink, over);
    const of = { queueId, clientId, ownerEpoch, credit };
    const plain = { group: undefined, filter: '', start: undefined, manual: false };
    return this.#parts.shardOf(queueId).consume({ ...of, ...plain }, owner);
  }

  /**
   * A session that goes on may have keys in any shard, and a key that is not released there would
   * take a new message with its packet id for an old one.
   */
  #refuseUnreached(): void {
    const [unreached] = this.#parts.unreached;
    if (unreached === undefined) return;
    const words = `shard ${unreached} may have to do with the session: no leader of it is reached`;
    throw new SessionError('unavailable', words);
  }

  /** Undefined: there is none. */
  async #find(name: string): Promise<QueueId | undefined> {
    const { queues, lookUp } = this.#parts;
    const there = queues.named(name);
    if (there !== undefined || lookUp === undefined) return there?.queueId;
    if (await lookUp(name)) return queues.named(name)?.queueId;
    const words = 'whether there is a session is not known: no leader is reached';
    throw new SessionError('unavailable', words);
  }

  async #make(name: string): Promise<QueueId> {
    const { queues, declare, maxSessions } = this.#parts;
    if (queues.sessionCount >= maxSessions) {
      throw new SessionError('too-many-sessions', `there are ${maxSessions} sessions`);
    }
    await orSessionError(declare(defaultDefinition(name, 'session')));
    const made = queues.named(name);
    // Gone again already: who asks looks again.
    return made?.queueId ?? (0 as QueueId);
  }

  /** Undefined: the queue is gone. */
  async #claim(
    queueId: QueueId,
    asked: Omit<ClaimSessionRequest, 'kind' | 'queueId' | 'incarnation'>,
  ): Promise<Claimed | undefined> {
    const incarnation = newIncarnation(queueId);
    const { token, user, cleanStart, expirySeconds, limits, will } = asked;
    const life = { token, incarnation, user, cleanStart, expirySeconds, limits, will };
    try {
      const shard = this.#parts.shardOf(queueId);
      return claimedIn(await shard.admin.ask({ kind: 'claim-session', queueId, ...life }));
    } catch (error) {
      if (error instanceof AdminError && error.code === 'no-queue') return undefined;
      throw sessionErrorOf(error);
    }
  }

  #claimed(of: Pick<SessionHandle, 'clientId' | 'queueId'>, claimed: Claimed): ClaimedSession {
    const { ownerEpoch, present, incarnation, before, subscriptions, halves } = claimed;
    if (present) this.#parts.keysAreEverywhere(incarnation, ownerEpoch);
    if (before !== '') this.#parts.endKeys(before);
    return { handle: { ...of, ownerEpoch, incarnation }, present, subscriptions, halves };
  }

  #ask(queueId: QueueId, request: SessionRequest): Promise<PlainData> {
    return orSessionError(this.#parts.shardOf(queueId).admin.ask(request));
  }
}

/** Hears for the store that the session is another owner's. */
class OwnerSink implements ConsumerSink {
  readonly #sink: ConsumerSink;
  readonly #over: () => void;

  constructor(sink: ConsumerSink, over: () => void) {
    this.#sink = sink;
    this.#over = over;
  }

  attached(groupName: string): void {
    this.#sink.attached(groupName);
  }

  delivered(delivery: Delivery): void {
    this.#sink.delivered(delivery);
  }

  batchEnd(): void {
    this.#sink.batchEnd();
  }

  ended(offset: Offset, deliveryNumber: number): void {
    this.#sink.ended(offset, deliveryNumber);
  }

  cancelled(reason: CancelReason, detail: string): void {
    this.#over();
    this.#sink.cancelled(reason, detail);
  }
}

function storedWill({ origin, message, delaySeconds }: SessionWill): StoredWill {
  const writer = new WireWriter(WILL_BYTES);
  if (!new StoredMessageWriter().write(writer, message, origin)) {
    throw new SessionError('invalid', 'the topic of the will, or the client id, is too long');
  }
  return { delaySeconds, message: writer.take() };
}

async function orSessionError<T>(asked: Promise<T>): Promise<T> {
  try {
    return await asked;
  } catch (error) {
    throw sessionErrorOf(error);
  }
}

/** What a shard says, or says wrong, as the port tells it. */
function sessionErrorOf(error: unknown): unknown {
  if (error instanceof SessionError) return error;
  for (const kind of [AdminError, ShardError, CodecError]) {
    if (error instanceof kind) return new SessionError('unavailable', error.message);
  }
  return error;
}
