/**
 * The meta record: the version of the machine's rules, the next queueId, and how far apply has
 * come.
 *
 * An entry is applied by the rules of the version in force at its index, so that replicas of two
 * releases stay equal; a committed `set-version` raises it once every voter knows the new one.
 * Version 1 is the first and, so far, the only one: a machine that meets another in a log or a
 * record does not go on.
 */

import { assert } from './assert.ts';
import { type RecordData, countOf, listOf } from './record-data.ts';

export const MACHINE_VERSION = 1;

/** May this version be put in force after `inForce`? */
export function isVersionAllowed(version: number, inForce: number): boolean {
  return Number.isSafeInteger(version) && version >= inForce && version <= MACHINE_VERSION;
}

export class Meta {
  version = MACHINE_VERSION;
  /** Only grows: a queueId is never used again. From 1. */
  nextQueueId: number;
  lastIndex = 0;
  lastStamp = 0;
  /** Chunks of definitions that exist, ascending. */
  definitionChunks: number[] = [];

  /** Of a new shard. */
  constructor(firstQueueId = 1) {
    this.nextQueueId = firstQueueId;
  }

  static fromData(data: RecordData): Meta {
    const [format, version, nextQueueId, lastIndex, lastStamp, chunks] = listOf(data);
    assert(format === 1, 'meta: unknown format');
    const meta = new Meta();
    meta.version = countOf(version);
    assert(
      meta.version >= 1 && meta.version <= MACHINE_VERSION,
      'meta: a newer version is in force',
    );
    meta.nextQueueId = countOf(nextQueueId);
    meta.lastIndex = countOf(lastIndex);
    meta.lastStamp = countOf(lastStamp);
    meta.definitionChunks = listOf(chunks).map(countOf);
    return meta;
  }

  addDefinitionChunk(chunk: number): void {
    this.definitionChunks.push(chunk);
    this.definitionChunks.sort((a, b) => a - b);
  }

  removeDefinitionChunk(chunk: number): void {
    this.definitionChunks = this.definitionChunks.filter((each) => each !== chunk);
  }

  toData(): RecordData {
    return [
      1,
      this.version,
      this.nextQueueId,
      this.lastIndex,
      this.lastStamp,
      [...this.definitionChunks],
    ];
  }
}
