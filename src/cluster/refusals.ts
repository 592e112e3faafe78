/**
 * Why a peer, or somebody who says he is one, was turned away: closed codes, counted one by one,
 * and told in the log once in an interval, so that nobody outside can fill it. docs/errors.md says
 * what to do about each.
 */

import type { Logger } from '../telemetry/logger.ts';
import { REFUSAL_LOG_INTERVAL_MS } from './peer-limits.ts';

export const PEER_REFUSALS = [
  /** Its certificate is none of ours, or it has none. */
  'tls',
  /** Its certificate is sound, and not that of the node which it says it is. */
  'identity',
  /** It belongs to another cluster. */
  'cluster',
  /** It is in no configuration of ours. */
  'unknown-node',
  /** It looks for another node at this address. */
  'not-me',
  /** No version of the protocol that both speak. */
  'version',
  /** What it sent is no frame of the protocol. */
  'malformed',
  /** It said nothing in time. */
  'silent',
  /** More connections than all nodes together need. */
  'crowded',
] as const;
export type PeerRefusal = (typeof PEER_REFUSALS)[number];

/** Ends the stream that it came on. */
export class PeerError extends Error {
  readonly code: PeerRefusal;

  constructor(code: PeerRefusal, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'PeerError';
    this.code = code;
  }
}

interface Tally {
  count: number;
  /** Since the last line in the log. */
  untold: number;
  toldAtMs: number;
}

export class RefusalLog {
  readonly #log: Logger;
  readonly #now: () => number;
  readonly #tallies = new Map<PeerRefusal, Tally>();

  /** `now` in milliseconds, monotonic. */
  constructor(log: Logger, now: () => number) {
    this.#log = log;
    this.#now = now;
    for (const code of PEER_REFUSALS) {
      this.#tallies.set(code, { count: 0, untold: 0, toldAtMs: Number.NEGATIVE_INFINITY });
    }
  }

  count(code: PeerRefusal): number {
    return this.#tallies.get(code)?.count ?? 0;
  }

  /** `from`: the address of the other end, as far as it is known. */
  refused({ code, message }: PeerError, from: string | undefined): void {
    const tally = this.#tallies.get(code);
    if (tally === undefined) return;
    tally.count += 1;
    tally.untold += 1;
    const now = this.#now();
    if (now - tally.toldAtMs < REFUSAL_LOG_INTERVAL_MS) return;
    const times = tally.untold;
    tally.untold = 0;
    tally.toldAtMs = now;
    this.#log.warn({ refusal: code, from, why: message, times }, 'a peer was turned away');
  }
}
