/**
 * The streams to the other nodes, opened from settings: certificates read and looked at, the port
 * open, every peer being connected to. Part of the composition of the shards' thread, which they
 * run in.
 */

import { randomInt } from 'node:crypto';
import type { Member } from '#raft';
import type { PeerPlace } from './cluster/peer-dialer.ts';
import { PeerTlsError, readPeerTls } from './cluster/peer-tls.ts';
import { PeerTransport } from './cluster/peer-transport.ts';
import { nodeOf } from './cluster/server-id.ts';
import { isLoopback, readAddress } from './config/config.ts';
import type { PeerSettings } from './options.ts';
import { LISTEN_KEY, PeerStartError } from './peer-start-error.ts';
import type { Logger } from './telemetry/logger.ts';

/** The largest range of `randomInt`. */
const INCARNATION_MAX = 2 ** 48 - 1;

/** Rejects with a `PeerStartError`. */
export async function openPeers(
  node: string,
  settings: PeerSettings,
  log: Logger,
): Promise<PeerTransport> {
  const { cluster, listen, nodes, tls: files, backlogBytes } = settings;
  const tls =
    files && (await readPeerTls(files, { cluster, node }, Date.now()).catch(asStartError));
  const transport = new PeerTransport({
    cluster,
    node,
    incarnation: randomInt(INCARNATION_MAX),
    listen,
    tls,
    backlogBytes,
    log,
    random: Math.random,
  });
  transport.setPeers(nodes);
  try {
    await transport.start();
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    const text = `cannot listen for other nodes on ${listen.host}:${listen.port}: ${why}`;
    throw new PeerStartError(LISTEN_KEY, text, { cause });
  }
  const peers = transport.peers.map(({ id }) => id);
  log.info({ cluster, ...transport.address, tls: tls !== undefined, peers }, 'peers are awaited');
  return transport;
}

/**
 * The nodes of the configuration file, and those that were added to the cluster while it ran: they
 * are reached where they were said to be. Of what both know, the file has the address.
 */
export function peerPlaces(
  { nodes }: PeerSettings,
  members: readonly Member[],
): readonly PeerPlace[] {
  const places = new Map<string, PeerPlace>(nodes.map((place) => [place.id, place]));
  for (const { id, address } of members) {
    const node = nodeOf(id);
    const read = readAddress(address);
    if (!places.has(node) && 'value' in read) places.set(node, { id: node, ...read.value });
  }
  return [...places.values()];
}

/** With TLS, or where somebody said that plain text may leave this machine, and it does. */
export function mayLeaveMachine({ tls, listen, nodes }: PeerSettings): boolean {
  return tls !== undefined || [listen, ...nodes].some(({ host }) => !isLoopback(host));
}

function asStartError(cause: unknown): never {
  if (!(cause instanceof PeerTlsError)) throw cause;
  throw new PeerStartError(`cluster.tls.${cause.key}`, cause.message, { cause });
}
