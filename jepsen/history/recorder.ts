/**
 * The history of a run, written as it happens: each operation gets its place and time at the moment
 * of the call, and goes to `history.jsonl` and `history.edn` before the next turn of the event
 * loop is over. A harness that is killed leaves a history that ends at most a moment before it.
 *
 * It never changes what is written, and keeps nothing but what the progress line counts.
 */

import { createWriteStream, type WriteStream } from 'node:fs';
import { once } from 'node:events';
import { join } from 'node:path';
import { edn } from './edn.ts';
import type { Event, Operation } from './operation.ts';

export const HISTORY_FILE = 'history.jsonl';
const EDN_FILE = 'history.edn';
/** A disk that takes nothing any more ends the run instead of filling the memory. */
const WAITING_BYTES_MAX = 64 << 20;

export class Recorder {
  readonly #json: WriteStream;
  readonly #edn: WriteStream;
  readonly #began = process.hrtime.bigint();
  readonly #counts = new Map<string, number>();
  /** Enqueues, by queue. */
  readonly #acknowledged = new Map<string, number>();
  #lines: Operation[] = [];
  #index = 0;
  #failure: Error | undefined;

  constructor(directory: string) {
    this.#json = createWriteStream(join(directory, HISTORY_FILE));
    this.#edn = createWriteStream(join(directory, EDN_FILE));
    for (const stream of [this.#json, this.#edn]) {
      stream.on('error', (error) => {
        this.#failure ??= error;
      });
    }
  }

  /** Nanoseconds since the run began. */
  now(): number {
    return Number(process.hrtime.bigint() - this.#began);
  }

  /** Throws when the history cannot be written: a run without its evidence is none. */
  add(event: Event): Operation {
    if (this.#failure !== undefined) throw this.#failure;
    const operation = { index: this.#index, time: this.now(), ...event };
    this.#index += 1;
    const key = `${event.f} ${event.type}`;
    this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1);
    if (event.f === 'enqueue' && event.type === 'ok') {
      this.#acknowledged.set(event.queue, this.acknowledged(event.queue) + 1);
    }
    if (this.#lines.length === 0) setImmediate(() => this.#write());
    this.#lines.push(operation);
    return operation;
  }

  /** How many operations `f` ended, or began, like that. */
  count(f: string, type: string): number {
    return this.#counts.get(`${f} ${type}`) ?? 0;
  }

  /** Enqueues of a queue. */
  acknowledged(queue: string): number {
    return this.#acknowledged.get(queue) ?? 0;
  }

  get size(): number {
    return this.#index;
  }

  async close(): Promise<void> {
    this.#write();
    for (const stream of [this.#json, this.#edn]) {
      stream.end();
      if (!stream.closed) await once(stream, 'close');
    }
    if (this.#failure !== undefined) throw this.#failure;
  }

  #write(): void {
    const lines = this.#lines;
    if (lines.length === 0) return;
    this.#lines = [];
    this.#json.write(`${lines.map((line) => JSON.stringify(line)).join('\n')}\n`);
    this.#edn.write(`${lines.map(edn).join('\n')}\n`);
    if (this.#json.writableLength + this.#edn.writableLength > WAITING_BYTES_MAX) {
      this.#failure ??= new Error('the disk does not take the history as fast as it grows');
    }
  }
}
