/**
 * The proof that a publish is durable and applied: the value without which no protocol can encode
 * a positive acknowledgement.
 *
 * Only `src/shard/effects.ts` may call `committed` (the lint configuration refuses every other
 * import of it), so that acknowledging before the sync does not compile.
 */

declare const proof: unique symbol;

/** The stream number (this node, this boot) that was applied. */
export type Committed = number & { readonly [proof]: 'Committed' };

export function committed(streamNumber: number): Committed {
  return streamNumber as Committed;
}
