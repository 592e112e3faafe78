/**
 * The numbers and names of consensus. All numbers are safe non-negative integers.
 *
 * A LogIndex counts entries from 1; 0 stands for "before the first". A Term counts elections (Raft
 * 5.1); 0 is a replica that has seen none. A ServerId is opaque and compared by code units. The
 * marks keep an index from being passed as a term, and let the result of a sum be either.
 */

declare const mark: unique symbol;

export type LogIndex = number & { readonly [mark]?: 'LogIndex' };
export type Term = number & { readonly [mark]?: 'Term' };
/**
 * A replica that lost its disk is another server: it must come back under an id that was not used
 * before, because the old one may have voted and acknowledged what it forgot (thesis 11.7.2).
 */
export type ServerId = string;

/**
 * No cluster gets there by holding elections: a message of a later term is damage or malice, and is
 * ignored. A transport should close the stream that it came from.
 */
export const TERM_MAX = 2 ** 48;
