/**
 * The client and the real shard, on a real disk: once with the shard in a thread of its own (the
 * compiled worker), once beside the client. What is told is what is stored, and what is stored is
 * delivered.
 */

import { once } from 'node:events';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { MessageChannel, Worker as Thread } from 'node:worker_threads';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Message } from '../../src/broker/message.ts';
import type { ConsumerSink, Delivery, QueueClient, QueueConsumer } from '../../src/broker/ports.ts';
import { parseConfig } from '../../src/config/config.ts';
import type { QueueDefinition } from '../../src/machine/definitions.ts';
import type { Offset, QueueId } from '../../src/machine/ids.ts';
import { OthersDesk } from '../../src/others-talk.ts';
import { type ShardSettings, shardSettings } from '../../src/options.ts';
import { pulseMemory } from '../../src/ops/thread-pulse.ts';
import { openShardHost } from '../../src/shard-host.ts';
import { ShardClient } from '../../src/shard/client.ts';
import { type BatchPort, ThreadBatchPort, loopback } from '../../src/shard/port.ts';
import { QueueClients } from '../../src/shard/queue-clients.ts';
import type { WorkerHears, WorkerInput, WorkerSays } from '../../src/worker-talk.ts';
import { Witness } from '../support/scripted-shard.ts';

const ORIGIN = { clientId: 'c1', protocol: 'mqtt' } as const;
const silent = { debug() {}, info() {}, warn() {}, error() {} };

interface Running {
  readonly client: QueueClients;
  end(): Promise<void>;
}

let directory: string;
let running: Running | undefined;

beforeEach(async () => {
  const parent = join(import.meta.dirname, '../.tmp');
  await mkdir(parent, { recursive: true });
  directory = await mkdtemp(join(parent, 'end-to-end-'));
});

afterEach(async () => {
  await stop();
  await rm(directory, { recursive: true, force: true });
});

const YAML = `
queues:
  - name: orders
    type: classic
    retry: { min: 1ms, max: 1ms }
  - name: audit
    type: classic
  - name: live
    type: ephemeral
storage: { segment_size: 4MiB, reserve: 8MiB }
log: { level: silent }
`;

function settings(thread: 'worker' | 'main', more: Partial<ShardSettings>): ShardSettings {
  const config = parseConfig({ file: { yaml: YAML, name: 'test' } });
  return { ...shardSettings(config, directory, false), thread, ...more };
}

async function start(
  thread: 'worker' | 'main',
  more: Partial<ShardSettings> = {},
): Promise<QueueClients> {
  const given = settings(thread, more);
  running = await (thread === 'main' ? startHere(given) : startThread(given));
  return running.client;
}

async function startHere(given: ShardSettings): Promise<Running> {
  const [near, port] = loopback();
  const [volatileNear, volatilePort] = loopback();
  const ports = { port, volatilePort };
  const host = await openShardHost({
    settings: given,
    ...ports,
    openPort: () => loopback()[1],
    others: () => new OthersDesk().of(0),
    logger: silent,
    onFailure() {},
  });
  return { client: await clientOf(near, volatileNear), end: () => host.stop() };
}

async function clientOf(port: BatchPort, volatilePort: BatchPort): Promise<QueueClients> {
  const open = (each: BatchPort) => ShardClient.open({ port: each, node: 'n1', logger: silent });
  return new QueueClients(await open(port), await open(volatilePort));
}

/** The compiled worker; not with the options of the process that runs the tests. */
async function startThread(given: ShardSettings): Promise<Running> {
  const { port1, port2 } = new MessageChannel();
  const inMemory = new MessageChannel();
  const ports = { port: port2, volatilePort: inMemory.port2 };
  const workerData: WorkerInput = { settings: given, ...ports, pulse: pulseMemory() };
  const file = new URL('../../dist/src/worker.js', import.meta.url);
  const transferList = [port2, inMemory.port2];
  const thread = new Thread(file, { workerData, transferList, execArgv: [] });
  await says(thread, 'ready');
  const volatilePort = new ThreadBatchPort(inMemory.port1);
  const client = await clientOf(new ThreadBatchPort(port1), volatilePort);
  const end = async (): Promise<void> => {
    const stopped = says(thread, 'stopped');
    thread.postMessage({ kind: 'stop' } satisfies WorkerHears);
    await stopped;
    await thread.terminate();
  };
  return { client, end };
}

