/**
 * The brokers of the demo: one, or three that hold the same queues. `killOne` takes the one that
 * leads, as whoever runs a cluster fears it; `bringBack` starts it again with the data that it
 * left.
 */

import { execFile } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { BrokerProcess, LAUNCHER } from './broker-process.ts';

const PORT_MIN = 10_000;
const PORT_END = 18_000;
const TRIES_MAX = 100;

interface Node {
  readonly id: string;
  readonly port: number;
  readonly data: string;
  readonly broker: BrokerProcess;
}

interface Status {
  readonly replicas: readonly { readonly leader?: string }[];
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer().listen(port, '127.0.0.1');
  try {
    await once(server, 'listening');
  } catch {
    return false;
  }
  server.close();
  await once(server, 'close');
  return true;
}

/**
 * Below those that the system gives to clients: one of them might have it while the broker is away.
 */
async function freePort(): Promise<number> {
  for (let tries = 0; tries < TRIES_MAX; tries++) {
    const port = randomInt(PORT_MIN, PORT_END);
    if (await isFree(port)) return port;
  }
  throw new Error(`there is no free port from ${PORT_MIN} to ${PORT_END - 1}`);
}

export class Brokers {
  readonly #nodes: readonly Node[];
  #killed: Node | undefined;

  private constructor(nodes: readonly Node[]) {
    this.#nodes = nodes;
  }

  /** Prepared, not started. */
  static async prepare(directory: string, count: number): Promise<Brokers> {
    const places: { id: string; port: number; peerPort: number }[] = [];
    for (let i = 1; i <= count; i += 1) {
      places.push({ id: `node-${i}`, port: await freePort(), peerPort: await freePort() });
    }
    const peers = places.map(({ id, peerPort }) => `{ id: ${id}, addr: '127.0.0.1:${peerPort}' }`);
    const nodes = places.map(({ id, port, peerPort }) => {
      const data = join(directory, id);
      const cluster = [
        `node.id=${id}`,
        `cluster.listen=127.0.0.1:${peerPort}`,
        `cluster.peers=[${peers.join(', ')}]`,
      ];
      const broker = new BrokerProcess(port, data, count > 1 ? cluster : []);
      return { id, port, data, broker };
    });
    return new Brokers(nodes);
  }

  get count(): number {
    return this.#nodes.length;
  }

  /** Where clients may connect; each begins with another one. */
  portsFor(client: number): number[] {
    const ports = this.#nodes.map(({ port }) => port);
    const first = client % ports.length;
    return [...ports.slice(first), ...ports.slice(0, first)];
  }

  /** The data directory of one that runs: the command line talks to it. */
  get data(): string {
    return (this.#nodes.find((node) => node !== this.#killed) as Node).data;
  }

  async start(): Promise<void> {
    await Promise.all(this.#nodes.map(({ broker }) => broker.start()));
  }

  /** Its name. */
  async killOne(): Promise<string> {
    const leader = this.count > 1 ? await this.#leader() : undefined;
    const node = this.#nodes.find(({ id }) => id === leader) ?? (this.#nodes[0] as Node);
    this.#killed = node;
    await node.broker.kill();
    return node.id;
  }

  async bringBack(): Promise<void> {
    await this.#killed?.broker.start();
    this.#killed = undefined;
  }

  async stop(): Promise<void> {
    await Promise.all(this.#nodes.map(({ broker }) => broker.stop()));
  }

  async #leader(): Promise<string | undefined> {
    const args = ['cluster', 'status', '--json', '--data', this.data];
    const { stdout } = await promisify(execFile)(LAUNCHER, args);
    return (JSON.parse(stdout) as Status).replicas[0]?.leader;
  }
}
