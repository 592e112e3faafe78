/**
 * Messages that other shards bring: each goes through the log, and whoever brought it hears what
 * became of it when that is applied. What comes again while it is under way is not proposed again.
 *
 * Soft state of the leader: after a change of leader it is asked for anew, and the machine knows
 * what it has taken.
 */

import { AdminError } from '../broker/ports.ts';
import type { RareEffect } from '../machine/effect.ts';
import type { Arrived } from './other-shards.ts';
import { takeOf } from './transfer-requests.ts';

export interface ArrivalDeskOptions {
  readonly proposals: {
    /** Publishes are to wait. */
    readonly full: boolean;
    /** False: nothing is taken any more. */
    transfer(bytes: Uint8Array): boolean;
  };
  /** The disk is inside its reserve. */
  readonly inReserve: () => boolean;
  readonly wake: () => void;
}

interface Waiting {
  readonly resolve: (arrived: Arrived) => void;
  readonly reject: (error: Error) => void;
}

/** Under way, of all shards. */
const ARRIVING_MAX = 4_096;

export class ArrivalDesk {
  readonly #options: ArrivalDeskOptions;
  readonly #waiting = new Map<string, Waiting>();

  constructor(options: ArrivalDeskOptions) {
    this.#options = options;
  }

  /** Its bytes are the log's from now on. Rejects with `unavailable`: ask again later. */
  take(command: Uint8Array): Promise<Arrived> {
    const { proposals, inReserve, wake } = this.#options;
    const { from, number, opened } = takeOf(command);
    const key = keyOf(from, number, opened);
    const there = this.#waiting.get(key);
    if (there !== undefined) {
      // Another leader of the source asks, and whoever asked before waits for nothing any more.
      return new Promise((resolve, reject) => {
        there.reject(new AdminError('unavailable', 'it was asked for again'));
        this.#waiting.set(key, { resolve, reject });
      });
    }
    if (this.#waiting.size >= ARRIVING_MAX || proposals.full || inReserve()) {
      const words = inReserve() ? 'its disk is inside its reserve' : 'it has too much to do';
      return Promise.reject(new AdminError('unavailable', words));
    }
    if (!proposals.transfer(command)) {
      return Promise.reject(new AdminError('unavailable', 'the shard has stopped'));
    }
    wake();
    return new Promise((resolve, reject) => {
      this.#waiting.set(key, { resolve, reject });
    });
  }

  rare(effect: RareEffect): void {
    if (effect.kind !== 'arrived') return;
    const key = keyOf(effect.from, effect.number, effect.opened);
    this.#waiting.get(key)?.resolve({ kind: effect.how, next: effect.next });
    this.#waiting.delete(key);
  }

  /** It is over here: whoever waits asks the next leader. */
  fail(why: string): void {
    for (const { reject } of this.#waiting.values()) reject(new AdminError('unavailable', why));
    this.#waiting.clear();
  }
}

function keyOf(from: number, number: number, opened: number): string {
  return `${from}/${number}/${opened}`;
}