async function says(thread: Thread, kind: WorkerSays['kind']): Promise<void> {
  const [said] = (await once(thread, 'message')) as [WorkerSays];
  if (said.kind !== kind) throw new Error(JSON.stringify(said));
}

/** Behind everything that was said before, as the stop goes the same way. */
async function stop(): Promise<void> {
  const stopping = running;
  running = undefined;
  if (stopping === undefined) return;
  await stopping.client.stop();
  await stopping.end();
  stopping.client.close();
}

function idOf(client: QueueClient, name: string): QueueId {
  const queue = client.queues.named(name);
  if (queue === undefined) throw new Error(`no queue ${name}`);
  return queue.queueId;
}

function message(payload: string): Message {
  const properties = { userProperties: [['n', payload]] as const };
  return {
    topic: '$queue/orders/x',
    payload: Buffer.from(payload),
    qos: 1,
    retain: false,
    properties,
  };
}

const textOf = (delivery: Delivery): string => Buffer.from(delivery.message.payload).toString();

/** Waits for something that a sink or a witness is told. */
class Watch {
  #waiting: { readonly holds: () => boolean; readonly done: () => void }[] = [];

  changed(): void {
    this.#waiting = this.#waiting.filter(({ holds, done }) => {
      if (!holds()) return true;
      done();
      return false;
    });
  }

  until(holds: () => boolean): Promise<void> {
    if (holds()) return Promise.resolve();
    return new Promise((done) => {
      this.#waiting.push({ holds, done });
    });
  }
}

class Publisher extends Witness {
  readonly watch = new Watch();

  override enqueued(...told: Parameters<Witness['enqueued']>): void {
    super.enqueued(...told);
    this.watch.changed();
  }

  /** Publishes payloads and tags `from` to `to - 1`, and waits for all outcomes. */
  async publish(
    client: QueueClient,
    targets: readonly QueueId[],
    from: number,
    to: number,
  ): Promise<void> {
    const before = this.told.length;
    for (let tag = from; tag < to; tag++) {
      if (!client.writable) {
        await new Promise<void>((resolve) => {
          client.onWritable(resolve);
        });
      }
      client.enqueue(targets, message(String(tag)), ORIGIN, this, tag);
    }
    await this.watch.until(() => this.told.length === before + to - from);
  }
}

class Worker implements ConsumerSink {
  readonly watch = new Watch();
  readonly got: { text: string; offset: Offset; attempt: number; redelivered: boolean }[] = [];
  cancelledFor: string | undefined;
  consumer: QueueConsumer | undefined;
  readonly #settles: boolean;

  constructor(settles: boolean) {
    this.#settles = settles;
  }

