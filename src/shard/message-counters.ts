/** What became of messages since the start, counted as apply does it; a replay counts too. */

import type { Effects, RareEffect } from '../machine/effect.ts';

export class MessageCounters {
  /** One for each queue that took it. */
  enqueued = 0;
  completed = 0;
  requeued = 0;
  discarded = 0;
  expired = 0;
  /** From the head of a full queue. */
  dropped = 0;

  settled(effects: Effects, at: number): void {
    if (effects.discarded(at)) this.discarded++;
    else this.completed++;
  }

  rare(effect: RareEffect): void {
    if (effect.kind !== 'dropped') return;
    if (effect.why === 'expired') this.expired += effect.count;
    else this.dropped += effect.count;
  }
}
