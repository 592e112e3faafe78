/**
 * The machine as one would write it without caring for memory or speed: sets, maps and whole
 * histories. `machine-steps.ts` runs it beside the real one.
 */

import { notBefore } from '../../src/machine/backoff.ts';
import type {
  Command,
  EnqueueOptions,
  NumberedCommand,
  SettleRangeCommand,
} from '../../src/machine/command.ts';
import { type QueueDefinition, definitionProblem } from '../../src/machine/definitions.ts';
import type { GroupRefusal, Intent, Outcome, QueueRefusal } from '../../src/machine/effect.ts';
import type { Offset, QueueId, StampMs } from '../../src/machine/ids.ts';
import type { SeenEffect } from '../machine/machine-driver.ts';
import { ModelMqttSessions } from './machine-model-sessions.ts';
import { ModelProducers, ModelSessions } from './machine-model-publish.ts';
import { ModelRoutes } from './machine-model-routes.ts';
import { type ModelGroup, ModelQueue, modelFilterIsSound } from './machine-model-queue.ts';
import { type ModelNames, ModelPlaces } from './machine-model-places.ts';

type Of<Kind extends Command['kind']> = Extract<Command, { kind: Kind }>;

const MAX_MOVES = 256;

/** What the model is told beside the command. */
export interface ModelContext {
  readonly stamp: number;
  /** What the machine did: where marks decide how far it goes, the model checks and follows. */
  readonly observed: readonly SeenEffect[];
  /** What the machine says of the position that the command names. */
  readonly found: number;
}

interface ModelStream {
  boot: number;
  /** The outcome of each number from 1 on, for ever. */
  outcomes: Outcome[];
  answered: number;
}

export class MachineModel {
  readonly queues = new Map<number, ModelQueue>();
  readonly streams = new Map<string, ModelStream>();
  nextId = 1;
  /** Open ones, by number. */
  readonly intents = new Map<number, Intent>();
  nextIntent = 1;
  /** Messages that wait, by their offset in the shard's own queue. */
  readonly delayed = new Map<number, { due: number; queueIds: readonly QueueId[] }>();
  nextDelayed = 0;
  readonly sessions = new ModelSessions();
  readonly mqttSessions = new ModelMqttSessions();
  readonly producers = new ModelProducers();
  readonly routes = new ModelRoutes(this.intents);
  readonly places = new ModelPlaces();

