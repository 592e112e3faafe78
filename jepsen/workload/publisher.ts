/**
 * A publisher: at a steady rate, with a few messages on their way at once, each sent exactly once.
 * Each connection is a stream of its own, numbered from 0, so that the order of what it sent can be
 * judged. After an answer that leaves something unknown it goes to another node, as a client that
 * mistrusts its own would.
 */

import { sleep } from '../sleep.ts';
import type { Connection } from './connection.ts';
import { type ClientParts, connectSomewhere } from './parts.ts';
import { encodePayload } from './payload.ts';

/** Messages of one publisher on their way at once. */
const WINDOW = 8;

export interface PublisherOptions {
  readonly name: string;
  readonly queue: string;
  /** The node that it begins with. */
  readonly node: string;
  readonly perSecond: number;
  readonly payloadBytes: number;
  /** Hears of each value that was acknowledged. */
  readonly acknowledged: (value: string) => void;
}

export class Publisher {
  readonly #parts: ClientParts;
  readonly #options: PublisherOptions;
  #underWay = 0;

  constructor(parts: ClientParts, options: PublisherOptions) {
    this.#parts = parts;
    this.#options = options;
  }

  /** Resolves when it was stopped and all that it sent has ended. */
  async run(): Promise<void> {
    const { stop, random, cluster } = this.#parts;
    let { node } = this.#options;
    for (let stream = 0; !stop.aborted; stream += 1) {
      const name = `${this.#options.name}.${stream}`;
      const connection = await connectSomewhere(this.#parts, node, name);
      if (connection === undefined) return;
      await this.#publish(connection, name);
      await connection.leave();
      node = random.pick(cluster.ids) ?? node;
    }
  }

  async #publish(connection: Connection, stream: string): Promise<void> {
    const { stop } = this.#parts;
    const state = { doubtful: false };
    const every = 1000 / this.#options.perSecond;
    let due = performance.now();
    for (let sequence = 0; !stop.aborted && connection.isOpen && !state.doubtful;) {
      // What could not be sent in time is not made up for: a burst after a fault tells nothing.
      due = Math.max(due + every, performance.now() - every);
      await sleep(Math.max(0, due - performance.now()), stop);
      if (this.#underWay >= WINDOW || stop.aborted) continue;
      void this.#send(connection, `${stream}/${sequence}`, state);
      sequence += 1;
    }
    while (this.#underWay > 0) await sleep(10);
  }

  async #send(connection: Connection, value: string, state: { doubtful: boolean }): Promise<void> {
    const { recorder, processes } = this.#parts;
    const process = processes.take();
    const { queue } = this.#options;
    const about = { f: 'enqueue', process, node: connection.node, queue, value } as const;
    recorder.add({ ...about, type: 'invoke' });
    this.#underWay += 1;
    const payload = encodePayload(value, this.#options.payloadBytes);
    const answer = await connection.publish(`$queue/${queue}`, payload);
    this.#underWay -= 1;
    recorder.add({ ...about, ...answer });
    if (answer.type === 'ok') this.#options.acknowledged(value);
    if (answer.type === 'info') state.doubtful = true;
    else processes.giveBack(process);
  }
}
