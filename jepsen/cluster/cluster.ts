/**
 * The brokers of a run and the network between them, made before the load and gone after it,
 * whatever happened. Everything that a run leaves is in its own directory.
 */

import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type CertificateFiles, CLUSTER_ID, configurationOf, joining } from './configuration.ts';
import { Guard } from './guard.ts';
import { Loopback } from './loopback.ts';
import { Namespaces, whyNoNamespaces } from './namespaces.ts';
import type { ClusterNetwork } from './network.ts';
import { BrokerNode } from './node.ts';
import { type ShardPlace, dumpReplicaLog } from './replica-log.ts';
import { runProgram } from './run-program.ts';

/** dist/jepsen/cluster is three levels below the repository's root. */
export const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const CONFIGURATION_FILE = 'broker.yaml';
const PROGRAM = join(ROOT, 'src/cli/fluxmq.sh');

export type NetworkChoice = 'auto' | 'namespaces' | 'proxy';

export interface ClusterOptions {
  readonly directory: string;
  readonly nodes: number;
  readonly network: NetworkChoice;
  /** Undefined: the brokers' default. */
  readonly shards: number | undefined;
  readonly onDeath: (node: string, how: string) => void;
}

export class Cluster {
  readonly nodes: readonly BrokerNode[];
  readonly network: ClusterNetwork;
  /** What users start a broker with. */
  readonly program = PROGRAM;
  readonly #guard: Guard;

  private constructor(nodes: readonly BrokerNode[], network: ClusterNetwork, guard: Guard) {
    this.nodes = nodes;
    this.network = network;
    this.#guard = guard;
  }

  /** Nothing is started yet. */
  static async create(options: ClusterOptions): Promise<Cluster> {
    const ids = Array.from({ length: options.nodes }, (_, at) => `n${at + 1}`);
    const guard = await Guard.start(options.directory);
    let network: ClusterNetwork | undefined;
    try {
      network = await networkOf(ids, options.network, guard);
      const certificates = network.needsTls
        ? await certify(join(options.directory, 'certs'), ids)
        : new Map<string, CertificateFiles>();
      const nodes: BrokerNode[] = [];
      for (const id of ids) {
        const directory = join(options.directory, 'nodes', id);
        await mkdir(directory, { recursive: true });
        const file = join(directory, CONFIGURATION_FILE);
        const dataDirectory = join(directory, 'data');
        const tls = certificates.get(id);
        const { shards } = options;
        const text = { node: id, nodes: ids, dataDirectory, network, certificates: tls, shards };
        await writeFile(file, configurationOf(text));
        const addresses = network.addresses(id);
        const command = [...network.onNode(id), PROGRAM, 'start', '--config', file];
        const { onDeath } = options;
        nodes.push(new BrokerNode({ id, directory, addresses, command, guard, onDeath }));
      }
      return new Cluster(nodes, network, guard);
    } catch (error) {
      await network?.close();
      await guard.close();
      throw error;
    }
  }

  node(id: string): BrokerNode {
    const found = this.nodes.find((node) => node.id === id);
    if (found === undefined) throw new Error(`no node ${id}`);
    return found;
  }

  get ids(): readonly string[] {
    return this.nodes.map(({ id }) => id);
  }

  /** From its next start on, the node comes to a cluster that is there already. */
  async joins(id: string): Promise<void> {
    const file = join(this.node(id).directory, CONFIGURATION_FILE);
    await writeFile(file, joining(await readFile(file, 'utf8')));
  }

  async start(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.start()));
  }

  /** Of brokers that do not run any more. A log that cannot be read is left out. */
  async dumpLogs(places: readonly ShardPlace[]): Promise<void> {
    for (const { shard, nodes } of places) {
      for (const id of nodes) {
        const { directory } = this.node(id);
        await dumpReplicaLog(PROGRAM, directory, shard).catch((error: unknown) => {
          const words = error instanceof Error ? error.message : String(error);
          process.stderr.write(`${id}, shard ${shard}: ${words}\n`);
        });
      }
    }
  }

  /**
   * Ends everything; resolves with the nodes that had to be killed. The first error is thrown when
   * all of it was tried.
   */
  async close(): Promise<string[]> {
    const ends = await Promise.allSettled(this.nodes.map((node) => node.stop()));
    const network = await Promise.allSettled([this.network.close()]);
    await this.#guard.close();
    for (const end of [...ends, ...network]) if (end.status === 'rejected') throw end.reason;
    return this.ids.filter((_, at) => {
      const end = ends[at];
      return end?.status === 'fulfilled' && !end.value;
    });
  }
}

async function networkOf(
  ids: readonly string[],
  choice: NetworkChoice,
  guard: Guard,
): Promise<ClusterNetwork> {
  if (ids.length === 1) return Loopback.create(ids, '');
  if (choice === 'proxy') return Loopback.create(ids, 'asked for');
  const why = await whyNoNamespaces();
  if (why === undefined) return Namespaces.create(ids, guard);
  if (choice === 'namespaces') throw new Error(`network namespaces cannot be made here: ${why}`);
  return Loopback.create(ids, `no network namespaces here: ${why}`);
}

async function certify(
  directory: string,
  ids: readonly string[],
): Promise<Map<string, CertificateFiles>> {
  await runProgram(PROGRAM, ['cert', 'ca', '--dir', directory]);
  const certificates = new Map<string, CertificateFiles>();
  for (const id of ids) {
    await runProgram(PROGRAM, ['cert', 'node', id, '--dir', directory, '--cluster', CLUSTER_ID]);
    const file = (name: string): string => join(directory, name);
    const files = { cert: file(`${id}.crt`), key: file(`${id}.key`), ca: file('ca.crt') };
    certificates.set(id, files);
  }
  return certificates;
}
