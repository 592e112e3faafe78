/**
 * The answer to a heartbeat that may wait: it says what the last one said, to the same leader, so
 * all that it tells is that this replica is still there.
 *
 * It goes out with the next ticks, together with what the node's other replicas have to say then,
 * and a message that travels with another one costs next to nothing. What confirms a new round of
 * reads, or tells of another term, session or reserve, never waits. The core takes a message that
 * is late as any network makes it.
 */

import type { HeartbeatReply } from '../core/message.ts';

export class PatientAnswer {
  /** The newest one, sent or waiting. */
  #last: HeartbeatReply | undefined;
  #waits = false;

  /** Whether it waits here now; if not, it is to be sent. An older one that waited is dropped. */
  keeps(answer: HeartbeatReply): boolean {
    this.#waits = this.#last !== undefined && saysTheSame(answer, this.#last);
    this.#last = answer;
    return this.#waits;
  }

  /** The one that waits, to be sent now. */
  take(): HeartbeatReply | undefined {
    if (!this.#waits) return undefined;
    this.#waits = false;
    return this.#last;
  }
}

function saysTheSame(a: HeartbeatReply, b: HeartbeatReply): boolean {
  return (
    a.to === b.to &&
    a.term === b.term &&
    a.session === b.session &&
    a.round === b.round &&
    a.inReserve === b.inReserve
  );
}
