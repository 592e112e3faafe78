/**
 * Durable sessions as one would write them without caring for memory: all of them in a map, with a
 * map of subscriptions and a set of halves.
 */

import { expect } from 'vitest';
import type { EnqueueCommand, ReplayStep } from '../../src/machine/command.ts';
import type { Outcome, RareEffect } from '../../src/machine/effect.ts';
import type { Offset, QueueId } from '../../src/machine/ids.ts';
import type { SessionCommand } from '../../src/machine/session-command.ts';
import type { SessionRefusalReason } from '../../src/machine/session-effect.ts';
import type { StoredReplay, StoredSubscription } from '../../src/machine/session-record.ts';
import type { SeenEffect } from '../machine/machine-driver.ts';
import type { ModelSessions } from './machine-model-publish.ts';
import type { ModelQueue } from './machine-model-queue.ts';

/** Seconds that say: never. */
const NEVER = 4_294_967_295;
/** A timer is late by a tick at most; told again after so long. */
const TICK = 100;
const AGAIN = 60_000;

interface ModelSession {
  epoch: number;
  token: string;
  present: boolean;
  before: string;
  incarnation: string;
  /** '': whoever claims it. */
  user: string;
  expirySeconds: number;
  /** Infinity: never; undefined: somebody has it. */
  endsAt: number | undefined;
  leftAt: number;
  /** When its end was told last. */
  toldAt: number;
  subscriptions: Map<string, StoredSubscription>;
  halves: Set<number>;
}

export interface ModelOfSessions {
  readonly queues: Map<number, ModelQueue>;
  /** Of publish keys. */
  readonly sessions: ModelSessions;
}

export class ModelMqttSessions {
  readonly #byQueue = new Map<number, ModelSession>();

