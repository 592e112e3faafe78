/**
 * The queues that are defined, by id and by name, and the commands that change them.
 *
 * Declaring what is there already is no error: with the same arguments nothing happens, with other
 * limits or topics the queue gets the new ones, with another type it is refused. A deleted queue
 * takes all its records along, for each group at most some two for each 4,096 offsets of its
 * unsettled span; its id never comes back, so a settlement that comes late finds nothing.
 *
 * Dead letters that would come back to where they came from are refused, as far as the queues that
 * are defined show it (S9); what closes the circle later is what is refused then.
 *
 * Limits that are equal are one object, since most of 100,000 queues have the same.
 */

import { assert } from './assert.ts';
import type { DeclareQueueCommand, DeleteQueueCommand, UpdateQueueCommand } from './command.ts';
import {
  DEFAULT_LIMITS,
  DEFINITIONS_CHUNK,
  DefinitionsChunk,
  type QueueDefinition,
  type QueueLimits,
  definitionProblem,
  limitsData,
  limitsProblem,
  sameLimits,
  sameTopics,
} from './definitions.ts';
import type { Effects } from './effect.ts';
import { DELAYED_QUEUE, type QueueId } from './ids.ts';
import { QueueState } from './queue.ts';
import { type RecordData, definitionsKey } from './record-data.ts';
import { type RecordHolder, type RecordTable, Resident } from './record-table.ts';
import type { Meta } from './version.ts';

/** Limits that no queue has any more are kept up to so many. */
const MAX_UNUSED_LIMITS = 1_024;

export interface DefinedQueue {
  readonly queueId: QueueId;
  readonly definition: QueueDefinition;
}

export class Definitions implements RecordHolder {
  readonly #table: RecordTable;
  readonly #queues = new Map<QueueId, QueueState>();
  readonly #names = new Map<string, QueueState>();
  readonly #chunks = new Map<number, Resident<DefinitionsChunk>>();
  /** By what they say. */
  #limits = new Map<string, QueueLimits>();
  #version = 0;
  /** Found last: commands of an entry name the same queue again and again. */
  #last: QueueState | undefined;
  readonly waiting: QueueState;

  constructor(table: RecordTable) {
    this.#table = table;
    const definition: QueueDefinition = {
      name: '',
      type: 'classic',
      topics: [],
      limits: DEFAULT_LIMITS,
    };
    this.waiting = new QueueState(DELAYED_QUEUE, definition, table);
  }

  /** How many different limits are remembered. */
  get knownLimits(): number {
    return this.#limits.size;
  }

  /** Goes up with each change. */
  get version(): number {
    return this.#version;
  }

  get(queueId: QueueId): QueueState | undefined {
    const last = this.#last;
    if (last !== undefined && last.queueId === queueId) return last;
    const state = this.#queues.get(queueId);
    if (state !== undefined) this.#last = state;
    return state;
  }

  named(name: string): DefinedQueue | undefined {
    const state = this.#names.get(name);
    return state === undefined
      ? undefined
      : { queueId: state.queueId, definition: state.definition };
  }

