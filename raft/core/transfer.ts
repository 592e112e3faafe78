/**
 * Leadership transfer (thesis 3.10), and moving leadership to where it should be.
 *
 * The leader takes no proposals while it brings the target up to date, tells it to time out at
 * once, and gives up after an election time-out. Giving up is safe: a target that was told may
 * still win, and this leader then steps down like any other. Attempts to reach the preferred server
 * are spaced, and further apart each time one fails.
 */

import type { ServerId } from './ids.ts';
import type { Peers } from './peers.ts';
import type { Progress } from './progress.ts';
import type { Replica } from './replica.ts';

/** Attempts that fail are spaced at most so many times as far as the first. */
const BACKOFF_MAX = 16;

export class Transfer {
  readonly #replica: Replica;
  readonly #peers: Peers;
  #to: ServerId | undefined;
  #elapsed = 0;
  #isTold = false;
  preferred: ServerId | undefined;
  #untilBalance = 0;
  #backoff = 1;

  constructor(replica: Replica, peers: Peers) {
    this.#replica = replica;
    this.#peers = peers;
  }

  get to(): ServerId | undefined {
    return this.#to;
  }

  /** Of a new leader. */
  begin(): void {
    this.end();
    this.#untilBalance = this.#replica.limits.balanceTicks * this.#backoff;
  }

  start(to: ServerId): void {
    this.#to = to;
    this.#elapsed = 0;
    this.#isTold = false;
    this.advance();
  }

  end(): void {
    this.#to = undefined;
  }

  /** Another server leads: the last attempt, if it was one, has come to something. */
  succeeded(): void {
    this.#backoff = 1;
  }

  /** The target may have caught up; then it is told to stand for election now. */
  advance(): void {
    if (this.#to === undefined || this.#isTold) return;
    const target = this.#peers.find(this.#to);
    if (target === undefined || target.role !== 'voter') {
      this.end();
      return;
    }
    if (target.matchIndex < this.#replica.log.last) return;
    this.#isTold = true;
    this.timeoutNow(this.#to);
  }

  timeoutNow(to: ServerId): void {
    const { id, term, outbox } = this.#replica;
    outbox.send({ kind: 'timeoutNow', from: id, to, term });
  }

  /** On the leader. The target of an attempt to balance, where it is time for one. */
  tick(): ServerId | undefined {
    if (this.#to !== undefined) {
      this.#elapsed += 1;
      const { electionTicks, heartbeatTicks } = this.#replica.limits;
      if (this.#elapsed >= electionTicks) this.end();
      else if (this.#isTold && this.#elapsed % heartbeatTicks === 0) this.timeoutNow(this.#to);
      return undefined;
    }
    this.#untilBalance -= 1;
    if (this.#untilBalance > 0) return undefined;
    const { balanceTicks } = this.#replica.limits;
    this.#untilBalance = balanceTicks * this.#backoff;
    if (this.preferred === undefined || !this.#isFit(this.#peers.find(this.preferred))) {
      return undefined;
    }
    this.#backoff = Math.min(this.#backoff * 2, BACKOFF_MAX);
    return this.preferred;
  }

  #isFit(target: Progress | undefined): boolean {
    const { log, limits } = this.#replica;
    return (
      target !== undefined &&
      target.role === 'voter' &&
      target.state === 'replicate' &&
      this.#peers.isActive(target) &&
      target.caughtUp &&
      target.matchIndex + limits.windowMessages >= log.last &&
      !target.inReserve
    );
  }
}
