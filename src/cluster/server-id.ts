/**
 * A replica's name in its shard: `<node>` for one that founded it, else `<node>+<mark>`. A name
 * with a mark is used once: one that came back after its disk was lost is another server, because
 * the old one may have voted and acknowledged what it forgot (thesis 11.7.2), and nothing else
 * tells the two apart. `+` is in no node id.
 *
 * ```
 *  node-4+ xk2q7bd5 m3vza6ri      drawn for this name alone, 40 bits
 *          drawn in shard 0; the same in names that its data directory gets in the others
 *  node-4+1767225600              of a build before: seconds of the clock
 * ```
 * No clock is in it: that may stand still, or go back. So of two names of a node nobody can tell by
 * themselves which is the later one, unless one is a number.
 */

import type { ServerId } from '#raft';

const MARK = '+';
const SERVER_ID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}(\+([1-9][0-9]{0,14}|[a-z2-7]{16}))?$/;
const DRAWN = /^[a-z2-7]{16}$/;
/** Letters of each half of a mark. */
const HALF = 8;
const LETTERS = 'abcdefghijklmnopqrstuvwxyz234567';

export function isServerId(text: string): boolean {
  return SERVER_ID.test(text);
}

/** The node that a replica is on. */
export function nodeOf(server: ServerId): string {
  const mark = server.indexOf(MARK);
  return mark === -1 ? server : server.slice(0, mark);
}

/**
 * One that was never used. `zero`: what the replica of shard 0 in the same data directory is
 * called, for a name in another shard.
 */
export function drawnServerId(node: string, zero?: ServerId): ServerId {
  const mark = zero === undefined ? '' : markOf(zero);
  const first = DRAWN.test(mark) ? mark.slice(0, HALF) : drawn();
  return `${node}${MARK}${first}${drawn()}`;
}

/**
 * Whether a replica of another shard got its name where the one of shard 0 is called so, and not in
 * a data directory before that. Of names from builds before as far as their numbers tell.
 */
export function isBeside(server: ServerId, zero: ServerId): boolean {
  const [own, other] = [markOf(server), markOf(zero)];
  if (DRAWN.test(other)) return DRAWN.test(own) && own.slice(0, HALF) === other.slice(0, HALF);
  return DRAWN.test(own) || Number(own) >= Number(other);
}

function markOf(server: ServerId): string {
  return server.slice(nodeOf(server).length + MARK.length);
}

/** 5 bits a letter. */
function drawn(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(HALF));
  return Array.from(bytes, (byte) => LETTERS[byte % LETTERS.length]).join('');
}