  /** In order of queueId. */
  list(): DefinedQueue[] {
    return [...this.#queues.values()]
      .map(({ queueId, definition }) => ({ queueId, definition }))
      .sort((a, b) => a.queueId - b.queueId);
  }

  hasChunk(chunk: number): boolean {
    return this.#chunks.has(chunk);
  }

  load(chunk: number, data: RecordData): void {
    if (this.#chunks.has(chunk)) return;
    const content = DefinitionsChunk.fromData(data);
    this.#chunks.set(chunk, new Resident(definitionsKey(chunk), content, this));
    for (const [queueId, read] of content.entries()) {
      assert(
        Math.floor(queueId / DEFINITIONS_CHUNK) === chunk,
        'definitions: a queue in a wrong chunk',
      );
      const definition = this.#shared(read);
      content.set(queueId, definition);
      this.#add(new QueueState(queueId, definition, this.#table));
    }
    this.#version += 1;
  }

  declare(command: DeclareQueueCommand, meta: Meta, effects: Effects): void {
    const { name, type, topics, limits } = command;
    const definition = this.#shared({ name, type, topics, limits });
    const problem = definitionProblem(definition) ?? this.#cycleProblem(name, limits);
    const there = this.#names.get(name);
    if (there !== undefined && there.definition.type !== type) {
      const detail = `queue ${name} exists and is of another type`;
      effects.addRare({ kind: 'queue-refused', reason: 'type-differs', detail });
    } else if (problem !== undefined) {
      effects.addRare({ kind: 'queue-refused', reason: 'invalid', detail: problem });
    } else if (there !== undefined) {
      this.#declareAgain(there, definition, effects);
    } else {
      const queueId = meta.nextQueueId as QueueId;
      meta.nextQueueId += 1;
      const state = new QueueState(queueId, definition, this.#table);
      this.#add(state);
      state.create();
      this.#changedChunk(queueId, meta).set(queueId, definition);
      this.#version += 1;
      effects.addRare({ kind: 'queue-declared', queueId, definition, created: true });
    }
  }

  update(command: UpdateQueueCommand, effects: Effects): void {
    const { queueId, limits } = command;
    const state = this.#queues.get(queueId);
    const problem =
      limitsProblem(limits) ??
      (state === undefined ? undefined : this.#cycleProblem(state.definition.name, limits));
    if (state === undefined) {
      effects.addRare({
        kind: 'queue-refused',
        reason: 'no-queue',
        detail: `there is no queue ${queueId}`,
      });
    } else if (problem !== undefined) {
      effects.addRare({ kind: 'queue-refused', reason: 'invalid', detail: problem });
    } else {
      this.#redefine(state, this.#shared({ ...state.definition, limits }), effects);
    }
  }

  /** The records of the queue and of all its groups are resident. */
  remove(command: DeleteQueueCommand, meta: Meta, effects: Effects): void {
    const { queueId } = command;
    const state = this.#queues.get(queueId);
    if (state === undefined) {
      effects.addRare({
        kind: 'queue-refused',
        reason: 'no-queue',
        detail: `there is no queue ${queueId}`,
      });
      return;
    }
    state.remove();
    this.#queues.delete(queueId);
    if (this.#last === state) this.#last = undefined;
    this.#names.delete(state.definition.name);
    const number = Math.floor(queueId / DEFINITIONS_CHUNK);
    const chunk = this.#changedChunk(queueId, meta);
    chunk.delete(queueId);
    if (chunk.size === 0) {
      this.#table.remove(this.#chunks.get(number) as Resident<DefinitionsChunk>);
      this.#chunks.delete(number);
      meta.removeDefinitionChunk(number);
    }
    this.#version += 1;
    effects.addRare({ kind: 'queue-deleted', queueId, name: state.definition.name });
  }

  evicted(): void {
    assert(false, 'definitions are never evicted');
  }

  #add(state: QueueState): void {
    assert(!this.#names.has(state.definition.name), 'definitions: a name twice');
    this.#queues.set(state.queueId, state);
    this.#names.set(state.definition.name, state);
  }

  /** The definition with the limits that are there already, if they say the same. */
  #shared(definition: QueueDefinition): QueueDefinition {
    const key = limitsData(definition.limits).join();
    const known = this.#limits.get(key);
    if (known !== undefined) return { ...definition, limits: known };
    if (this.#limits.size > this.#queues.size + MAX_UNUSED_LIMITS) this.#forgetUnusedLimits();
    this.#limits.set(key, definition.limits);
    return definition;
  }

  #forgetUnusedLimits(): void {
    this.#limits = new Map();
    for (const { definition } of this.#queues.values()) {
      this.#limits.set(limitsData(definition.limits).join(), definition.limits);
    }
  }

  /** Follows the dead letters of a queue that would have these limits. */
  #cycleProblem(name: string, limits: QueueLimits): string | undefined {
    let next = limits.deadLetter;
    for (let hops = 0; next !== '' && hops <= this.#queues.size; hops += 1) {
      if (next === name) return `dlq: dead letters of ${name} would come back to it`;
      next = this.#names.get(next)?.definition.limits.deadLetter ?? '';
    }
    return undefined;
  }

  #declareAgain(state: QueueState, definition: QueueDefinition, effects: Effects): void {
    const before = state.definition;
    if (
      sameLimits(before.limits, definition.limits) &&
      sameTopics(before.topics, definition.topics)
    ) {
      const { queueId } = state;
      effects.addRare({ kind: 'queue-declared', queueId, definition: before, created: false });
    } else {
      this.#redefine(state, definition, effects);
    }
  }

  #redefine(state: QueueState, definition: QueueDefinition, effects: Effects): void {
    const { queueId, definition: previous } = state;
    const resident = this.#chunks.get(Math.floor(queueId / DEFINITIONS_CHUNK));
    assert(resident !== undefined, 'definitions: a queue without its chunk');
    this.#table.touch(resident);
    resident.content.set(queueId, definition);
    state.definition = definition;
    this.#version += 1;
    effects.addRare({ kind: 'queue-updated', queueId, definition, previous });
  }

  /**
   * The chunk of this queue, about to change; made when there is none. Meta is about to change too.
   */
  #changedChunk(queueId: QueueId, meta: Meta): DefinitionsChunk {
    const number = Math.floor(queueId / DEFINITIONS_CHUNK);
    let resident = this.#chunks.get(number);
    if (resident === undefined) {
      resident = new Resident(definitionsKey(number), new DefinitionsChunk(), this);
      this.#chunks.set(number, resident);
      meta.addDefinitionChunk(number);
    }
    this.#table.touch(resident);
    return resident.content;
  }
}
