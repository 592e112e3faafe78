/**
 * Three NATS servers with JetStream in its default mode: a stream with three replicas in files, of
 * which nobody syncs what it acknowledges.
 */

import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { makeStream } from '../load/nats.ts';
import { first, NODES, startAll, stopAll, type PeerCluster } from './cluster.ts';
import { scratchDirectory, startPeer, type Peer } from './peer.ts';

const PORTS = 18911;
const ROUTES = 18921;
const TRIES_MAX = 100;

async function startServer(base: string, nth: number): Promise<Peer> {
  const directory = join(base, `n${nth}`);
  await mkdir(directory);
  const file = join(directory, 'nats.conf');
  const routes = Array.from({ length: NODES }, (_, i) => `nats://127.0.0.1:${ROUTES + i}`);
  const lines = [
    `server_name: n${nth}`,
    `listen: 127.0.0.1:${PORTS + nth}`,
    'log_file: /dev/null',
    `jetstream { store_dir: "${directory}", max_memory_store: 64MB, max_file_store: 8GB }`,
    `cluster { name: bench, listen: 127.0.0.1:${ROUTES + nth}, routes: [${routes.join(', ')}] }`,
  ];
  await writeFile(file, `${lines.join('\n')}\n`);
  return startPeer({
    name: 'nats',
    port: PORTS + nth,
    directory,
    command: 'nats-server',
    args: ['-c', file],
  });
}

/** The servers take connections before they have found each other: asked until they answer. */
async function streamOf(name: string): Promise<string> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await makeStream(PORTS, name, NODES);
    } catch (error) {
      if (tries === TRIES_MAX) throw error;
      await new Promise((resolve) => {
        setTimeout(resolve, 200);
      });
    }
  }
}

export async function startNatsCluster(): Promise<PeerCluster> {
  const base = await scratchDirectory('nats');
  const peers: Peer[] = [];
  const stop = async (): Promise<void> => {
    await stopAll(peers);
    await rm(base, { recursive: true, force: true });
  };
  try {
    const starts = Array.from({ length: NODES }, (_, nth) => () => startServer(base, nth));
    peers.push(...(await startAll(starts)));
    return {
      name: 'NATS JetStream R3, no sync',
      nodes: peers,
      makeQueue: async (queue) => first(peers, Number((await streamOf(queue)).slice(1))),
      publish: (queue, run) => ({ kind: 'nats-publish', run: { ...run, topics: [queue] } }),
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}
