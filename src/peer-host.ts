/**
 * The streams to the other nodes, opened from settings: certificates read and looked at, the port
 * open, every peer being connected to. Part of the composition of the shards' thread, which they
 * run in. Loaded where there are peers only.
 */

import { randomInt } from 'node:crypto';
import { PeerTlsError, readPeerTls } from './cluster/peer-tls.ts';
import { PeerTransport } from './cluster/peer-transport.ts';
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

function asStartError(cause: unknown): never {
  if (!(cause instanceof PeerTlsError)) throw cause;
  throw new PeerStartError(`cluster.tls.${cause.key}`, cause.message, { cause });
}
