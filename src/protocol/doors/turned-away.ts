/**
 * What the log hears of connections that are closed at once: of each reason the first, and then one
 * line in a while with how many there were since. Whoever opens many fills no disk.
 */

import type { Logger } from '../../telemetry/logger.ts';

const QUIET_MS = 5000;

interface Told {
  atMs: number;
  since: number;
}

export class TurnedAway {
  readonly #listener: string;
  readonly #told = new Map<string, Told>();

  constructor(listener: string) {
    this.#listener = listener;
  }

  tell(log: Logger, { why, remote }: { why: string; remote: string }, now: number): void {
    const told = this.#told.get(why);
    if (told !== undefined && now - told.atMs < QUIET_MS) {
      told.since++;
      return;
    }
    const fields = { remote, listener: this.#listener, more: told?.since ?? 0 };
    log.warn(fields, `a connection was closed: ${why}`);
    this.#told.set(why, { atMs: now, since: 0 });
  }
}
