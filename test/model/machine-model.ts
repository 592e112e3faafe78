/**
 * The machine as one would write it without caring for memory or speed: sets, maps and whole
 * histories. `machine-steps.ts` runs it beside the real one.
 */

import { notBefore } from '../../src/machine/backoff.ts';
import type { Command, NumberedCommand } from '../../src/machine/command.ts';
import { type QueueDefinition, limitsProblem } from '../../src/machine/definitions.ts';
import type { Outcome } from '../../src/machine/effect.ts';
import type { QueueId } from '../../src/machine/ids.ts';
import type { SeenEffect } from '../machine/machine-driver.ts';

interface ModelQueue {
  readonly id: QueueId;
  definition: QueueDefinition;
  next: number;
  readonly settled: Set<number>;
  readonly requeued: Map<number, { attempts: number; notBefore: number }>;
  floor: number;
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

  run(command: Command, stamp: number): SeenEffect[] {
    switch (command.kind) {
      case 'open-stream': {
        const boot = (this.streams.get(command.node)?.boot ?? 0) + 1;
        this.streams.set(command.node, { boot, outcomes: [], answered: 0 });
        return [{ kind: 'stream-opened', node: command.node, boot }];
      }
      case 'enqueue':
        return this.#numbered(command, (effects) => {
          for (const id of new Set(command.targets)) {
            const queue = this.queues.get(id);
            if (queue === undefined) continue;
            effects.push({
              kind: 'enqueued',
              queueId: id,
              offset: queue.next,
              bytes: command.bytes,
            });
            queue.next += 1;
          }
          return effects.length > 0 ? 'accepted' : 'no-queue';
        });
      case 'void':
        return this.#numbered(command, () => command.reason);
      case 'settle':
        return this.#settle(command, stamp);
      case 'declare-queue':
        return this.#declare(command);
      case 'update-queue': {
        const queue = this.queues.get(command.queueId);
        const detail = `there is no queue ${command.queueId}`;
        if (queue === undefined) return [{ kind: 'queue-refused', reason: 'no-queue', detail }];
        const problem = limitsProblem(command.limits);
        if (problem !== undefined) {
          return [{ kind: 'queue-refused', reason: 'invalid', detail: problem }];
        }
        return [this.#redefine(queue, { ...queue.definition, limits: command.limits })];
      }
      case 'delete-queue': {
        const queue = this.queues.get(command.queueId);
        const detail = `there is no queue ${command.queueId}`;
        if (queue === undefined) return [{ kind: 'queue-refused', reason: 'no-queue', detail }];
        this.queues.delete(command.queueId);
        return [{ kind: 'queue-deleted', queueId: queue.id, name: queue.definition.name }];
      }
      case 'set-version': {
        const { version } = command;
        return version === 1
          ? [{ kind: 'version-set', version }]
          : [{ kind: 'version-refused', version, inForce: 1 }];
      }
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

  #settle(command: Extract<Command, { kind: 'settle' }>, stamp: number): SeenEffect[] {
    const { queueId, groupId, offset, outcome, cause } = command;
    const queue = this.queues.get(queueId);
    if (queue === undefined || groupId !== 0) return [];
    if (offset >= queue.next || queue.settled.has(offset)) return [];
    if (outcome === 'requeue') {
      let attempts = queue.requeued.get(offset)?.attempts ?? 0;
      let due = 0;
      if (cause !== 'returned') {
        attempts += 1;
        due = notBefore({ queueId, offset, attempts, cause }, queue.definition.limits, stamp);
        queue.requeued.set(offset, { attempts, notBefore: due });
      }
      return [{ kind: 'requeued', queueId, offset, attempts, notBefore: due }];
    }
    queue.settled.add(offset);
    queue.requeued.delete(offset);
    while (queue.settled.has(queue.floor)) queue.floor += 1;
    const { floor } = queue;
    return [{ kind: 'settled', queueId, offset, floor, discarded: outcome === 'discard' }];
  }

  #declare(command: Extract<Command, { kind: 'declare-queue' }>): SeenEffect[] {
    const { name, type, topics, limits } = command;
    const definition = { name, type, topics, limits };
    const problem = limitsProblem(limits);
    if (problem !== undefined)
      return [{ kind: 'queue-refused', reason: 'invalid', detail: problem }];
    const there = [...this.queues.values()].find((queue) => queue.definition.name === name);
    if (there !== undefined) {
      const same = JSON.stringify(there.definition) === JSON.stringify(definition);
      if (!same) return [this.#redefine(there, definition)];
      return [{ kind: 'queue-declared', queueId: there.id, definition, created: false }];
    }
    const id = this.nextId as QueueId;
    this.nextId += 1;
    this.queues.set(id, {
      id,
      definition,
      next: 0,
      settled: new Set(),
      requeued: new Map(),
      floor: 0,
    });
    return [{ kind: 'queue-declared', queueId: id, definition, created: true }];
  }

  #redefine(queue: ModelQueue, definition: QueueDefinition): SeenEffect {
    const previous = queue.definition;
    queue.definition = definition;
    return { kind: 'queue-updated', queueId: queue.id, definition, previous };
  }
}
