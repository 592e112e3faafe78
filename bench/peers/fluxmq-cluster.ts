/**
 * Three FluxMQ brokers as one cluster with its defaults, but of one shard: each replica syncs what
 * it acknowledges.
 * Beside what every cluster under test has, single nodes can be killed, stopped and started again,
 * and asked what they are by their metrics.
 */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { AdminClient } from '../../src/admin/client.ts';
import type { ReplicaStatus } from '../../src/admin/cluster-port.ts';
import type { LoadJob } from '../load/main.ts';
import type { PublishRun } from '../load/mqtt.ts';
import { figure } from './metrics.ts';
import { NODES, type PeerCluster } from './cluster.ts';
import { ROOT, scratchDirectory, startPeer, type Peer, type PeerProgram } from './peer.ts';

const PORTS = 18861;
const PEER_PORTS = 18871;
const OPS_PORTS = 18881;
const LAUNCHER = join(ROOT, 'src/cli/fluxmq.sh');
const LOOK_AGAIN_MS = 20;
const LEADER_MAX_MS = 60_000;
const ADMIN_MAX_MS = 10_000;

export class FluxmqNode {
  readonly id: string;
  readonly opsPort: number;
  readonly #program: PeerProgram;
  #peer: Peer | undefined;

  constructor(id: string, opsPort: number, program: PeerProgram) {
    this.id = id;
    this.opsPort = opsPort;
    this.#program = program;
  }

  get peer(): Peer {
    if (this.#peer === undefined) throw new Error(`${this.id} does not run`);
    return this.#peer;
  }

  get isRunning(): boolean {
    return this.#peer !== undefined;
  }

  get dataDirectory(): string {
    return join(this.#program.directory, 'data');
  }

  async start(): Promise<void> {
    this.#peer = await startPeer(this.#program);
  }

  async kill(): Promise<void> {
    const { peer } = this;
    this.#peer = undefined;
    await peer.kill();
  }

  async halt(): Promise<void> {
    const peer = this.#peer;
    this.#peer = undefined;
    await peer?.halt();
  }

  figure(name: string, label?: string): Promise<number> {
    return figure(this.opsPort, name, label);
  }

  /** Its replica, as it is at that moment: metrics are up to half a second old. */
  async watch<T>(work: (replica: () => Promise<ReplicaStatus>) => Promise<T>): Promise<T> {
    const admin = await AdminClient.open(join(this.dataDirectory, 'admin.sock'), ADMIN_MAX_MS);
    try {
      return await work(async () => {
        const [replica] = (await admin.cluster.status()).replicas;
        if (replica === undefined) throw new Error(`${this.id} has no replica`);
        return replica;
      });
    } finally {
      admin.close();
    }
  }
}

export interface FluxmqClusterOptions {
  /** Of the configuration file of each. */
  readonly more?: object;
}

export class FluxmqCluster implements PeerCluster {
  readonly name = 'FluxMQ';
  readonly #directory: string;
  readonly #all: readonly FluxmqNode[];
  #leadersFirst: readonly FluxmqNode[];

  private constructor(directory: string, all: readonly FluxmqNode[]) {
    this.#directory = directory;
    this.#all = all;
    this.#leadersFirst = all;
  }

  static async start({ more }: FluxmqClusterOptions = {}): Promise<FluxmqCluster> {
    const directory = await scratchDirectory('fluxmq-cluster');
    const all = await Promise.all(
      Array.from({ length: NODES }, (_, nth) => nodeOf(directory, nth, more ?? {})),
    );
    const cluster = new FluxmqCluster(directory, all);
    try {
      // All of them have come or failed before anything is ended.
      const starts = await Promise.allSettled(all.map((node) => node.start()));
      const failed = starts.find((start) => start.status === 'rejected');
      if (failed !== undefined) throw failed.reason;
      await cluster.leader();
    } catch (error) {
      await cluster.stop();
      throw error;
    }
    return cluster;
  }

  get nodes(): readonly Peer[] {
    return this.members.map(({ peer }) => peer);
  }

  /** Those that run, the one that was last seen to lead before the others. */
  get members(): readonly FluxmqNode[] {
    return this.#leadersFirst.filter(({ isRunning }) => isRunning);
  }

  /** The first who names it makes it. */
  async makeQueue(_queue: string): Promise<readonly Peer[]> {
    await this.leader();
    return this.nodes;
  }

  publish(queue: string, run: Omit<PublishRun, 'topics'>): LoadJob {
    return { kind: 'mqtt-publish', run: { ...run, topics: [`$queue/${queue}`] } };
  }

  /** The one that leads by its own word, and in the latest term where two say so. */
  async leader(): Promise<FluxmqNode> {
    const deadline = performance.now() + LEADER_MAX_MS;
    for (;;) {
      const told = await Promise.all(this.members.map((node) => leadOf(node)));
      const [found] = told.filter((lead) => lead !== undefined).toSorted((a, b) => b.term - a.term);
      if (found !== undefined) {
        this.#leadersFirst = [found.node, ...this.#all.filter((node) => node !== found.node)];
        return found.node;
      }
      if (performance.now() > deadline) throw new Error('nobody leads the cluster');
      await new Promise((resolve) => {
        setTimeout(resolve, LOOK_AGAIN_MS);
      });
    }
  }

  /** `fluxmq cluster transfer`, as an operator gives it. */
  async transfer(from: FluxmqNode, to: FluxmqNode): Promise<void> {
    const args = ['cluster', 'transfer', to.id, '--data', from.dataDirectory];
    const child = spawn(LAUNCHER, args, { stdio: ['ignore', 'ignore', 'inherit'] });
    const [code] = (await once(child, 'close')) as [number | null];
    if (code !== 0) throw new Error(`the transfer to ${to.id} ended with ${code}`);
  }

  async stop(): Promise<void> {
    await Promise.all(this.#all.map((node) => node.halt()));
    await rm(this.#directory, { recursive: true, force: true });
  }
}

async function leadOf(
  node: FluxmqNode,
): Promise<{ readonly node: FluxmqNode; readonly term: number } | undefined> {
  try {
    if ((await node.figure('fluxmq_raft_role', 'leader')) !== 1) return undefined;
    return { node, term: await node.figure('fluxmq_raft_term', '0') };
  } catch {
    // It starts, or has just been ended.
    return undefined;
  }
}

async function nodeOf(base: string, nth: number, more: object): Promise<FluxmqNode> {
  const id = `node-${nth + 1}`;
  const directory = join(base, id);
  await mkdir(directory);
  const file = join(directory, 'broker.yaml');
  const peers = Array.from({ length: NODES }, (_, i) => {
    return { id: `node-${i + 1}`, addr: `127.0.0.1:${PEER_PORTS + i}` };
  });
  const configuration = {
    node: { id },
    data_dir: join(directory, 'data'),
    server: {
      mqtt: { tcp: { addr: `127.0.0.1:${PORTS + nth}` } },
      ops: { addr: `127.0.0.1:${OPS_PORTS + nth}` },
    },
    // What is measured is one group of three replicas, as of one queue elsewhere.
    cluster: { listen: `127.0.0.1:${PEER_PORTS + nth}`, peers, shards: 1 },
    log: { level: 'error' },
    // A queue for each load, as it comes.
    auto_create: { type: 'classic' },
    ...more,
  };
  // YAML reads JSON.
  await writeFile(file, JSON.stringify(configuration));
  return new FluxmqNode(id, OPS_PORTS + nth, {
    name: id,
    port: PORTS + nth,
    directory,
    command: LAUNCHER,
    args: ['start', '--config', file],
  });
}
