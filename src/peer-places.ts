/**
 * Where the other nodes of a cluster are, and whether what goes to them may leave the machine: from
 * settings and from the members that the log knows. Looks at nothing else, and opens nothing.
 */

import type { Member } from '#raft';
import type { PeerPlace } from './cluster/peer-dialer.ts';
import { nodeOf } from './cluster/server-id.ts';
import { isLoopback, readAddress } from './config/values.ts';
import type { PeerSettings } from './options.ts';

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
