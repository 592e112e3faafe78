/**
 * Several brokers under test that are one cluster, all on loopback, with their data on the real
 * disk: started together, measured together, and gone afterwards whatever happened.
 */

import type { LoadJob } from '../load/main.ts';
import type { PublishRun } from '../load/mqtt.ts';
import type { Peer } from './peer.ts';

export const NODES = 3;

export interface PeerCluster {
  readonly name: string;
  readonly nodes: readonly Peer[];
  /** Makes a queue with a replica on each node; resolves with the nodes, its leader first. */
  makeQueue(queue: string): Promise<readonly Peer[]>;
  /** Publishes with the protocol that its clients speak. */
  publish(queue: string, run: Omit<PublishRun, 'topics'>): LoadJob;
  stop(): Promise<void>;
}

export async function cpuSecondsOf(nodes: readonly Peer[]): Promise<number> {
  const each = await Promise.all(nodes.map((node) => node.cpuSeconds()));
  return each.reduce((sum, seconds) => sum + seconds, 0);
}

/** All of them are there, or none is and the first problem is thrown. */
export async function startAll(starts: readonly (() => Promise<Peer>)[]): Promise<Peer[]> {
  const settled = await Promise.allSettled(starts.map((start) => start()));
  const peers = settled.flatMap((end) => (end.status === 'fulfilled' ? [end.value] : []));
  const failed = settled.find((end) => end.status === 'rejected');
  if (failed === undefined) return peers;
  await stopAll(peers);
  throw failed.reason;
}

export async function stopAll(peers: readonly Peer[]): Promise<void> {
  await Promise.all(peers.map((peer) => peer.stop()));
}

/** `peers` with the one at `at` before the others. */
export function first(peers: readonly Peer[], at: number): readonly Peer[] {
  return [...peers.slice(at), ...peers.slice(0, at)];
}
