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
 * Of an idle queue nothing is here but its columns in the table of definitions: its `QueueState` is
 * made for who asks, and stays (awake) while a record of the queue is in memory.
 */

import { assert } from './assert.ts';
import type { DeclareQueueCommand, DeleteQueueCommand, UpdateQueueCommand } from './command.ts';
import { DefinitionTable, type Known } from './definition-table.ts';
import { DefinitionsChunk, definitionRows, definitionsChunkOf } from './definitions-chunk.ts';
import {
  DEFAULT_LIMITS,
  type QueueDefinition,
  type QueueLimits,
  definitionProblem,
  sameLimits,
  sameTopics,
} from './definitions.ts';
import type { Effects } from './effect.ts';
import { DELAYED_QUEUE, type QueueId } from './ids.ts';
import type { QueueOwner } from './queue-owner.ts';
import { QueueState } from './queue.ts';
import { type RecordData, definitionsKey } from './record-data.ts';
import { type RecordHolder, type RecordTable, Resident } from './record-table.ts';
import type { Meta } from './version.ts';

export interface DefinedQueue {
  readonly queueId: QueueId;
  readonly definition: QueueDefinition;
}

export class Definitions implements RecordHolder, QueueOwner<QueueState> {
  readonly #table: RecordTable;
  readonly #defined: DefinitionTable;
  readonly #awake = new Map<QueueId, QueueState>();
  readonly #chunks = new Map<number, Resident<DefinitionsChunk>>();
  #version = 0;
  /** Awake, and found last: commands of an entry name the same queue again and again. */
  #last: QueueState | undefined;
  readonly waiting: QueueState;

  /** `nameSeed`: see `QueueNames`. */
  constructor(table: RecordTable, nameSeed: number) {
    this.#defined = new DefinitionTable(nameSeed);
    this.#table = table;
    const definition: QueueDefinition = {
      name: '',
      type: 'classic',
      topics: [],
      limits: DEFAULT_LIMITS,
    };
    const alwaysThere: QueueOwner<QueueState> = { woke: () => undefined, slept: () => undefined };
    this.waiting = new QueueState(DELAYED_QUEUE, definition, { table, owner: alwaysThere });
  }

  get size(): number {
    return this.#defined.size;
  }

  /** How many different limits the queues have. */
  get differentLimits(): number {
    return this.#defined.differentLimits;
  }

  /** Queues of which a record is in memory. */
  get awakeCount(): number {
    return this.#awake.size;
  }

  /** Goes up with each change. */
  get version(): number {
    return this.#version;
  }

  /** Not to be kept beyond the call of the machine that asks. */
  get(queueId: QueueId): QueueState | undefined {
    const last = this.#last;
    if (last !== undefined && last.queueId === queueId) return last;
    const awake = this.#awake.get(queueId);
    if (awake !== undefined) {
      this.#last = awake;
      return awake;
    }
    const definition = this.#defined.get(queueId);
    return definition === undefined ? undefined : this.#newState(queueId, definition);
  }

  has(queueId: QueueId): boolean {
    return this.#defined.has(queueId);
  }

  definition(queueId: QueueId): QueueDefinition | undefined {
    return this.#awake.get(queueId)?.definition ?? this.#defined.get(queueId);
  }

  named(name: string): DefinedQueue | undefined {
    const queueId = this.#defined.idOf(name);
    const definition = queueId === undefined ? undefined : this.definition(queueId);
    return queueId === undefined || definition === undefined ? undefined : { queueId, definition };
  }

  /** In ascending order. */
  ids(): QueueId[] {
    return this.#defined.ids();
  }

