/**
 * The machine as one would write it without caring for memory or speed: sets, maps and whole
 * histories. `machine-steps.ts` runs it beside the real one.
 */

import { notBefore } from '../../src/machine/backoff.ts';
import type { Command, NumberedCommand, SettleRangeCommand } from '../../src/machine/command.ts';
import { type QueueDefinition, definitionProblem } from '../../src/machine/definitions.ts';
import type { GroupRefusal, Outcome, QueueRefusal } from '../../src/machine/effect.ts';
import type { Offset, QueueId } from '../../src/machine/ids.ts';
import type { SeenEffect } from '../machine/machine-driver.ts';
import { type ModelGroup, ModelQueue, modelFilterIsSound } from './machine-model-queue.ts';

type Of<Kind extends Command['kind']> = Extract<Command, { kind: Kind }>;

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

  run(command: Command, stamp: number): SeenEffect[] {
    switch (command.kind) {
      case 'open-stream': {
        const boot = (this.streams.get(command.node)?.boot ?? 0) + 1;
        this.streams.set(command.node, { boot, outcomes: [], answered: 0 });
        return [{ kind: 'stream-opened', node: command.node, boot }];
      }
      case 'enqueue':
        return this.#numbered(command, (effects) => this.#enqueue(command, effects));
      case 'void':
        return this.#numbered(command, () => command.reason);
      case 'settle':
        return this.#settle(command, stamp);
      case 'settle-range':
        return this.#settleRange(command);
      case 'create-group':
        return this.#createGroup(command);
      case 'delete-group':
        return this.#deleteGroup(command);
      case 'seek-group':
        return this.#seekGroup(command);
      case 'idle-group':
        return [];
      case 'retain':
        return this.#retain(command);
      case 'declare-queue':
        return this.#declare(command);
      case 'update-queue': {
        const queue = this.queues.get(command.queueId);
        if (queue === undefined) return [gone(command.queueId)];
        const definition = { ...queue.definition, limits: command.limits };
        return this.#refused(definition) ?? [this.#redefine(queue, definition)];
      }
      case 'delete-queue': {
        const queue = this.queues.get(command.queueId);
        if (queue === undefined) return [gone(command.queueId)];
        this.queues.delete(command.queueId);
        return [{ kind: 'queue-deleted', queueId: queue.id, name: queue.definition.name }];
      }
      case 'set-version': {
        const { version } = command;
        return version === 1
          ? [{ kind: 'version-set', version }]
          : [{ kind: 'version-refused', version, inForce: 1 }];
      }
      default:
        throw new Error(`the model knows no ${command.kind}`);
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

  #enqueue({ targets, topic, bytes }: Of<'enqueue'>, effects: SeenEffect[]): Outcome {
    const queues = [...new Set(targets)].flatMap((id) => this.queues.get(id) ?? []);
    const isRefused = (queue: ModelQueue) =>
      queue.definition.limits.overflow === 'reject-publish' && queue.isFull(topic);
    if (queues.some(isRefused)) return 'queue-full';
    for (const queue of queues) effects.push(...queue.append(topic, bytes));
    return queues.length > 0 ? 'accepted' : 'no-queue';
  }

  #settle(command: Of<'settle'>, stamp: number): SeenEffect[] {
    const { queueId, groupId, offset, outcome, cause } = command;
    const [queue, group] = this.#find(queueId, groupId);
    if (queue === undefined || group === undefined) return [];
    if (offset >= queue.next || group.has(offset)) return [];
    if (outcome === 'requeue') {
      let attempts = group.requeued.get(offset)?.attempts ?? 0;
      let due = 0;
      if (cause !== 'returned' && !queue.isStream) {
        attempts += 1;
        due = notBefore({ queueId, offset, attempts, cause }, queue.definition.limits, stamp);
        group.requeued.set(offset, { attempts, notBefore: due });
      }
      return [{ kind: 'requeued', queueId, groupId, offset, attempts, notBefore: due }];
    }
    group.settle(offset);
    const { floor } = group;
    const discarded = outcome === 'discard' && !queue.isStream;
    return [{ kind: 'settled', queueId, groupId, offset, floor, discarded }];
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

  #createGroup(command: Of<'create-group'>): SeenEffect[] {
    const { queueId, name, groupKind: kind, filter } = command;
    const queue = this.queues.get(queueId);
    if (queue === undefined) return [refused(command, name, 'no-queue')];
    if (name === '' || name.includes('\n') || !modelFilterIsSound(filter)) {
      return [refused(command, name, 'invalid')];
    }
    const there = queue.groups.find((group) => group.name === name);
    if (there !== undefined) {
      if (there.filter !== filter) return [refused(command, name, 'filter-differs')];
      return [{ kind: 'group-created', queueId, group: queue.view(there), created: false }];
    }
    const { maxGroups, groupStart } = queue.definition.limits;
    if (queue.groups.length >= maxGroups) return [refused(command, name, 'too-many')];
    const begin = queue.position(command.start ?? { kind: groupStart });
    const group = queue.newGroup({ name, kind, filter }, begin);
    return [{ kind: 'group-created', queueId, group: queue.view(group), created: true }];
  }

  #deleteGroup(command: Of<'delete-group'>): SeenEffect[] {
    const { queueId, groupId } = command;
    const [queue, group] = this.#find(queueId, groupId);
    if (queue === undefined) return [refused(command, '', 'no-queue')];
    if (group === undefined) return [refused(command, '', 'no-group')];
    queue.groups = queue.groups.filter((each) => each !== group);
    const { name } = group;
    const effects: SeenEffect[] = [{ kind: 'group-deleted', queueId, groupId, name, why: 'asked' }];
    const isLast = queue.groups.length === 0 && !queue.isStream;
    if (isLast && group.floor > queue.start) queue.raise(group.floor, effects);
    return effects;
  }

  #seekGroup(command: Of<'seek-group'>): SeenEffect[] {
    const { queueId, groupId } = command;
    const [queue, group] = this.#find(queueId, groupId);
    if (queue === undefined) return [refused(command, '', 'no-queue')];
    if (group === undefined) return [refused(command, '', 'no-group')];
    const to = queue.position(command.position);
    if (queue.isStream) {
      group.settled.clear();
      group.requeued.clear();
      group.floor = to;
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

  #find(queueId: number, groupId: number): [ModelQueue?, ModelGroup?] {
    const queue = this.queues.get(queueId);
    if (queue === undefined) return [];
    const group = queue.groups.find(({ id }) => id === groupId);
    return group === undefined ? [queue] : [queue, group];
  }

  #declare(command: Of<'declare-queue'>): SeenEffect[] {
    const { name, type, topics, limits } = command;
    const definition = { name, type, topics, limits };
    const there = this.#named(name);
    if (there !== undefined && there.definition.type !== type) {
      return [refusal('type-differs')];
    }
    const problem = this.#refused(definition);
    if (problem !== undefined) return problem;
    if (there !== undefined) {
      const same = JSON.stringify(there.definition) === JSON.stringify(definition);
      if (!same) return [this.#redefine(there, definition)];
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

  #redefine(queue: ModelQueue, definition: QueueDefinition): SeenEffect {
    const previous = queue.definition;
    queue.definition = definition;
    return { kind: 'queue-updated', queueId: queue.id, definition, previous };
  }
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
