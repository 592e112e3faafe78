/** What publishers and consumers share: where to connect, and where to write down. */

import type { Cluster } from '../cluster/cluster.ts';
import type { Processes } from '../history/processes.ts';
import type { Recorder } from '../history/recorder.ts';
import type { Random } from '../random.ts';
import { sleep } from '../sleep.ts';
import { Connection } from './connection.ts';

export interface ClientParts {
  readonly cluster: Cluster;
  readonly recorder: Recorder;
  readonly processes: Processes;
  readonly random: Random;
  /** Ends the client. */
  readonly stop: AbortSignal;
}

const AGAIN_MS = 200;

/**
 * Connects to `first`, or to whichever other node answers, over and over; undefined when the run
 * ends before that.
 */
export async function connectSomewhere(
  { cluster, random, stop }: ClientParts,
  first: string,
  clientId: string,
): Promise<Connection | undefined> {
  let node = first;
  while (!stop.aborted) {
    try {
      return await Connection.open(node, cluster.node(node).addresses.mqtt, clientId);
    } catch {
      // Down, paused, or not ready yet.
    }
    await sleep(AGAIN_MS, stop);
    node = random.pick(cluster.ids) ?? node;
  }
  return undefined;
}
