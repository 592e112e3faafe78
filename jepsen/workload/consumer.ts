/**
 * A consumer of one group that settles by hand: each delivery is written down, then acknowledged,
 * or rejected, by a publish of its own, whose answer says whether the settlement is certain. It
 * holds a delivery for a few milliseconds first, so that there is always something delivered and
 * unsettled.
 *
 * What it rejects is told by the message alone: to whomever of the group it comes, however often.
 */

import { sleep } from '../sleep.ts';
import type { Connection, Message } from './connection.ts';
import { type ClientParts, connectSomewhere } from './parts.ts';
import { decodePayload } from './payload.ts';

const HOLD_MAX_MS = 20;
const AGAIN_MS = 200;
/** One of so many messages of each publisher, where the group rejects. */
const REJECTED_OF = 8;

export interface ConsumerOptions {
  readonly name: string;
  readonly queue: string;
  readonly group: string;
  readonly node: string;
  readonly delivered: (value: string) => void;
  /** Rejects some, whose dead letters go to this queue; undefined: none. */
  readonly dead: string | undefined;
  /** Hears of each rejection that was acknowledged. */
  readonly rejected: (value: string) => void;
}

export class Consumer {
  readonly #parts: ClientParts;
  readonly #options: ConsumerOptions;
  #underWay = 0;

  constructor(parts: ClientParts, options: ConsumerOptions) {
    this.#parts = parts;
    this.#options = options;
  }

  async run(): Promise<void> {
    const { stop, random, cluster } = this.#parts;
    let { node } = this.#options;
    for (let stay = 0; !stop.aborted; stay += 1) {
      const consumer = `${this.#options.name}.${stay}`;
      const connection = await connectSomewhere(this.#parts, node, consumer);
      if (connection === undefined) return;
      await this.#stay(connection, consumer);
      node = random.pick(cluster.ids) ?? node;
    }
  }

  async #stay(connection: Connection, consumer: string): Promise<void> {
    const { recorder, processes, stop } = this.#parts;
    const { queue, group } = this.#options;
    const process = processes.take();
    const about = { process, node: connection.node, queue, group, consumer } as const;
    connection.onMessage((message) => this.#received(connection, consumer, message));
    recorder.add({ f: 'attach', type: 'invoke', ...about });
    const user = { 'consumer-group': group, ack: 'manual' };
    const answer = await connection.subscribe(`$queue/${queue}`, user);
    recorder.add({ f: 'attach', ...about, ...answer });
    if (answer.type === 'ok') await Promise.race([connection.closed, aborted(stop)]);
    while (connection.isOpen && this.#underWay > 0) await sleep(10);
    if (stop.aborted) await connection.leave();
    else await connection.cut();
    const end = { ...about, process: processes.take() };
    recorder.add({ f: 'detach', type: 'invoke', ...end });
    recorder.add({ f: 'detach', type: 'ok', ...end, error: await connection.closed });
    processes.giveBack(end.process);
    if (answer.type === 'ok') processes.giveBack(process);
    else await sleep(AGAIN_MS, stop);
  }

  #received(connection: Connection, consumer: string, { payload, user }: Message): void {
    const { recorder, processes } = this.#parts;
    const { queue, group } = this.#options;
    const { value, corrupt } = decodePayload(payload);
    const process = processes.take();
    const offset = Number(user['offset'] ?? -1);
    const about = { process, node: connection.node, queue, value, group, consumer, offset };
    const delivery = {
      f: 'dequeue',
      ...about,
      attempt: Number(user['delivery-count'] ?? 0),
      ...(corrupt && ({ corrupt: true } as const)),
    } as const;
    recorder.add({ type: 'invoke', ...delivery });
    recorder.add({ type: 'ok', ...delivery });
    processes.giveBack(process);
    if (!corrupt) this.#options.delivered(value);
    void this.#settle(connection, { about, user });
  }

  async #settle(
    connection: Connection,
    { about, user }: { readonly about: AboutDelivery; readonly user: Message['user'] },
  ): Promise<void> {
    const { recorder, processes, random } = this.#parts;
    this.#underWay += 1;
    await sleep(random.whole(0, HOLD_MAX_MS));
    if (connection.isOpen) {
      const process = processes.take();
      const { queue, dead, rejected } = this.#options;
      const rejects = dead !== undefined && isRejected(about.value);
      const how = rejects ? ({ f: 'reject', dead } as const) : ({ f: 'ack' } as const);
      recorder.add({ ...how, type: 'invoke', ...about, process });
      const answer = await connection.publish(`$queue/${queue}/$${how.f}`, '', {
        'message-id': user['message-id'] ?? '',
        'group-id': user['group-id'] ?? '',
      });
      recorder.add({ ...how, ...about, process, ...answer });
      if (rejects && answer.type === 'ok') rejected(about.value);
      if (answer.type !== 'info') processes.giveBack(process);
    }
    this.#underWay -= 1;
  }
}

interface AboutDelivery {
  readonly process: number;
  readonly node: string;
  readonly queue: string;
  readonly value: string;
  readonly group: string;
  readonly consumer: string;
  readonly offset: number;
}

/** By its number in its stream; one with a damaged payload may have none. */
function isRejected(value: string): boolean {
  return Number(value.slice(value.lastIndexOf('/') + 1)) % REJECTED_OF === REJECTED_OF - 1;
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
