/**
 * Three RabbitMQ nodes with a port mapper, a cookie and a home of their own: a quorum queue has a
 * replica on each, and each of them syncs what it acknowledges.
 *
 * They are started one after the other: the first begins a cluster, the others find it there.
 */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { declareAmqpQueue } from '../load/amqp.ts';
import { NODES, stopAll, type PeerCluster } from './cluster.ts';
import { scratchDirectory, startPeer, type Peer } from './peer.ts';

const PORTS = 18891;
const DISTRIBUTION_PORTS = 18901;
const PORT_MAPPER = 18899;
const READY_MAX_MS = 60_000;
const CONTROL = '/usr/lib/rabbitmq/bin/rabbitmqctl';

function nodeName(nth: number): string {
  return `bench${PORTS + nth}@localhost`;
}

/** Of everything that is Erlang here. */
function environment(home: string): NodeJS.ProcessEnv {
  return { HOME: home, ERL_EPMD_ADDRESS: '127.0.0.1', ERL_EPMD_PORT: String(PORT_MAPPER) };
}

/** In the foreground, so that it is no daemon that stays. */
function startPortMapper(home: string): Promise<Peer> {
  return startPeer({
    name: 'epmd',
    port: PORT_MAPPER,
    directory: home,
    command: 'epmd',
    args: ['-address', '127.0.0.1', '-port', String(PORT_MAPPER)],
    env: environment(home),
  });
}

async function startNode(nth: number, home: string): Promise<Peer> {
  const directory = join(home, String(nth));
  await mkdir(directory);
  const file = join(directory, 'rabbitmq.conf');
  const others = Array.from(
    { length: NODES },
    (_, i) => `cluster_formation.classic_config.nodes.${i + 1} = ${nodeName(i)}`,
  );
  const lines = [
    `listeners.tcp.1 = 127.0.0.1:${PORTS + nth}`,
    'distribution.listener.interface = 127.0.0.1',
    'log.file.level = error',
    'log.console = false',
    'vm_memory_high_watermark.relative = 0.2',
    'cluster_formation.peer_discovery_backend = classic_config',
    ...others,
  ];
  await writeFile(file, `${lines.join('\n')}\n`);
  return startPeer({
    name: 'rabbitmq',
    port: PORTS + nth,
    directory,
    command: '/usr/lib/rabbitmq/bin/rabbitmq-server',
    args: [],
    env: {
      ...environment(home),
      RABBITMQ_CONFIG_FILE: file,
      RABBITMQ_MNESIA_BASE: join(directory, 'db'),
      RABBITMQ_LOG_BASE: join(directory, 'log'),
      RABBITMQ_NODENAME: nodeName(nth),
      RABBITMQ_DIST_PORT: String(DISTRIBUTION_PORTS + nth),
      RABBITMQ_PID_FILE: join(directory, 'pid'),
      RABBITMQ_ENABLED_PLUGINS_FILE: join(directory, 'plugins'),
    },
  });
}

/** Its applications run: a node listens a little earlier. */
async function ready(nth: number, home: string): Promise<void> {
  const args = ['-n', nodeName(nth), 'await_startup', '--timeout', String(READY_MAX_MS / 1000)];
  const env = { ...process.env, ...environment(home) };
  const child = spawn(CONTROL, args, { stdio: ['ignore', 'ignore', 'inherit'], env });
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0) throw new Error(`${nodeName(nth)} does not become ready`);
}

export async function startRabbitmqCluster(): Promise<PeerCluster> {
  const home = await scratchDirectory('rabbitmq');
  const started: Peer[] = [];
  const stop = async (): Promise<void> => {
    const [mapper, ...nodes] = started;
    await stopAll(nodes);
    await mapper?.stop();
    await rm(home, { recursive: true, force: true });
  };
  try {
    started.push(await startPortMapper(home));
    for (let nth = 0; nth < NODES; nth += 1) {
      started.push(await startNode(nth, home));
      await ready(nth, home);
    }
  } catch (error) {
    await stop();
    throw error;
  }
  const nodes = started.slice(1);
  return {
    name: 'RabbitMQ quorum queue',
    nodes,
    makeQueue: async (queue) => {
      await declareAmqpQueue(PORTS, queue, 'quorum');
      // It is led by the node that it was declared at.
      return nodes;
    },
    publish: (queue, run) => ({ kind: 'amqp-publish', run: { ...run, topics: [queue] } }),
    stop,
  };
}
