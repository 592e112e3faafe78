/**
 * Retained messages as the log has them, a part of the ports of the broker (`ports.ts`): by their
 * offsets in the queue of retained messages, which are the same on every node and after a restart.
 *
 * A SUBSCRIBE of a durable session gets those below the end that the queue has once the
 * subscription is in force: what comes behind it comes to the session as a live message.
 */

import type { Origin } from './consumer.ts';
import type { Publication } from './subscriber.ts';

export interface RetainedLog {
  /**
   * All that was acknowledged anywhere before this call, or published on this node, lies below; or
   * as much of it as can be known within 10 s. Never rejects.
   */
  end(): Promise<number>;
  /** Those of a filter with offsets from `from` to below `to`, ascending. */
  between(filter: string, from: number, to: number): RetainedSelection;
  /**
   * False: something newer of its topic is there, it was removed, has expired, or its publisher may
   * not publish it any more.
   */
  isKept(offset: number): boolean;
}

export interface RetainedSelection {
  /**
   * The next one that is still retained when it is asked for, and that its publisher may publish.
   * `more`: the steps are used up, call again. `wait`: it is not known yet, call again later.
   */
  next(maxSteps: number): SelectedRetained | 'more' | 'wait' | 'done';
}

export interface SelectedRetained {
  readonly offset: number;
  /** Between the two there is none; at the end of the selection there is none behind it. */
  readonly next: number;
  readonly publication: Publication;
  readonly origin: Origin;
}
