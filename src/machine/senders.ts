/**
 * The streams of all senders: one record each, found by the name of the sender's node.
 *
 * The one that was used last is remembered, because a section of a log entry holds many commands
 * of one sender.
 */

import { assert } from './assert.ts';
import type { NumberedCommand } from './command.ts';
import type { Effects } from './effect.ts';
import { type RecordData, type RecordKey, streamKey } from './record-data.ts';
import {
  type RecordContent,
  type RecordHolder,
  type RecordTable,
  Resident,
} from './record-table.ts';
import { IN_TURN, Stream } from './streams.ts';

export class Senders implements RecordHolder {
  readonly #table: RecordTable;
  readonly #streams = new Map<string, Resident<Stream>>();
  #last: Resident<Stream> | undefined;
  #lastNode = '';

  constructor(table: RecordTable) {
    this.#table = table;
  }

  /** The key of the stream's record; undefined: it is resident. */
  missing(node: string): RecordKey | undefined {
    return this.#stream(node) === undefined ? streamKey(node) : undefined;
  }

  /** Undefined: it is not resident. */
  stream(node: string): Stream | undefined {
    return this.#stream(node)?.content;
  }

  /** A sender that was never heard of has no record. */
  load(node: string, data: RecordData | undefined): void {
    if (this.#streams.has(node)) return;
    const content = data === undefined ? new Stream() : Stream.fromData(data);
    const stream = new Resident(streamKey(node), content, this);
    this.#streams.set(node, stream);
    this.#table.adopt(stream);
  }

  /**
   * The stream, about to change, if this number's turn is now; otherwise its outcome is told again.
   */
  inTurn(command: NumberedCommand, effects: Effects): Stream | undefined {
    const stream = this.#changing(command.node);
    stream.answered(command.boot, command.answeredUpTo);
    const outcome = stream.check(command.boot, command.number);
    if (outcome === IN_TURN) return stream;
    effects.addConfirmed(command, outcome);
    return undefined;
  }

  open(node: string, effects: Effects): void {
    effects.addRare({ kind: 'stream-opened', node, boot: this.#changing(node).open() });
  }

  evicted(resident: Resident<RecordContent>): void {
    if (resident === this.#last) this.#last = undefined;
    this.#streams.delete(resident.key.slice(resident.key.indexOf('/') + 1));
  }

  #changing(node: string): Stream {
    const resident = this.#stream(node);
    assert(resident !== undefined, 'apply: the stream is not loaded');
    this.#table.touch(resident);
    return resident.content;
  }

  #stream(node: string): Resident<Stream> | undefined {
    let stream = this.#last;
    if (stream === undefined || node !== this.#lastNode) {
      stream = this.#streams.get(node);
      if (stream === undefined) return undefined;
      this.#last = stream;
      this.#lastNode = node;
    }
    stream.used = true;
    return stream;
  }
}
