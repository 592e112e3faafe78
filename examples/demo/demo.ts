/**
 * `npm run demo`: three producers, two groups of workers, a broker that is killed in the middle,
 * dead letters that are repaired and sent back, and a reader of the history who comes late. With
 * `--nodes 3` there are three brokers, and it is the one that leads.
 *
 * Orders may arrive twice (at least once), but none may be missing in any group or in the stream.
 * Exit status 1 if one is.
 */

import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs, promisify } from 'node:util';
import { Presets, SingleBar } from 'cli-progress';
import type { MqttClient } from 'mqtt';
import { LAUNCHER } from './broker-process.ts';
import { Brokers } from './brokers.ts';
import { type Decision, type Order, connectClient, produce, readStream, work } from './clients.ts';
import { OrderBook } from './orders.ts';

const ORDERS = 10_000;
const PRODUCERS = 3;
const WORKERS = 2;
const REJECTED_EVERY = 100;
const NACKED_EVERY = 50;
const DEADLINE_MS = { 1: 110_000, 3: 300_000 } as const;
type Nodes = keyof typeof DEADLINE_MS;

/** One run of the demo: its broker, its clients and its book. */
class Demo {
  readonly #directory: string;
  readonly #brokers: Brokers;
  readonly #book = new OrderBook();
  readonly #clients: MqttClient[] = [];
  readonly #deadline: number;
  readonly #bar = new SingleBar(
    { format: '{what} {bar} {value}/{total}', hideCursor: true },
    Presets.shades_classic,
  );
  /** Shipping cannot handle some orders, until it is repaired. */
  #repaired = false;

  constructor(directory: string, brokers: Brokers, deadline: number) {
    this.#directory = directory;
    this.#brokers = brokers;
    this.#deadline = deadline;
  }

  async run(): Promise<number> {
    const startedAt = performance.now();
    const brokers = this.#brokers.count === 1 ? 'a broker of its own' : 'three brokers';
    say(`${brokers}, 3 producers, 10,000 orders, the groups billing and shipping`);
    await this.#brokers.start();
    try {
      this.#startWorkers();
      await this.#produceOverKill();
      await this.#finish('billing', 'billing    ');
      await this.#finish('shipping', 'shipping   ');
      await this.#replay();
      await this.#readLate();
      return this.#verdict((performance.now() - startedAt) / 1000);
    } finally {
      await Promise.all(this.#clients.map((client) => client.endAsync(true)));
      await this.#brokers.stop();
      await rm(this.#directory, { recursive: true, force: true });
    }
  }

  #client(id: string): MqttClient {
    const client = connectClient(this.#brokers.portsFor(this.#clients.length), id);
    this.#clients.push(client);
    return client;
  }

  #startWorkers(): void {
    const book = this.#book;
    for (let i = 0; i < WORKERS; i += 1) {
      work(this.#client(`billing-${i}`), 'billing', {
        decide: () => 'ack',
        settled: ({ id }) => book.done('billing', id),
      });
      work(this.#client(`shipping-${i}`), 'shipping', {
        decide: (order, attempt) => this.#ship(order, attempt),
        settled: ({ id }, decision) => {
          book.count(decision);
          if (decision !== 'nack') book.done('shipping', id);
          if (decision === 'reject') book.done('dead', id);
          if (decision === 'ack') book.done('shipped', id);
        },
      });
    }
  }

  #ship({ id }: Order, attempt: number): Decision {
    const number = Number(id.slice(id.lastIndexOf('-') + 1));
    if (number % REJECTED_EVERY === 0 && !this.#repaired) return 'reject';
    return number % NACKED_EVERY === 1 && attempt === 1 ? 'nack' : 'ack';
  }

  async #produceOverKill(): Promise<void> {
    const book = this.#book;
    const producers = Array.from({ length: PRODUCERS }, (_, i) => {
      const share = Math.floor(ORDERS / PRODUCERS) + (i < ORDERS % PRODUCERS ? 1 : 0);
      const name = `shop-${i}`;
      return produce(this.#client(name), { name, count: share }, (id) => {
        book.acknowledged.add(id);
      });
    });
    let produced = false;
    void Promise.all(producers).then(() => {
      produced = true;
    });
    await this.#until('published  ', ORDERS / 3, () => book.acknowledged.size);
    const alone = this.#brokers.count === 1;
    const killed = await this.#brokers.killOne();
    say(alone ? 'kill -9, and a new start' : `kill -9 of ${killed}, which leads; the others go on`);
    if (alone) await this.#brokers.bringBack();
    await this.#until('published  ', ORDERS, () => (produced ? ORDERS : book.acknowledged.size));
    if (alone) return;
    say(`${killed} comes back`);
    await this.#brokers.bringBack();
  }

  async #finish(group: string, what: string): Promise<void> {
    const { acknowledged } = this.#book;
    await this.#until(what, acknowledged.size, () => this.#book.finished(group));
  }

  async #replay(): Promise<void> {
    const book = this.#book;
    const dead = book.finished('dead');
    say(`${dead} orders are dead letters; shipping is repaired, and they are sent back`);
    this.#repaired = true;
    const move = ['queue', 'move', '$dlq/orders', '--to-source'];
    const on = ['--data', this.#brokers.data];
    const { stdout } = await promisify(execFile)(LAUNCHER, [...move, ...on]);
    say(stdout.trimEnd());
    await this.#until('shipped    ', book.acknowledged.size, () => book.finished('shipped'));
  }

  async #readLate(): Promise<void> {
    const book = this.#book;
    say('a reader of the stream joins, and begins with the first message');
    readStream(this.#client('late-1'), ({ id }, offset) => book.read(id, offset));
    await this.#until('history    ', book.acknowledged.size, () => book.readDistinct);
  }

  /** Shows a bar until `now` has reached `total`, or the time of the demo is over. */
  async #until(what: string, total: number, now: () => number): Promise<void> {
    this.#bar.start(total, 0, { what });
    while (now() < total && performance.now() < this.#deadline) {
      this.#bar.update(now());
      await new Promise((resolve) => {
        setTimeout(resolve, 20);
      });
    }
    this.#bar.update(now());
    this.#bar.stop();
  }

  #verdict(seconds: number): number {
    const book = this.#book;
    const lost = [...book.missing('billing'), ...book.missing('shipped'), ...book.unread()];
    const rows: readonly (readonly [string, number])[] = [
      ['acknowledged', book.acknowledged.size],
      ['billed', book.finished('billing')],
      ['shipped', book.finished('shipped')],
      ['handed back', book.counted('nack')],
      ['dead letters', book.finished('dead')],
      ['in the stream', book.readDistinct],
      ['lost', new Set(lost).size],
    ];
    const lines = rows.map(([name, count]) => `  ${name.padEnd(14)}${String(count).padStart(8)}`);
    say(
      ['', ...lines, '', `  one kill -9 in the middle, ${seconds.toFixed(1)} s in all`].join('\n'),
    );
    if (!book.historyInOrder) say('  the stream was not in order');
    if (lost.length > 0) say(`  lost: ${[...new Set(lost)].slice(0, 20).join(', ')}`);
    const whole = book.acknowledged.size === ORDERS && lost.length === 0 && book.historyInOrder;
    return whole ? 0 : 1;
  }
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

function nodesAsked(): Nodes {
  try {
    const { values } = parseArgs({ options: { nodes: { type: 'string', default: '1' } } });
    if (values.nodes === '1') return 1;
    if (values.nodes === '3') return 3;
    throw new Error(`--nodes ${values.nodes}: 1 or 3`);
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exit(2);
  }
}

const nodes = nodesAsked();
const deadline = performance.now() + DEADLINE_MS[nodes];
const directory = await mkdtemp(join(tmpdir(), 'fluxmq-demo-'));
const brokers = await Brokers.prepare(directory, nodes);
process.exit(await new Demo(directory, brokers, deadline).run());
