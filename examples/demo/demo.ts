/**
 * `npm run demo`: three producers, a durable queue, four consumers, and a broker that is killed in
 * the middle.
 *
 * The clients are MQTT.js, unchanged: it sends again what was not acknowledged when the broker
 * comes back, so an order may arrive twice (at least once), but none may be missing. Exit status 1
 * if one is.
 */

import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Presets, SingleBar } from 'cli-progress';
import mqtt, { type MqttClient } from 'mqtt';
import { BrokerProcess } from './broker-process.ts';
import { OrderBook } from './orders.ts';

const ORDERS = 10_000;
const PRODUCERS = 3;
const CONSUMERS = 4;
const IN_FLIGHT = 50;
const DEADLINE_MS = 55_000;

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const address = server.address();
  await new Promise((resolve) => {
    server.close(resolve);
  });
  return typeof address === 'object' && address !== null ? address.port : 0;
}

function connectClient(port: number, clientId: string): MqttClient {
  const client = mqtt.connect({
    host: '127.0.0.1',
    port,
    clientId,
    protocolVersion: 5,
    reconnectPeriod: 100,
    queueQoSZero: false,
  });
  client.on('error', () => {
    // The broker is away between its kill and its start; the client connects again by itself.
  });
  return client;
}

/**
 * Publishes its share with a window of unacknowledged orders; resolves when every one is
 * acknowledged.
 */
function produce(client: MqttClient, name: string, count: number, book: OrderBook): Promise<void> {
  return new Promise((resolve) => {
    let next = 0;
    let acknowledged = 0;
    const send = (): void => {
      if (next >= count) return;
      const id = `${name}-${next}`;
      next += 1;
      const order = JSON.stringify({ id, article: 'tea', amount: 1 + (next % 9) });
      client.publish('$queue/orders', order, { qos: 1 }, (error) => {
        if (error) return;
        book.acknowledge(id);
        acknowledged += 1;
        if (acknowledged === count) resolve();
        else send();
      });
    };
    for (let i = 0; i < IN_FLIGHT; i += 1) send();
  });
}

function consume(client: MqttClient, book: OrderBook): void {
  client.on('packetsend', (packet) => {
    if (packet.cmd === 'puback') book.settle();
  });
  client.on('message', (_topic, payload, packet) => {
    const { id } = JSON.parse(payload.toString()) as { id: string };
    const attempt = packet.properties?.userProperties?.['delivery-count'];
    book.deliver(id, packet.dup || (attempt !== undefined && attempt !== '1'));
  });
  client.subscribe('$queue/orders', { qos: 1 });
}

function report(book: OrderBook, lost: readonly string[], seconds: number): string {
  const rows: readonly (readonly [string, number])[] = [
    ['acknowledged', book.acknowledged],
    ['delivered', book.delivered],
    ['redelivered', book.redelivered],
    ['settled', book.settled],
    ['lost', lost.length],
  ];
  const lines = rows.map(([name, count]) => `  ${name.padEnd(14)}${String(count).padStart(8)}`);
  return ['', ...lines, '', `  one kill -9 in the middle, ${seconds.toFixed(1)} s in all`, ''].join(
    '\n',
  );
}

async function main(): Promise<number> {
  const directory = await mkdtemp(join(tmpdir(), 'fluxmq-demo-'));
  const port = await freePort();
  const broker = new BrokerProcess(port, join(directory, 'data'));
  const startedAt = performance.now();
  const book = new OrderBook();
  const clients: MqttClient[] = [];
  const bar = new SingleBar(
    { format: 'orders {bar} {value}/{total} delivered, {note}', hideCursor: true },
    Presets.shades_classic,
  );
  process.stdout.write(
    'a broker of its own, 3 producers, 10,000 orders, 4 consumers, one kill -9\n',
  );
  await broker.start();
  bar.start(ORDERS, 0, { note: 'producing' });
  const progress = setInterval(() => bar.update(book.distinct), 100);
  try {
    for (let i = 0; i < CONSUMERS; i += 1) {
      const client = connectClient(port, `worker-${i}`);
      clients.push(client);
      consume(client, book);
    }
    const producers = Array.from({ length: PRODUCERS }, (_, i) => {
      const client = connectClient(port, `shop-${i}`);
      clients.push(client);
      const share = Math.floor(ORDERS / PRODUCERS) + (i < ORDERS % PRODUCERS ? 1 : 0);
      return produce(client, `shop-${i}`, share, book);
    });
    const deadline = startedAt + DEADLINE_MS;
    const until = async (condition: () => boolean): Promise<void> => {
      while (!condition() && performance.now() < deadline) {
        await new Promise((resolve) => {
          setTimeout(resolve, 5);
        });
      }
    };
    await until(() => book.acknowledged >= ORDERS / 3);
    bar.update(book.distinct, { note: 'kill -9' });
    await broker.kill();
    await broker.start();
    bar.update(book.distinct, { note: 'started again' });
    let produced = false;
    void Promise.all(producers).then(() => {
      produced = true;
    });
    await until(() => produced && book.lost().length === 0 && book.settled >= book.delivered);
    clearInterval(progress);
    bar.update(book.distinct, { note: 'done' });
    bar.stop();
    const lost = book.lost();
    process.stdout.write(report(book, lost, (performance.now() - startedAt) / 1000));
    if (book.acknowledged < ORDERS) {
      process.stdout.write(
        `  only ${book.acknowledged} of ${ORDERS} orders were acknowledged in time\n`,
      );
    }
    if (lost.length > 0) process.stdout.write(`  lost: ${lost.slice(0, 20).join(', ')}\n`);
    return lost.length === 0 && book.acknowledged === ORDERS ? 0 : 1;
  } finally {
    clearInterval(progress);
    await Promise.all(clients.map((client) => client.endAsync(true)));
    await broker.stop();
    await rm(directory, { recursive: true, force: true });
  }
}

process.exit(await main());
