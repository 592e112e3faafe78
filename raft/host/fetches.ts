/**
 * Reads of older entries that the core asks for: for peers that are behind what it keeps in memory,
 * and for its own state machine after a start.
 *
 * Each read is bounded by the core's `maxBytes`; at most `READS_MAX` are under way, and the core
 * asks once at a time for each peer, so what waits here is bounded by the members. Reads for peers
 * that are behind begin as the pace lets them; those for apply and repair never wait for it. An
 * answer that comes after the host has ended is dropped.
 */

import type { Entry } from '../core/entry.ts';
import { bytesOf } from '../core/entry-log.ts';
import type { Fetch } from '../core/ready.ts';
import type { CatchUpPace } from './catch-up-pace.ts';
import type { DamagedRange, Disk, DiskRead } from './ports.ts';

export interface FetchesOptions {
  readonly disk: Disk;
  readonly pace: CatchUpPace;
  readonly fetched: (id: number, entries: readonly Entry[]) => void;
  readonly failed: (id: number) => void;
  readonly damaged: (range: DamagedRange) => void;
}

const READS_MAX = 4;

export class Fetches {
  readonly #options: FetchesOptions;
  #waiting: Fetch[] = [];
  #reads = 0;
  #closed = false;

  constructor(options: FetchesOptions) {
    this.#options = options;
  }

  add(fetch: Fetch): void {
    if (this.#closed) return;
    if (fetch.reason !== 'replicate') this.#begin(fetch);
    else this.#options.pace.take(fetch.maxBytes, () => this.#begin(fetch));
  }

  close(): void {
    this.#closed = true;
    this.#waiting = [];
  }

  #begin(fetch: Fetch): void {
    if (this.#closed) return;
    if (this.#reads < READS_MAX) this.#start(fetch);
    else this.#waiting.push(fetch);
  }

  #start(fetch: Fetch): void {
    this.#reads++;
    const { from, maxBytes } = fetch;
    this.#options.disk.read(from, maxBytes).then(
      (outcome) => this.#ended(fetch, outcome),
      () => this.#ended(fetch, undefined),
    );
  }

  /** `undefined`: the disk could not be read. */
  #ended(fetch: Fetch, outcome: DiskRead | undefined): void {
    this.#reads--;
    if (this.#closed) return;
    const next = this.#waiting.shift();
    if (next !== undefined) this.#start(next);
    if (fetch.reason === 'replicate') this.#options.pace.read(fetch.maxBytes, bytesIn(outcome));
    this.#answer(fetch, outcome);
  }

  #answer({ id, from, through }: Fetch, outcome: DiskRead | undefined): void {
    const { fetched, failed, damaged } = this.#options;
    switch (outcome?.kind) {
      case undefined:
      case 'outside':
        failed(id);
        return;
      case 'entries': {
        const count = through - from + 1;
        const { entries } = outcome;
        fetched(id, entries.length > count ? entries.slice(0, count) : entries);
        return;
      }
      case 'faulty':
        damaged(outcome.range);
        failed(id);
    }
  }
}

function bytesIn(outcome: DiskRead | undefined): number {
  return outcome?.kind === 'entries' ? bytesOf(outcome.entries) : 0;
}