  delivered(delivery: Delivery): void {
    const { offset, term, deliveryNumber, attempt, redelivered } = delivery;
    this.got.push({ text: textOf(delivery), offset, attempt, redelivered });
    if (!this.#settles) return;
    this.consumer?.settle(offset, term, deliveryNumber, 'complete');
    this.consumer?.grant(1);
  }

  batchEnd(): void {
    this.watch.changed();
  }

  attached(): void {
    this.watch.changed();
  }

  ended(): void {
    throw new Error('this consumer settles by itself');
  }

  cancelled(reason: string): void {
    this.cancelledFor = reason;
    this.watch.changed();
  }

  get texts(): string[] {
    return this.got.map((each) => each.text);
  }
}

const plainly = { group: undefined, filter: '', start: undefined, manual: false };

function consume(client: QueueClient, queueId: QueueId, credit: number, settles = true): Worker {
  const worker = new Worker(settles);
  worker.consumer = client.consume({ ...plainly, queueId, clientId: 'w', credit }, worker);
  return worker;
}

const numbers = (from: number, to: number): string[] =>
  Array.from({ length: to - from }, (_, index) => String(from + index));

describe.each(['main', 'worker'] as const)('client and shard, shard in the %s thread', (thread) => {
  it('what is acknowledged is delivered once, in order, to each queue that it was for', async () => {
    const client = await start(thread);
    const [orders, audit] = [idOf(client, 'orders'), idOf(client, 'audit')];
    const one = consume(client, orders, 100);
    const other = consume(client, audit, 7);
    const publisher = new Publisher();
    await publisher.publish(client, [orders], 0, 3000);
    await publisher.publish(client, [orders, audit], 3000, 4000);
    expect(publisher.told.map(([tag]) => tag)).toEqual(
      Array.from({ length: 4000 }, (_, tag) => tag),
    );
    expect(publisher.told.every(([, outcome]) => typeof outcome === 'number')).toBe(true);
    await one.watch.until(() => one.got.length >= 4000);
    await other.watch.until(() => other.got.length >= 1000);
    expect(one.texts).toEqual(numbers(0, 4000));
    expect(other.texts).toEqual(numbers(3000, 4000));
    expect(one.got.every((each) => each.attempt === 1 && !each.redelivered)).toBe(true);
  });

  it('D1: after a restart every acknowledged message is there, and no settled one comes again', async () => {
    let client = await start(thread);
    let orders = idOf(client, 'orders');
    await new Publisher().publish(client, [orders], 0, 500);
    const first = consume(client, orders, 200, false);
    await first.watch.until(() => first.got.length === 200);
    const half = consume(client, orders, 100);
    await half.watch.until(() => half.got.length === 300);
    await stop();

    client = await start(thread);
    orders = idOf(client, 'orders');
    const second = consume(client, orders, 1000);
    await new Publisher().publish(client, [orders], 500, 501);
    await second.watch.until(() => second.got.some((each) => each.text === '500'));
    expect(second.texts).toEqual([...numbers(0, 200), '500']);
    expect(second.got.at(0)?.redelivered).toBe(true);
    expect(second.got.at(-1)).toMatchObject({ attempt: 1, redelivered: false });
  });

  it('what a lost consumer held comes again as an attempt, and what one hands back does not', async () => {
    const client = await start(thread);
    const orders = idOf(client, 'orders');
    await new Publisher().publish(client, [orders], 0, 2);
    const lost = consume(client, orders, 2, false);
    await lost.watch.until(() => lost.got.length === 2);
    lost.consumer?.close('lost');
    const back = consume(client, orders, 2, false);
    await back.watch.until(() => back.got.length === 2);
    expect(back.got.map(({ text, attempt, redelivered }) => [text, attempt, redelivered])).toEqual([
      ['0', 2, true],
      ['1', 2, true],
    ]);
    back.consumer?.close('returned');
    const last = consume(client, orders, 2);
    await last.watch.until(() => last.got.length === 2);
    expect(last.got.map((each) => each.attempt)).toEqual([2, 2]);
  });

  it('a target that does not exist is refused, between others that are stored', async () => {
    const client = await start(thread);
    const orders = idOf(client, 'orders');
    const publisher = new Publisher();
    const nowhere = 4_000_000 as QueueId;
    for (const [tag, target] of [orders, nowhere, orders].entries()) {
      client.enqueue([target], message(String(tag)), ORIGIN, publisher, tag);
    }
    await publisher.watch.until(() => publisher.told.length === 3);
    expect(publisher.told.map(([, outcome]) => outcome)).toEqual([1, 'no-queue', 3]);
    const worker = consume(client, nowhere, 1);
    await worker.watch.until(() => worker.cancelledFor !== undefined);
    expect(worker.cancelledFor).toBe('queue-deleted');
  });

  it('small bounds of bytes slow a flood down and lose nothing of it', async () => {
    const client = await start(thread, { maxUncommittedBytes: 4096 });
    const orders = idOf(client, 'orders');
    const publisher = new Publisher();
    await publisher.publish(client, [orders], 0, 10_000);
    expect(publisher.told.every(([, outcome]) => typeof outcome === 'number')).toBe(true);
    const worker = consume(client, orders, 1000);
    await worker.watch.until(() => worker.got.length >= 10_000);
    expect(worker.texts).toEqual(numbers(0, 10_000));
  });

  it('a queue in memory takes and gives as any other, in its own order, and is empty after a restart', async () => {
    let client = await start(thread);
    let [orders, live] = [idOf(client, 'orders'), idOf(client, 'live')];
    const publisher = new Publisher();
    for (let tag = 0; tag < 300; tag++) {
      const targets = [[orders], [live], [orders, live]][tag % 3] ?? [];
      client.enqueue(targets, message(String(tag)), ORIGIN, publisher, tag);
    }
    await publisher.watch.until(() => publisher.told.length === 300);
    // Those that go to both wait for both; each kind keeps its order.
    for (const kind of [0, 1, 2]) {
      const tags = publisher.told.map(([tag]) => tag).filter((tag) => tag % 3 === kind);
      expect(tags).toEqual(Array.from({ length: 100 }, (_none, at) => at * 3 + kind));
    }
    expect(publisher.told.every(([, outcome]) => typeof outcome === 'number')).toBe(true);
    const inMemory = consume(client, live, 50);
    await inMemory.watch.until(() => inMemory.got.length === 200);
    expect(inMemory.texts).toEqual(numbers(0, 300).filter((each) => Number(each) % 3 !== 0));
    await new Publisher().publish(client, [live], 300, 310);
    await inMemory.watch.until(() => inMemory.got.length === 210);
    const listed = await client.admin.list('', 10);
    expect(listed.map(({ definition }) => definition.name)).toEqual([
      'audit',
      'live',
      'mqtt',
      'orders',
    ]);
    expect(await client.admin.purge('orders', undefined)).toBe(200);
    await new Publisher().publish(client, [live, orders], 310, 311);
    await stop();

    client = await start(thread);
    const before = live;
    [orders, live] = [idOf(client, 'orders'), idOf(client, 'live')];
    expect(live).not.toBe(before);
    expect(await client.admin.show('live')).toMatchObject({ depth: 0, next: 0 });
    expect(await client.admin.show('orders')).toMatchObject({ depth: 1 });
  });

  it('a publish to a log and to memory is refused as a whole word when one of them refuses', async () => {
    const client = await start(thread, { ephemeralBytes: 1 });
    const [orders, live] = [idOf(client, 'orders'), idOf(client, 'live')];
    const publisher = new Publisher();
    await publisher.publish(client, [live], 0, 1);
    await publisher.publish(client, [orders], 1, 2);
    await publisher.publish(client, [orders, live], 2, 3);
    await publisher.publish(client, [4_000_000 as QueueId], 3, 4);
    expect(publisher.told.map(([, outcome]) => outcome)).toEqual([
      'queue-full',
      expect.any(Number),
      'queue-full',
      'no-queue',
    ]);
  });

  it('a queue in memory and one in the log have no name in common', async () => {
    const client = await start(thread);
    const [orders, live] = await Promise.all([
      client.admin.show('orders'),
      client.admin.show('live'),
    ]);
    const other = (definition: QueueDefinition, type: QueueDefinition['type']) =>
      client.admin.declare({ ...definition, type });
    const exists = expect.objectContaining({ code: 'exists' });
    await expect(other(orders.definition, 'ephemeral')).rejects.toThrow(exists);
    await expect(other(live.definition, 'classic')).rejects.toThrow(exists);
    const wish = { name: 'live', group: 'default', to: 'orders', max: 1 };
    await expect(client.admin.move(wish)).rejects.toThrow(
      expect.objectContaining({ code: 'invalid' }),
    );
    await client.admin.delete('live');
    expect(Array.from(client.queues, ({ name }) => name).toSorted()).toEqual([
      'audit',
      'mqtt',
      'orders',
    ]);
  });

  it('C14: a stop tells everyone who waits, and what it confirmed is there afterwards', async () => {
    let client = await start(thread);
    let orders = idOf(client, 'orders');
    const publisher = new Publisher();
    const idle = consume(client, idOf(client, 'audit'), 1);
    const first = publisher.publish(client, [orders], 0, 2000);
    const stopped = stop();
    await first;
    await stopped;
    expect(idle.cancelledFor).toBe('unavailable');
    const stored = publisher.told.filter(([, outcome]) => typeof outcome === 'number');
    client.enqueue([orders], message('late'), ORIGIN, publisher, 9999);
    await publisher.watch.until(() => publisher.told.length === 2001);
    expect(publisher.told.at(-1)).toEqual([9999, 'unavailable']);

    client = await start(thread);
    orders = idOf(client, 'orders');
    const worker = consume(client, orders, 5000);
    await new Publisher().publish(client, [orders], 2000, 2001);
    await worker.watch.until(() => worker.texts.includes('2000'));
    const there = new Set(worker.texts);
    expect(stored.filter(([tag]) => !there.has(String(tag)))).toEqual([]);
  });
});