  /** Queues of sessions that somebody has claimed. */
  claimed(): { queueId: QueueId; epoch: number; incarnation: string }[] {
    return [...this.#byQueue].map(([queueId, { epoch, incarnation }]) => ({
      queueId: queueId as QueueId,
      epoch,
      incarnation,
    }));
  }

  run(command: SessionCommand, model: ModelOfSessions, now: number): SeenEffect[] {
    const { queueId } = command;
    const queue = model.queues.get(queueId);
    const refused = (reason: SessionRefusalReason, ownerEpoch: number) =>
      [{ kind: 'session-refused', queueId, reason, ownerEpoch }] as SeenEffect[];
    if (queue?.definition.type !== 'session') return refused('no-session', 0);
    const session = this.#byQueue.get(queueId);
    const epoch = session?.epoch ?? 0;
    if (command.kind === 'claim-session') {
      if (session?.token === command.token) return [this.#told(queueId, session)];
      if (epoch !== command.epoch) return refused('stale-owner', epoch);
      const owner = session === undefined || hasEnded(session, now) ? '' : session.user;
      const asks = command.user ?? owner;
      if (owner !== '' && asks !== owner) return refused('other-user', epoch);
      return this.#claim(command, { model, queue, now });
    }
    if (command.kind === 'end-will') return [{ kind: 'session-done', queueId }];
    if (session === undefined || epoch !== command.ownerEpoch) return refused('stale-owner', epoch);
    const done = { kind: 'session-done', queueId } as const;
    switch (command.kind) {
      case 'change-session': {
        for (const filter of command.unsubscribe) session.subscriptions.delete(filter);
        for (const each of command.subscribe) {
          const replay = each.replay ?? session.subscriptions.get(each.filter)?.replay;
          const isOwed = replay !== undefined && each.qos > 0;
          const { replay: _asked, ...others } = each;
          session.subscriptions.set(each.filter, isOwed ? { ...others, replay } : others);
        }
        return [...this.#redefine(queue, session, { now }), done];
      }
      case 'replay-session':
        for (const { filter, run, next, end } of command.replays) {
          const replay = session.subscriptions.get(filter)?.replay;
          if (replay?.run !== run) continue;
          const to = { run, next: Math.max(next, replay.next), end: replay.end || end };
          this.#move(session, filter, to);
        }
        return [done];
      case 'halve-session': {
        const { offset } = command;
        if (offset < queue.next) session.halves.add(offset);
        const group = queue.groups[0];
        if (group === undefined || offset >= queue.next || !group.settle(offset)) return [done];
        const of = { queueId, groupId: group.id, offset, floor: group.floor };
        return [{ kind: 'settled', ...of, discarded: false }, done];
      }
      case 'finish-session':
        session.halves.delete(command.offset);
        return [done];
      case 'leave-session':
        if (command.expirySeconds === undefined && session.endsAt !== undefined) return [done];
        session.expirySeconds = command.expirySeconds ?? session.expirySeconds;
        session.endsAt =
          session.expirySeconds === NEVER ? Infinity : now + session.expirySeconds * 1_000;
        session.leftAt = now;
        session.toldAt = -Infinity;
        return [...this.#redefine(queue, session, { now }), done];
      case 'receive-session': {
        const key = { session: session.incarnation, ownerEpoch: epoch, packetId: command.packetId };
        let isNew = false;
        const outcome = model.sessions.publish(key, [], () => {
          isNew = true;
          return 'accepted';
        });
        if (outcome === 'stale-owner') return refused('stale-owner', epoch);
        return [{ kind: 'session-received', queueId, isNew }];
      }
      case 'choose-session': {
        const key = { session: session.incarnation, ownerEpoch: epoch, packetId: command.packetId };
        const chosen = model.sessions.choose(key, command);
        if (chosen === undefined) return refused('stale-owner', epoch);
        return [{ kind: 'session-chosen', queueId, ...chosen }];
      }
      case 'resume-session':
        session.endsAt = undefined;
        return [...this.#redefine(queue, session, { now }), done];
      case 'delete-session':
        if (!hasEnded(session, now)) return refused('not-ended', epoch);
        model.queues.delete(queueId);
        this.removed(queueId, model);
        return [{ kind: 'queue-deleted', queueId, name: queue.definition.name }, done];
    }
  }

  #move(session: ModelSession, filter: string, replay: StoredReplay): void {
    const { replay: _before, ...others } = session.subscriptions.get(filter) as StoredSubscription;
    const isDone = replay.next >= replay.end;
    session.subscriptions.set(filter, isDone ? others : { ...others, replay });
  }

  /** A retained message for one session. */
  step(
    command: EnqueueCommand,
    { step, queue }: { step: ReplayStep; queue: ModelQueue | undefined },
    store: () => Outcome,
  ): Outcome {
    const session = queue && this.#byQueue.get(queue.id);
    const owed = [...(session?.subscriptions.values() ?? [])];
    const of = owed.find(({ replay }) => replay?.run === step.run);
    if (session?.epoch !== step.ownerEpoch || of?.replay === undefined) return 'stale-owner';
    const { replay, filter } = of;
    if (step.at < replay.next) return 'accepted';
    if (step.from > replay.next || step.at >= replay.end) return 'queue-full';
    const { maxBytes } = queue?.definition.limits ?? { maxBytes: 0 };
    if (maxBytes > 0 && command.bytes > maxBytes) return 'too-large';
    const [group] = queue?.groups ?? [];
    const depth = group === undefined ? 0 : (queue?.view(group).depth ?? 0);
    if (depth >= step.room || queue?.isFull(command.topic) === true) return 'queue-full';
    this.#move(session, filter, { ...replay, next: Math.max(step.next, step.at + 1) });
    return store();
  }

  /** What the sessions owe of retained messages. */
  owed(): { queueId: QueueId; epoch: number; replay: StoredReplay }[] {
    return [...this.#byQueue].flatMap(([queueId, { epoch, subscriptions }]) =>
      [...subscriptions.values()].flatMap(({ replay }) =>
        replay === undefined ? [] : [{ queueId: queueId as QueueId, epoch, replay }],
      ),
    );
  }

  #claim(
    command: Extract<SessionCommand, { kind: 'claim-session' }>,
    { model, queue, now }: { model: ModelOfSessions; queue: ModelQueue; now: number },
  ): SeenEffect[] {
    const { token, incarnation, expirySeconds } = command;
    const there = this.#byQueue.get(queue.id);
    const present = there !== undefined && !command.cleanStart && !hasEnded(there, now);
    const effects: SeenEffect[] = [];
    if (!present) {
      if (there !== undefined) model.sessions.end(there.incarnation);
      const group = queue.groups[0];
      if (group !== undefined && group.floor < queue.next) {
        group.settleRange(group.floor, queue.next);
        const floor = queue.next as Offset;
        effects.push({ kind: 'group-sought', queueId: queue.id, groupId: group.id, floor });
      }
    }
    const session: ModelSession = {
      epoch: (there?.epoch ?? 0) + 1,
      token,
      present,
      before: present ? '' : (there?.incarnation ?? ''),
      incarnation: present ? there.incarnation : incarnation,
      user: command.user ?? (present ? there.user : ''),
      expirySeconds,
      endsAt: undefined,
      leftAt: now,
      toldAt: -Infinity,
      subscriptions: present ? there.subscriptions : new Map(),
      halves: present ? there.halves : new Set(),
    };
    this.#byQueue.set(queue.id, session);
    effects.push(...this.#redefine(queue, session, { now, limits: command.limits }));
    return [...effects, this.#told(queue.id, session)];
  }

  #redefine(
    queue: ModelQueue,
    session: ModelSession,
    { now, limits }: { now: number; limits?: object },
  ): SeenEffect[] {
    const ended = hasEnded(session, now);
    const topics = [...session.subscriptions.values()].flatMap(({ qos, filter, isRouted }) => {
      if (qos === 0 || /^\$(queue|SYS)\//.test(filter)) return [];
      const isShare = filter.startsWith('$share/');
      return isShare && (isRouted !== true || ended) ? [] : [filter];
    });
    const hasShares = topics.some((topic) => topic.startsWith('$share/'));
    if (hasShares && session.endsAt !== undefined) topics.push('$share/asleep');
    const before = queue.definition;
    const definition = { ...before, topics, limits: { ...before.limits, ...limits } };
    if (JSON.stringify(before) === JSON.stringify(definition)) return [];
    queue.redefined(definition);
    return [{ kind: 'session-redefined', queueId: queue.id, definition }];
  }

  #told(queueId: QueueId, session: ModelSession): SeenEffect {
    const { epoch, present, incarnation, before, subscriptions, halves } = session;
    return {
      kind: 'session-claimed',
      queueId,
      ownerEpoch: epoch,
      present,
      incarnation,
      before,
      subscriptions: [...subscriptions.values()],
      halves: [...halves].sort((a, b) => a - b) as Offset[],
    };
  }

  /** Its queue is gone. */
  removed(queueId: QueueId, model: ModelOfSessions): void {
    const session = this.#byQueue.get(queueId);
    if (session !== undefined) model.sessions.end(session.incarnation);
    this.#byQueue.delete(queueId);
  }

  /** A timer has found that it has ended, so that it is in no share any more. */
  redefined(effect: SeenEffect, queue: ModelQueue, now: number): void {
    const session = this.#byQueue.get(queue.id) as ModelSession;
    expect(hasEnded(session, now)).toBe(true);
    expect([effect]).toEqual(this.#redefine(queue, session, { now }));
  }

  /** A timer says that it has ended. */
  ended(
    { ownerEpoch, incarnation }: Extract<RareEffect, { kind: 'session-ended' }>,
    queue: ModelQueue,
    now: number,
  ): void {
    const session = this.#byQueue.get(queue.id) as ModelSession;
    expect([ownerEpoch, incarnation]).toEqual([session.epoch, session.incarnation]);
    expect(hasEnded(session, now)).toBe(true);
    expect(this.#redefine(queue, session, { now })).toEqual([]);
    session.toldAt = now;
  }

  /** Nothing is due any more: what ended long enough ago was told of, and not long ago. */
  fired(now: number): void {
    for (const [queueId, { endsAt, leftAt, toldAt }] of this.#byQueue) {
      if (endsAt === undefined || endsAt === Infinity) continue;
      const isLate = now > leftAt + 2 * (endsAt - leftAt) + 2 * TICK;
      if (isLate && toldAt + AGAIN + TICK < now) {
        expect({ queueId, endsAt, leftAt, toldAt, now }).toBe('told');
      }
    }
  }
}

function hasEnded({ endsAt }: ModelSession, now: number): boolean {
  return endsAt !== undefined && endsAt <= now;
}