  /** Of the queues of which a record is in memory, in ascending order. */
  awakeIds(): QueueId[] {
    return [...this.#awake.keys()].sort((a, b) => a - b);
  }

  /** In no order. */
  names(): string[] {
    return this.#defined.names();
  }

  hasChunk(chunk: number): boolean {
    return this.#chunks.has(chunk);
  }

  load(chunk: number, data: RecordData): void {
    if (this.#chunks.has(chunk)) return;
    const content = new DefinitionsChunk(chunk, this.#defined);
    this.#chunks.set(chunk, new Resident(definitionsKey(chunk), content, this));
    for (const [queueId, definition] of definitionRows(data)) {
      assert(definitionsChunkOf(queueId) === chunk, 'definitions: a queue in a wrong chunk');
      this.#defined.set(queueId, definition);
    }
    this.#version += 1;
  }

  declare(command: DeclareQueueCommand, meta: Meta, effects: Effects): void {
    const { name, type, limits } = command;
    // What a session captures by is not the declaration's to say.
    const topics =
      type === 'session' ? (this.named(name)?.definition.topics ?? []) : command.topics;
    const definition: QueueDefinition = { name, type, topics, limits };
    const problem = definitionProblem(definition) ?? this.#cycleProblem(name, limits);
    const there = this.named(name);
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
      this.#touchChunk(queueId, meta);
      this.#defined.set(queueId, definition);
      this.#newState(queueId, definition).create();
      this.#version += 1;
      effects.addRare({ kind: 'queue-declared', queueId, definition, created: true });
    }
  }

  update(command: UpdateQueueCommand, effects: Effects): void {
    const { queueId, limits } = command;
    const definition = this.definition(queueId);
    const problem =
      definition === undefined
        ? undefined
        : (definitionProblem({ ...definition, limits }) ??
          this.#cycleProblem(definition.name, limits));
    if (definition === undefined) {
      effects.addRare({
        kind: 'queue-refused',
        reason: 'no-queue',
        detail: `there is no queue ${queueId}`,
      });
    } else if (problem !== undefined) {
      effects.addRare({ kind: 'queue-refused', reason: 'invalid', detail: problem });
    } else {
      const there = { queueId, definition };
      this.#redefine(there, { ...definition, limits }, effects);
    }
  }

  redefineSession(queueId: QueueId, definition: QueueDefinition): void {
    this.#set(queueId, definition);
  }

  /** The records of the queue and of all its groups are resident. */
  remove(command: DeleteQueueCommand, meta: Meta, effects: Effects): void {
    const { queueId } = command;
    const state = this.get(queueId);
    if (state === undefined) {
      effects.addRare({
        kind: 'queue-refused',
        reason: 'no-queue',
        detail: `there is no queue ${queueId}`,
      });
      return;
    }
    const { name } = state.definition;
    state.remove();
    this.#awake.delete(queueId);
    if (this.#last?.queueId === queueId) this.#last = undefined;
    const chunk = this.#touchChunk(queueId, meta);
    this.#defined.remove(queueId);
    if (chunk.content.isEmpty) {
      const number = definitionsChunkOf(queueId);
      this.#table.remove(chunk);
      this.#chunks.delete(number);
      meta.removeDefinitionChunk(number);
    }
    this.#version += 1;
    effects.addRare({ kind: 'queue-deleted', queueId, name });
  }

  evicted(): void {
    assert(false, 'definitions are never evicted');
  }

  woke(state: QueueState): void {
    this.#awake.set(state.queueId, state);
  }

  slept({ queueId }: QueueState, known: Known): void {
    this.#awake.delete(queueId);
    if (this.#last?.queueId === queueId) this.#last = undefined;
    this.#defined.setKnown(queueId, known);
  }

  #newState(queueId: QueueId, definition: QueueDefinition): QueueState {
    const parts = { table: this.#table, owner: this };
    return new QueueState(queueId, definition, { ...parts, known: this.#defined.known(queueId) });
  }

  /** Follows the dead letters of a queue that would have these limits. */
  #cycleProblem(name: string, limits: QueueLimits): string | undefined {
    let next = limits.deadLetter;
    for (let hops = 0; next !== '' && hops <= this.#defined.size; hops += 1) {
      if (next === name) return `dlq: dead letters of ${name} would come back to it`;
      next = this.#defined.deadLetterOf(next);
    }
    return undefined;
  }

  #declareAgain(there: DefinedQueue, definition: QueueDefinition, effects: Effects): void {
    const { queueId, definition: before } = there;
    if (
      sameLimits(before.limits, definition.limits) &&
      sameTopics(before.topics, definition.topics)
    ) {
      effects.addRare({ kind: 'queue-declared', queueId, definition: before, created: false });
    } else {
      this.#redefine(there, definition, effects);
    }
  }

  #redefine(there: DefinedQueue, definition: QueueDefinition, effects: Effects): void {
    const { queueId, definition: previous } = there;
    this.#set(queueId, definition);
    effects.addRare({ kind: 'queue-updated', queueId, definition, previous });
  }

  #set(queueId: QueueId, definition: QueueDefinition): void {
    const chunk = this.#chunks.get(definitionsChunkOf(queueId));
    assert(chunk !== undefined, 'definitions: a queue without its chunk');
    this.#table.touch(chunk);
    this.#defined.set(queueId, definition);
    const awake = this.#awake.get(queueId);
    if (awake !== undefined) awake.definition = definition;
    this.#version += 1;
  }

  /**
   * The chunk of this queue, about to change; made when there is none. Meta is about to change too.
   */
  #touchChunk(queueId: QueueId, meta: Meta): Resident<DefinitionsChunk> {
    const number = definitionsChunkOf(queueId);
    let resident = this.#chunks.get(number);
    if (resident === undefined) {
      const content = new DefinitionsChunk(number, this.#defined);
      resident = new Resident(definitionsKey(number), content, this);
      this.#chunks.set(number, resident);
      meta.addDefinitionChunk(number);
    }
    this.#table.touch(resident);
    return resident;
  }
}