  get names(): ModelNames {
    return { count: this.queues.size, has: (name) => this.#named(name) !== undefined };
  }

  run(command: Command, context: ModelContext): SeenEffect[] {
    const { stamp } = context;
    switch (command.kind) {
      case 'open-stream': {
        const boot = (this.streams.get(command.node)?.boot ?? 0) + 1;
        this.streams.set(command.node, { boot, outcomes: [], answered: 0 });
        return [{ kind: 'stream-opened', node: command.node, boot }];
      }
      case 'enqueue':
        return this.#numbered(command, (effects) => this.#publish(command, context, effects));
      case 'void':
        return this.#numbered(command, () => command.reason);
      case 'release':
        return this.#numbered(command, () => this.sessions.release(command.key));
      case 'end-session':
        this.sessions.end(command.session);
        return [];
      case 'transfer':
        return this.#transfer(command, context);
      case 'skip-intent':
        return this.#close(command.intent, command.reason);
      case 'route-intent':
        return this.routes.route(command);
      case 'end-route': {
        const { intent, number, how } = command;
        if (this.intents.get(intent)?.route?.number !== number) return [];
        return how === 'taken' ? this.#close(intent, 'transferred') : this.routes.end(command);
      }
      case 'take-transfer': {
        const effects: SeenEffect[] = [];
        const arrived = this.routes.take(command, () => {
          const outcome = this.#enqueue(command, context, effects);
          if (outcome === 'accepted') return 'taken';
          return outcome === 'no-queue' ? 'gone' : 'refused';
        });
        return [...effects, arrived];
      }
      case 'move-range':
        return this.#move(command, stamp);
      case 'settle':
        return this.#settle(command, stamp);
      case 'settle-range':
        return this.#settleRange(command);
      case 'create-group':
        return this.#createGroup(command, context);
      case 'delete-group':
        return this.#deleteGroup(command);
      case 'seek-group':
        return this.#seekGroup(command, context);
      case 'idle-group': {
        const [, group] = this.#find(command.queueId, command.groupId);
        if (group?.kind !== 'automatic' || group.idleSince > 0 === command.idle) return [];
        group.idleSince = command.idle ? stamp : 0;
        return [];
      }
      case 'retain':
        return this.#retain(command);
      case 'declare-queue':
        return this.#declare(command, stamp);
      case 'update-queue': {
        const queue = this.queues.get(command.queueId);
        if (queue === undefined) return [gone(command.queueId)];
        const definition = { ...queue.definition, limits: command.limits };
        return this.#refused(definition) ?? [this.#redefine(queue, definition, stamp)];
      }
      case 'delete-queue': {
        const queue = this.queues.get(command.queueId);
        if (queue === undefined) return [gone(command.queueId)];
        this.queues.delete(command.queueId);
        this.mqttSessions.removed(command.queueId, this);
        return [{ kind: 'queue-deleted', queueId: queue.id, name: queue.definition.name }];
      }
      case 'set-version': {
        const { version } = command;
        return version === 1
          ? [{ kind: 'version-set', version }]
          : [{ kind: 'version-refused', version, inForce: 1 }];
      }
      case 'place-queue':
      case 'unplace-queue':
      case 'fence-names':
      case 'add-shard':
      case 'host-shard':
      case 'unhost-shard':
        return this.places.run(command, this.names);
      case 'claim-session':
      case 'change-session':
      case 'replay-session':
      case 'halve-session':
      case 'finish-session':
      case 'leave-session':
      case 'end-will':
      case 'resume-session':
      case 'delete-session':
      case 'receive-session':
      case 'choose-session':
        return this.mqttSessions.run(command, this, stamp);
      case 'fire-timers':
        throw new Error('what a step fires is not predicted: see machine-model-firing.ts');
    }
  }

  #numbered(command: NumberedCommand, apply: (effects: SeenEffect[]) => Outcome): SeenEffect[] {
    const { node, boot, number } = command;
    const stream = this.streams.get(node) ?? { boot: 0, outcomes: [], answered: 0 };
    const effects: SeenEffect[] = [];
    let outcome: Outcome;
    if (boot !== stream.boot) {
      outcome = boot < stream.boot ? 'stale-boot' : 'unknown-boot';
    } else {
      const last = stream.outcomes.length;
      stream.answered = Math.max(stream.answered, Math.min(command.answeredUpTo, last));
      if (number <= stream.answered) outcome = 'answered';
      else if (number <= last) outcome = stream.outcomes[number - 1] as Outcome;
      else if (number > last + 1) outcome = 'gap';
      else if (number - stream.answered > 4096) outcome = 'window';
      else {
        outcome = apply(effects);
        stream.outcomes.push(outcome);
      }
    }
    effects.push({ kind: 'confirmed', node, boot, number, outcome });
    return effects;
  }

