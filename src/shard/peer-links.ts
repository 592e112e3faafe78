/**
 * The port to other nodes: ordered bytes for a shard of theirs, and from those who use one here.
 *
 * What the shard may assume: what `send` took arrives once, in order, or the link goes down, and
 * then nobody knows what arrived; nothing is called from inside of a call. What it must not do:
 * change the bytes after `send`. A link that went down comes again as another one.
 */

/** One life of a link, as either end sees it. */
export interface LinkEnd {
  /** At the other end. */
  readonly node: string;
  /** False: nothing of it was taken, and `room` is called when more can be. */
  send(shard: number, parts: readonly Uint8Array[]): boolean;
}

export interface LinkListener {
  received(shard: number, bytes: Uint8Array): void;
  room(): void;
  /** Once. */
  down(): void;
}

/** What a node does with links: with its own, to use shards elsewhere, and with those of others. */
export interface LinkUser {
  opened(end: LinkEnd): LinkListener;
  accepted(end: LinkEnd): LinkListener;
}

/**
 * What goes over a link for a shard: one batch of a session, or a word about it.
 *
 * ```
 *  0        1                 4                                     12
 *  +--------+-----------------+-------------------------------------+------------------+
 *  | kind   | 0               | session u64                         | batch, or words  |
 *  +--------+-----------------+-------------------------------------+------------------+
 *  1 begin  to the leader: the session begins
 *  2 batch  either way: the batch
 *  3 end    either way: it is over; from the leader with the node that leads, "" unknown
 * ```
 */
export const LinkKind = { begin: 1, batch: 2, end: 3 } as const;
export type LinkKind = (typeof LinkKind)[keyof typeof LinkKind];

export const LINK_HEADER_BYTES = 12;
