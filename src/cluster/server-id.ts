/**
 * A replica's name in its shard: `<node>`, or `<node>+<number>` for one that came back after its
 * disk was lost, because the old one may have voted and acknowledged what it forgot (thesis
 * 11.7.2). `+` is in no node id.
 */

import type { ServerId } from '#raft';

const MARK = '+';
const SERVER_ID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}(\+[1-9][0-9]{0,14})?$/;

export function isServerId(text: string): boolean {
  return SERVER_ID.test(text);
}

/** The node that a replica is on. */
export function nodeOf(server: ServerId): string {
  const mark = server.indexOf(MARK);
  return mark === -1 ? server : server.slice(0, mark);
}

/** Of `node+number`, higher for each later replica; the first one of a node has none: 0. */
export function numberOf(server: ServerId): number {
  return Number(server.slice(nodeOf(server).length + 1));
}