  #publish(command: Of<'enqueue'>, context: ModelContext, effects: SeenEffect[]): Outcome {
    const step = command.options?.replay;
    if (step !== undefined) {
      const queue = this.queues.get(command.targets[0] ?? 0);
      const store = (): Outcome => this.#enqueue(command, context, effects);
      return this.mqttSessions.step(command, { step, queue }, store);
    }
    const key = command.options?.key;
    const store = (targets: readonly QueueId[]): Outcome => {
      const all = { ...command, targets };
      if (command.options === undefined) return this.#enqueue(all, context, effects);
      return command.options.producer === undefined
        ? this.#store(all, context, effects)
        : this.#storeOnce(all, context, effects);
    };
    if (key === undefined) return store(command.targets);
    return this.sessions.publish(key, command.targets, store);
  }

  #storeOnce(command: Of<'enqueue'>, context: ModelContext, effects: SeenEffect[]): Outcome {
    const { producer } = command.options as EnqueueOptions;
    const { id, sequence } = producer as NonNullable<EnqueueOptions['producer']>;
    const queues = this.#queuesOf(command.targets);
    const fresh: ModelQueue[] = [];
    for (const queue of queues) {
      const { maxProducers } = queue.definition.limits;
      const answer = this.producers.check({ queueId: queue.id, id, sequence }, maxProducers);
      if (answer === 'refused') return 'producer-refused';
      if (answer === 'new') fresh.push(queue);
    }
    if (queues.length === 0) return 'no-queue';
    if (fresh.length === 0) return 'duplicate';
    const targets = fresh.map(({ id: queueId }) => queueId);
    const outcome = this.#store({ ...command, targets }, context, effects);
    if (outcome !== 'accepted') return outcome;
    for (const { id: queueId, definition } of fresh) {
      const expiresMs = definition.limits.producerExpiresMs;
      this.producers.take({ queueId, id, sequence }, { now: context.stamp, expiresMs });
    }
    return 'accepted';
  }

  #store(command: Of<'enqueue'>, context: ModelContext, effects: SeenEffect[]): Outcome {
    const delayMs = command.options?.delayMs ?? 0;
    if (delayMs === 0) return this.#enqueue(command, context, effects);
    const queueIds = this.#queuesOf(command.targets).map(({ id }) => id);
    if (queueIds.length === 0) return 'no-queue';
    const offset = this.nextDelayed;
    this.nextDelayed += 1;
    this.delayed.set(offset, { due: context.stamp + delayMs, queueIds });
    const { bytes } = command;
    effects.push({ kind: 'enqueued', queueId: 0, offset, bytes, priority: 0 });
    return 'accepted';
  }

  #enqueue(
    { targets, topic, bytes, options }: Of<'enqueue' | 'transfer' | 'take-transfer'>,
    { stamp, observed }: ModelContext,
    effects: SeenEffect[],
  ): Outcome {
    const queues = this.#queuesOf(targets);
    if (queues.some((queue) => queue.isRefusing({ topic, bytes }))) return 'queue-full';
    const publish = { topic, bytes, stamp, options, observed };
    for (const queue of queues) effects.push(...queue.append(publish));
    return queues.length > 0 ? 'accepted' : 'no-queue';
  }

  #transfer(command: Of<'transfer'>, context: ModelContext): SeenEffect[] {
    const intent = this.intents.get(command.intent);
    if (intent === undefined || intent.route !== undefined) return [];
    const effects: SeenEffect[] = [];
    const { targets } = command;
    if (this.#enqueue(command, context, effects) === 'accepted') {
      return [...effects, ...this.#close(intent.number, 'transferred')];
    }
    this.intents.set(intent.number, { ...intent, refusals: intent.refusals + 1 });
    const full = this.#queuesOf(targets).find((queue) => queue.isRefusing(command));
    const queueId = full?.id ?? targets[0] ?? (0 as QueueId);
    return [{ kind: 'transfer-refused', intent: intent.number, queueId }];
  }

  #close(intent: number, how: 'transferred' | Of<'skip-intent'>['reason']): SeenEffect[] {
    if (!this.intents.delete(intent)) return [];
    return [{ kind: 'intent-closed', intent, how }];
  }

  openIntent(asked: Omit<Intent, 'number' | 'refusals' | 'route'>): SeenEffect {
    const intent: Intent = { ...asked, number: this.nextIntent, refusals: 0, route: undefined };
    this.nextIntent += 1;
    this.intents.set(intent.number, intent);
    return { kind: 'intent-opened', intent };
  }

  #move(command: Of<'move-range'>, now: number): SeenEffect[] {
    const { queueId, groupId, from, target } = command;
    const [queue, group] = this.#find(queueId, groupId);
    if (queue === undefined || group === undefined) return [];
    const furthest = Math.min(command.to, queue.next, Math.max(from, group.floor) + 65_536);
    const effects: SeenEffect[] = [];
    let to = Math.min(from, furthest);
    const of = { queueId, groupId, reason: 'moved', stamp: now as StampMs } as const;
    const goal =
      target === 'source'
        ? ({ kind: 'source' } as const)
        : ({ kind: 'queues', queueIds: [target] } as const);
    for (; to < furthest; to += 1) {
      if (group.has(to)) continue;
      if (effects.length === MAX_MOVES) break;
      const attempts = group.requeued.get(to)?.attempts ?? 0;
      effects.push(this.openIntent({ ...of, offset: to as Offset, attempts, target: goal }));
      group.settle(to);
    }
    to = Math.max(from, to);
    effects.push({ kind: 'ranged', queueId, groupId, from, to, floor: group.floor });
    return effects;
  }

  #settle(command: Of<'settle'>, stamp: number): SeenEffect[] {
    const { queueId, groupId, offset, outcome, cause } = command;
    const [queue, group] = this.#find(queueId, groupId);
    if (queue === undefined || group === undefined) return [];
    if (offset >= queue.next || group.has(offset)) return [];
    const { deliveryLimit } = queue.definition.limits;
    const attempts = group.requeued.get(offset)?.attempts ?? 0;
    const isCounted = cause !== 'returned' && queue.countsAttempts;
    const isEnd = isCounted && attempts + 1 >= deliveryLimit;
    if (outcome === 'requeue' && !isEnd) {
      if (!isCounted) return [{ ...requeued(command), attempts, notBefore: 0 }];
      const ended = { queueId, offset, attempts: attempts + 1, cause };
      const due = notBefore(ended, queue.definition.limits, stamp);
      group.requeued.set(offset, { attempts: attempts + 1, notBefore: due });
      return [{ ...requeued(command), attempts: attempts + 1, notBefore: due }];
    }
    group.settle(offset);
    const discarded = outcome !== 'complete' && queue.countsAttempts;
    const settled = { kind: 'settled', queueId, groupId, offset, floor: group.floor, discarded };
    const { deadLetter: name } = queue.definition.limits;
    if (!discarded || name === '') return [settled as SeenEffect];
    const reason = outcome === 'discard' ? 'rejected' : 'delivery-limit';
    const target = { kind: 'name', name } as const;
    const of = { queueId, groupId, offset, attempts: attempts + 1, stamp: stamp as StampMs };
    return [settled as SeenEffect, this.openIntent({ ...of, reason, target })];
  }

  #settleRange(command: SettleRangeCommand): SeenEffect[] {
    const { queueId, groupId, from, cause } = command;
    const [queue, group] = this.#find(queueId, groupId);
    if (queue === undefined || group === undefined) return [];
    const end = Math.min(command.to, queue.next, Math.max(from, group.floor) + 65_536);
    const to = Math.max(from, end);
    const count = group.settleRange(from, to);
    const ranged = { kind: 'ranged', queueId, groupId, from, to, floor: group.floor } as const;
    if (cause !== 'expired' || count === 0) return [ranged];
    return [ranged, { kind: 'dropped', queueId, from, count, why: 'expired' }];
  }

  #createGroup(command: Of<'create-group'>, { stamp, found }: ModelContext): SeenEffect[] {
    const { queueId, name, groupKind: kind, filter } = command;
    const queue = this.queues.get(queueId);
    if (queue === undefined) return [refused(command, name, 'no-queue')];
    if (name === '' || name.includes('\n') || !modelFilterIsSound(filter)) {
      return [refused(command, name, 'invalid')];
    }
    if (queue.isSession) return [refused(command, name, 'invalid')];
    const there = queue.groups.find((group) => group.name === name);
    if (there !== undefined) {
      if (there.filter !== filter) return [refused(command, name, 'filter-differs')];
      return [{ kind: 'group-created', queueId, group: queue.view(there), created: false }];
    }
    const { maxGroups, groupStart, groupExpiresMs } = queue.definition.limits;
    if (queue.groups.length >= maxGroups) return [refused(command, name, 'too-many')];
    const begin = queue.position(command.start ?? { kind: groupStart }, found);
    const group = queue.newGroup({ name, kind, filter }, begin);
    group.resetAt = stamp;
    if (kind === 'automatic') group.timerDue = stamp + groupExpiresMs;
    return [{ kind: 'group-created', queueId, group: queue.view(group), created: true }];
  }

  #deleteGroup(command: Of<'delete-group'>): SeenEffect[] {
    const { queueId, groupId } = command;
    const [queue, group] = this.#find(queueId, groupId);
    if (queue === undefined) return [refused(command, '', 'no-queue')];
    if (group === undefined) return [refused(command, '', 'no-group')];
    if (queue.isSession) return [refused(command, group.name, 'invalid')];
    return this.removeGroup(queue, group, 'asked');
  }

  removeGroup(queue: ModelQueue, group: ModelGroup, why: 'asked' | 'expired'): SeenEffect[] {
    queue.groups = queue.groups.filter((each) => each !== group);
    const { id: groupId, name } = group;
    const effects: SeenEffect[] = [
      { kind: 'group-deleted', queueId: queue.id, groupId, name, why },
    ];
    const isLast = queue.groups.length === 0 && !queue.isStream;
    if (isLast && group.floor > queue.start) queue.raise(group.floor, effects);
    return effects;
  }

  #seekGroup(command: Of<'seek-group'>, { stamp, found }: ModelContext): SeenEffect[] {
    const { queueId, groupId } = command;
    const [queue, group] = this.#find(queueId, groupId);
    if (queue === undefined) return [refused(command, '', 'no-queue')];
    if (group === undefined) return [refused(command, '', 'no-group')];
    const to = queue.position(command.position, found);
    if (queue.isStream) {
      group.settled.clear();
      group.requeued.clear();
      group.floor = to;
      group.resetAt = stamp;
      if (group.filter !== '' && group.filter !== '#') group.filterFrom = queue.next;
    } else if (to < group.floor) {
      return [refused(command, group.name, 'not-back')];
    } else {
      group.settleRange(group.floor, to);
    }
    return [{ kind: 'group-sought', queueId, groupId, floor: group.floor as Offset }];
  }

  #retain({ queueId, start }: Of<'retain'>): SeenEffect[] {
    const queue = this.queues.get(queueId);
    const effects: SeenEffect[] = [];
    if (queue === undefined) return effects;
    const to = Math.min(start, queue.furthest);
    if (to > queue.start) queue.raise(to, effects);
    return effects;
  }

  #queuesOf(targets: readonly QueueId[]): ModelQueue[] {
    return [...new Set(targets)].flatMap((id) => this.queues.get(id) ?? []);
  }

  #find(queueId: number, groupId: number): [ModelQueue?, ModelGroup?] {
    const queue = this.queues.get(queueId);
    if (queue === undefined) return [];
    const group = queue.groups.find(({ id }) => id === groupId);
    return group === undefined ? [queue] : [queue, group];
  }

  #declare(command: Of<'declare-queue'>, stamp: number): SeenEffect[] {
    const { name, type, limits } = command;
    const there = this.#named(name);
    const topics = type === 'session' ? (there?.definition.topics ?? []) : command.topics;
    const definition = { name, type, topics, limits };
    if (there === undefined && this.places.rows.has(name)) return [refusal('elsewhere')];
    if (there !== undefined && there.definition.type !== type) {
      return [refusal('type-differs')];
    }
    const problem = this.#refused(definition);
    if (problem !== undefined) return problem;
    if (there !== undefined) {
      const same = JSON.stringify(there.definition) === JSON.stringify(definition);
      if (!same) return [this.#redefine(there, definition, stamp)];
      return [{ kind: 'queue-declared', queueId: there.id, definition, created: false }];
    }
    const id = this.nextId as QueueId;
    this.nextId += 1;
    this.queues.set(id, new ModelQueue(id, definition));
    return [{ kind: 'queue-declared', queueId: id, definition, created: true }];
  }

  #named(name: string): ModelQueue | undefined {
    return [...this.queues.values()].find(({ definition }) => definition.name === name);
  }

  /** Invalid, or its dead letters would come back to it. */
  #refused(definition: QueueDefinition): SeenEffect[] | undefined {
    if (definitionProblem(definition) !== undefined) return [refusal('invalid')];
    const seen = new Set<string>();
    for (let at = definition.limits.deadLetter; at !== '' && !seen.has(at);) {
      if (at === definition.name) return [refusal('invalid')];
      seen.add(at);
      at = this.#named(at)?.definition.limits.deadLetter ?? '';
    }
    return undefined;
  }

  #redefine(queue: ModelQueue, definition: QueueDefinition, stamp: number): SeenEffect {
    const previous = queue.definition;
    const isSame = JSON.stringify(previous.limits.retention);
    if (isSame !== JSON.stringify(definition.limits.retention)) queue.retainedSince = stamp;
    queue.redefined(definition);
    return { kind: 'queue-updated', queueId: queue.id, definition, previous };
  }
}

function requeued({ queueId, groupId, offset }: Of<'settle'>) {
  return { kind: 'requeued', queueId, groupId, offset } as const;
}

/** Words for people are not compared. */
function refusal(reason: QueueRefusal): SeenEffect {
  return { kind: 'queue-refused', reason, detail: '' };
}

function gone(queueId: number): SeenEffect {
  return { kind: 'queue-refused', reason: 'no-queue', detail: `${queueId}` };
}

function refused(
  { queueId }: { queueId: QueueId },
  name: string,
  reason: GroupRefusal,
): SeenEffect {
  return { kind: 'group-refused', queueId, name, reason, detail: '' };
}
