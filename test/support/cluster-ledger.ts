/**
 * What was promised to the clients of a cluster of shards: which publishes were confirmed, which
 * settlements were acknowledged. Whatever is delivered is held against it.
 *
 * A text is published once, so that it names its message. Everything that nobody answered may have
 * happened or not.
 */

import { expect } from 'vitest';

interface Message {
  readonly text: string;
  readonly queue: string;
  /** Of one client, as long as it lives. */
  readonly publisher: string;
  readonly number: number;
  state: 'open' | 'confirmed' | 'unknown';
  completed: 'no' | 'asked' | 'done';
  discarded: 'no' | 'asked' | 'done';
}

export class ClusterLedger {
  /** Of each queue, the one of its dead letters. */
  readonly #deadOf: ReadonlyMap<string, string>;
  readonly #messages = new Map<string, Message>();
  /** Of each queue, what stands at each offset, and where each message stands. */
  readonly #texts = new Map<string, string>();
  readonly #offsets = new Map<string, number>();
  /** Since all is well again. */
  readonly #drained = new Set<string>();

  constructor(deadOf: ReadonlyMap<string, string>) {
    this.#deadOf = deadOf;
  }

  /** Publishes without an answer. */
  get open(): number {
    return [...this.#messages.values()].filter(({ state }) => state === 'open').length;
  }

  published(queue: string, publisher: string, number: number): string {
    const text = `${publisher}-${number}`;
    const nothing = { completed: 'no', discarded: 'no', state: 'open' } as const;
    this.#messages.set(text, { text, queue, publisher, number, ...nothing });
    return text;
  }

  /** True: nobody knows whether it is there. */
  told(text: string, outcome: unknown): boolean {
    const message = this.#message(text);
    if (message.state !== 'open') expect.fail(`${text} is answered twice`);
    message.state = typeof outcome === 'number' ? 'confirmed' : 'unknown';
    if (message.state === 'unknown')
      expect(['timeout', 'unavailable', 'disk-full']).toContain(outcome);
    return message.state === 'unknown';
  }

  /** Its client is gone, and tells nothing any more. */
  unheard(publisher: string): void {
    for (const message of this.#messages.values()) {
      if (message.publisher === publisher && message.state === 'open') message.state = 'unknown';
    }
  }

  /** From a queue, or from one of dead letters. */
  delivered(queue: string, offset: number, text: string): void {
    const message = this.#message(text);
    this.#stands(queue, offset, text);
    if (queue === this.#deadOf.get(message.queue)) {
      if (message.discarded === 'no') expect.fail(`${text} was never rejected`);
      return;
    }
    if (queue !== message.queue) expect.fail(`${text} comes from ${queue}`);
    if (message.completed === 'done') expect.fail(`${text} came again, although it is settled`);
    if (message.discarded === 'done') expect.fail(`${text} came again, although it is rejected`);
  }

  asked(text: string, outcome: 'complete' | 'discard'): void {
    const message = this.#message(text);
    const what = outcome === 'complete' ? 'completed' : 'discarded';
    if (message[what] === 'no') message[what] = 'asked';
  }

  acknowledged(text: string, outcome: 'complete' | 'discard'): void {
    this.#message(text)[outcome === 'complete' ? 'completed' : 'discarded'] = 'done';
  }

  drained(queue: string, text: string): void {
    this.#drained.add(`${queue} ${text}`);
  }

  /** What is still to come when all is well. */
  get missing(): string[] {
    const missing: string[] = [];
    for (const { text, queue, state, completed, discarded } of this.#messages.values()) {
      const dead = `${this.#deadOf.get(queue)} ${text}`;
      if (discarded === 'done' && !this.#drained.has(dead)) missing.push(dead);
      const isTouched = completed !== 'no' || discarded !== 'no';
      const there = `${queue} ${text}`;
      if (state === 'confirmed' && !isTouched && !this.#drained.has(there)) missing.push(there);
    }
    return missing;
  }

  /** Of one client and one queue, later messages stand behind earlier ones. */
  inOrder(): void {
    const last = new Map<string, { number: number; offset: number }>();
    for (const { text, queue, publisher, number } of this.#messages.values()) {
      const offset = this.#offsets.get(`${queue} ${text}`);
      if (offset === undefined) continue;
      const before = last.get(`${queue} ${publisher}`);
      if (before !== undefined) {
        expect(offset, `${text} behind ${before.number}`).toBeGreaterThan(before.offset);
      }
      last.set(`${queue} ${publisher}`, { number, offset });
    }
  }

  /** A message has one offset, and an offset one message. */
  #stands(queue: string, offset: number, text: string): void {
    const place = `${queue} ${offset}`;
    const there = this.#texts.get(place) ?? text;
    if (there !== text) expect.fail(`${text} at ${place}, where ${there} stands`);
    this.#texts.set(place, text);
    const name = `${queue} ${text}`;
    const before = this.#offsets.get(name) ?? offset;
    if (before !== offset) expect.fail(`${text} stands in ${queue} at ${before} and ${offset}`);
    this.#offsets.set(name, offset);
  }

  #message(text: string): Message {
    const message = this.#messages.get(text);
    if (message === undefined) throw new Error(`${text} was never published`);
    return message;
  }
}
