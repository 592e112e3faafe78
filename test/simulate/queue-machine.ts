/**
 * The queue machine of the product (`src/machine`) behind simulated replicas: each client publishes
 * into a queue of its own, and a consumer takes what comes and settles it.
 *
 * Whether a number is new, a retry or leaves a gap is the machine's to say, by its streams; what is
 * wanted is the machine's to say, by its groups. Here is kept only which message stands at which
 * offset. A message counts as delivered when it is settled; those that still wait are delivered at
 * the end, in the order of their offsets. Its state is the machine's records, as a checkpoint has
 * them.
 */

import type { QueueId } from '../../src/machine/ids.ts';
import type { RecordData, RecordKey } from '../../src/machine/record-data.ts';
import { EMPTY_STATE, mixed } from '../../raft/simulation/state-machine.ts';
import type {
  MachineKind,
  MachineState,
  SimulatedMachine,
} from '../../raft/simulation/state-machine.ts';
import { MachineDriver } from '../machine/machine-driver.ts';
import type { SeenEffect } from '../machine/machine-driver.ts';

/** So few records stay in memory that they come and go. */
const RESIDENT_RECORDS = 4;
const STAMP_START = 1_000_000;
/** A consumer settles so many for each batch that comes in. */
const SETTLED_AT_ONCE = 3;
/** A client has at most so many numbers that it does not know the outcome of. */
const UNKNOWN_MOST = 64;
const MESSAGE_BYTES = 100;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

interface ClientQueue {
  readonly queueId: QueueId;
  readonly boot: number;
  /** Number of the message at each offset. */
  readonly numbers: number[];
  last: number;
  /** Next offset that the consumer looks at. */
  next: number;
  readonly delivered: number[];
}

interface QueueData {
  readonly index: number;
  readonly records: readonly (readonly [RecordKey, unknown])[];
  readonly clients: readonly (readonly [string, ClientQueue])[];
}

class QueueMachine implements SimulatedMachine {
  #driver = new MachineDriver(RESIDENT_RECORDS);
  #applied = EMPTY_STATE.applied;
  #digest = EMPTY_STATE.digest;
  #clients = new Map<string, ClientQueue>();

  get applied(): number {
    return this.#applied;
  }

  get digest(): number {
    return this.#digest;
  }

  /** Delivered, and what waits to be. */
  get history(): ReadonlyMap<string, readonly number[]> {
    const history = new Map<string, readonly number[]>();
    for (const [client, queue] of this.#clients) {
      const waiting = queue.numbers.filter(
        (_number, offset) => offset >= queue.next && this.#driver.isWanted(queue.queueId, offset),
      );
      history.set(client, [...queue.delivered, ...waiting]);
    }
    return history;
  }

  lastOf(client: string): number {
    return this.#clients.get(client)?.last ?? 0;
  }

  apply(index: number, term: number, payload: Uint8Array): void {
    if (index !== this.#applied + 1) {
      throw new Error(`entry ${index} is applied behind ${this.#applied}`);
    }
    this.#applied = index;
    this.#driver.now = STAMP_START + index;
    const text = decoder.decode(payload);
    this.#digest = mixed(this.#digest, `${index} ${term} ${text}`);
    if (text === '') return;
    const [client = '', ...numbers] = text.split(' ');
    const queue = this.#queueOf(client);
    for (const number of numbers.map(Number)) this.#publish(client, queue, number);
    this.#consume(queue);
  }

  #queueOf(client: string): ClientQueue {
    const known = this.#clients.get(client);
    if (known !== undefined) return known;
    const queueId = this.#driver.declare(client);
    const boot = this.#driver.open(client);
    const queue = { queueId, boot, numbers: [], last: 0, next: 0, delivered: [] };
    this.#clients.set(client, queue);
    return queue;
  }

  #publish(client: string, queue: ClientQueue, number: number): void {
    const { queueId, boot } = queue;
    const effects = this.#driver.run({
      kind: 'enqueue',
      node: client,
      boot,
      number,
      answeredUpTo: Math.max(0, number - 1 - UNKNOWN_MOST),
      targets: [queueId],
      bytes: MESSAGE_BYTES,
      topic: `$queue/${client}`,
      options: undefined,
    });
    for (const effect of effects) this.#happened(queue, number, effect);
  }

  #happened(queue: ClientQueue, number: number, effect: SeenEffect): void {
    this.#digest = mixed(this.#digest, JSON.stringify(effect));
    if (effect.kind === 'enqueued') {
      queue.numbers[effect.offset] = number;
      queue.last = number;
    }
  }

  /** In order; each once, because the machine says what is still wanted. */
  #consume(queue: ClientQueue): void {
    for (let left = SETTLED_AT_ONCE; left > 0 && queue.next < queue.numbers.length; left -= 1) {
      const offset = queue.next;
      queue.next += 1;
      const number = queue.numbers[offset];
      if (number === undefined || !this.#driver.isWanted(queue.queueId, offset)) continue;
      queue.delivered.push(number);
      const effects = this.#driver.settle(queue.queueId, offset);
      this.#digest = mixed(this.#digest, JSON.stringify(effects));
    }
  }

  state(): MachineState {
    const data: QueueData = {
      index: this.#driver.index,
      records: this.#driver.dump().map(([key, record]) => [key, asJson(record)]),
      clients: structuredClone([...this.#clients]),
    };
    return { applied: this.#applied, digest: this.#digest, data };
  }

  restore({ applied, digest, data }: MachineState): void {
    this.#applied = applied;
    this.#digest = digest;
    if (data === undefined) return;
    const { index, records, clients } = data as QueueData;
    const store = new Map(records.map(([key, record]) => [key, asRecord(record)]));
    this.#driver = new MachineDriver(RESIDENT_RECORDS, store);
    this.#driver.index = index;
    this.#clients = new Map(structuredClone([...clients]));
  }
}

interface Bytes {
  readonly bytes: string;
}

function asJson(data: RecordData): unknown {
  if (data instanceof Uint8Array) return { bytes: Buffer.from(data).toString('base64') };
  if (typeof data === 'object' && data !== null) return data.map(asJson);
  return data;
}

function asRecord(json: unknown): RecordData {
  if (Array.isArray(json)) return json.map(asRecord);
  if (typeof json !== 'object' || json === null) return json as RecordData;
  return new Uint8Array(Buffer.from((json as Bytes).bytes, 'base64'));
}

export const queues: MachineKind = {
  make: () => new QueueMachine(),
  encode: (client, numbers) => encoder.encode([client, ...numbers].join(' ')),
};
