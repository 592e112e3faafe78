/** Several brokers on this machine that are one cluster, each a process of its own. */

import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { freePort } from '../../jepsen/cluster/free-port.ts';
import { BrokerProcess, scratchDirectory } from './broker-process.ts';

const LOOK_AGAIN_MS = 20;

interface LeaderLine {
  readonly shard?: number;
  readonly leader?: string;
}

/** `here`, `nobody`, or the node that leads shard 0; undefined: it said nothing yet. */
function leaderBy(broker: BrokerProcess): string | undefined {
  const lines = broker.output
    .split('\n')
    .filter((line) => line.includes('the leader of the shard'))
    .map((line) => JSON.parse(line) as LeaderLine);
  return lines.findLast(({ shard }) => shard === 0)?.leader;
}

export class BrokerCluster {
  readonly brokers: readonly BrokerProcess[];
  readonly #directory: string;

  private constructor(brokers: readonly BrokerProcess[], directory: string) {
    this.brokers = brokers;
    this.#directory = directory;
  }

  /** All of them accept connections. `more`: of the configuration file of each. */
  static async started(
    name: string,
    more: { readonly cluster?: object; readonly [key: string]: unknown },
    count = 3,
  ): Promise<BrokerCluster> {
    const directory = await scratchDirectory(name);
    const ids = Array.from({ length: count }, (_none, at) => `node-${at + 1}`);
    const peers = await Promise.all(
      ids.map(async (id) => ({ id, addr: `127.0.0.1:${await freePort()}` })),
    );
    const brokers = await Promise.all(
      peers.map(async ({ id, addr }) => {
        const file = join(directory, `${id}.yaml`);
        const cluster = { listen: addr, peers, ...more.cluster };
        const log = { level: 'info', format: 'json' };
        // YAML reads JSON.
        await writeFile(file, JSON.stringify({ ...more, node: { id }, log, cluster }));
        const dataDirectory = join(directory, id);
        const opsPort = await freePort();
        return BrokerProcess.prepare(name, { dataDirectory, opsPort, args: ['--config', file] });
      }),
    );
    const cluster = new BrokerCluster(brokers, directory);
    try {
      await Promise.all(brokers.map((broker) => broker.start()));
    } catch (error) {
      await cluster.remove();
      throw error;
    }
    return cluster;
  }

  /** The one that leads by its own word. */
  async leader(): Promise<BrokerProcess> {
    for (;;) {
      const found = this.brokers.find((broker) => broker.pid > 0 && leaderBy(broker) === 'here');
      if (found !== undefined) return found;
      await new Promise((resolve) => {
        setTimeout(resolve, LOOK_AGAIN_MS);
      });
    }
  }

  /** The one that leads, and behind it the others. */
  async leaderFirst(): Promise<[BrokerProcess, BrokerProcess, BrokerProcess]> {
    const leader = await this.leader();
    const others = this.brokers.filter((broker) => broker !== leader);
    return [leader, ...others] as [BrokerProcess, BrokerProcess, BrokerProcess];
  }

  async remove(): Promise<void> {
    await Promise.all(this.brokers.map((broker) => broker.kill()));
    await rm(this.#directory, { recursive: true, force: true });
  }
}
