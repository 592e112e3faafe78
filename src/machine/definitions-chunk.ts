/**
 * The record of `DEFINITIONS_CHUNK` consecutive queueIds: a view of the table of definitions, with
 * nothing of its own. So a definition changes only behind `RecordTable.touch` of its chunk, or the
 * cut of a checkpoint would have what came later.
 *
 * Format 1: a row of queueId and definition (`definitionData`) for each queue, in order of queueId.
 */

import { assert } from './assert.ts';
import type { DefinitionTable } from './definition-table.ts';
import { type QueueDefinition, definitionData, definitionOf } from './definitions.ts';
import type { QueueId } from './ids.ts';
import { type RecordData, listOf, numberOf } from './record-data.ts';

const DEFINITIONS_CHUNK = 64;

/** In which chunk a queue is. */
export function definitionsChunkOf(queueId: QueueId): number {
  return Math.floor(queueId / DEFINITIONS_CHUNK);
}

/** What a record says. */
export function definitionRows(data: RecordData): (readonly [QueueId, QueueDefinition])[] {
  const [format, ...rows] = listOf(data);
  assert(format === 1, 'definitions: unknown format');
  return rows.map((row) => {
    const [id, definition] = listOf(row);
    assert(definition !== undefined, 'definitions: a row without a definition');
    return [numberOf(id) as QueueId, definitionOf(definition)] as const;
  });
}

export class DefinitionsChunk {
  readonly #number: number;
  readonly #table: DefinitionTable;

  constructor(chunk: number, table: DefinitionTable) {
    this.#number = chunk;
    this.#table = table;
  }

  get isEmpty(): boolean {
    return this.#ids().length === 0;
  }

  toData(): RecordData {
    const rows = this.#ids().map((queueId) => [
      queueId,
      definitionData(this.#table.get(queueId) as QueueDefinition),
    ]);
    return [1, ...rows];
  }

  #ids(): QueueId[] {
    const first = this.#number * DEFINITIONS_CHUNK;
    return Array.from({ length: DEFINITIONS_CHUNK }, (_none, at) => (first + at) as QueueId).filter(
      (queueId) => this.#table.has(queueId),
    );
  }
}
