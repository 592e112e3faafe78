/**
 * What a node tells of itself under `$SYS/broker/...`, by the names that MQTT users know: at the
 * start, and then once an interval, each value only if it has changed.
 *
 * It counts nothing itself; it asks the parts, and smooths the two rates. The values are those of
 * this node alone. Nothing here is stored, and nothing is told while the interval is 0.
 */

import { MS_PER_MINUTE, Rate } from './system-rate.ts';

/** A node's numbers, as they are now; totals since the start, or of what is there. */
export interface SystemFigures {
  readonly connected: number;
  readonly sessions: number;
  /** PUBLISH packets of clients, and to clients. */
  readonly received: number;
  readonly sent: number;
  /** Messages that did not reach a subscriber that wanted them. */
  readonly dropped: number;
  readonly subscriptions: number;
  readonly retained: number;
}

export interface SystemTopicsParts {
  readonly version: string;
  readonly figures: () => SystemFigures;
  /** Milliseconds of a clock that never goes back. */
  readonly now: () => number;
  readonly tell: (topic: string, text: string) => void;
}

export class SystemTopics {
  readonly #parts: SystemTopicsParts;
  readonly #intervalMs: number;
  readonly #startedMs: number;
  readonly #rates: { readonly received: Rate; readonly sent: Rate };
  #mostConnected = 0;
  #ticker: NodeJS.Timeout | undefined;

  /** An interval of 0 tells nothing, ever. */
  constructor(intervalMs: number, parts: SystemTopicsParts) {
    this.#parts = parts;
    this.#intervalMs = intervalMs;
    this.#startedMs = parts.now();
    this.#rates = { received: new Rate(this.#startedMs), sent: new Rate(this.#startedMs) };
  }

  start(): void {
    if (this.#intervalMs === 0) return;
    this.tick();
    this.#ticker ??= setInterval(() => this.tick(), this.#intervalMs).unref();
  }

  stop(): void {
    clearInterval(this.#ticker);
    this.#ticker = undefined;
  }

  /** Tells what there is now; called by a timer. */
  tick(): void {
    const { version, figures, now, tell } = this.#parts;
    const seen = figures();
    const nowMs = now();
    this.#mostConnected = Math.max(this.#mostConnected, seen.connected);
    const values: readonly (readonly [name: string, value: string | number])[] = [
      ['version', `FluxMQ ${version}`],
      ['uptime', `${Math.floor((nowMs - this.#startedMs) / 1000)} seconds`],
      ['clients/connected', seen.connected],
      ['clients/disconnected', seen.sessions - seen.connected],
      ['clients/total', seen.sessions],
      ['clients/maximum', this.#mostConnected],
      ['messages/received', seen.received],
      ['messages/sent', seen.sent],
      ['messages/dropped', seen.dropped],
      ['subscriptions/count', seen.subscriptions],
      ['retained messages/count', seen.retained],
    ];
    for (const [name, value] of values) tell(`$SYS/broker/${name}`, String(value));
    for (const direction of ['received', 'sent'] as const) {
      const rate = this.#rates[direction];
      rate.add(seen[direction], nowMs);
      for (const minutes of [1, 5, 15]) {
        const average = rate.average(minutes * MS_PER_MINUTE).toFixed(2);
        tell(`$SYS/broker/load/messages/${direction}/${minutes}min`, average);
      }
    }
  }
}
