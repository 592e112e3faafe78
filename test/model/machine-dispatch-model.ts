/**
 * The dispatch policy as one would write it without caring for cost: every message of the queue in
 * a list, looked through from its beginning each time.
 */

import type { SettleOutcome } from '../../src/machine/command.ts';
import type { SettleVerdict } from '../../src/machine/dispatch-policy.ts';
import type { SeenEffect } from '../machine/machine-driver.ts';

interface ModelMessage {
  state: 'new' | 'held' | 'settling' | 'waiting' | 'withheld' | 'settled';
  attempts: number;
  notBefore: number;
  redelivered: boolean;
  /** The current or last delivery. */
  consumer: number;
  number: number;
  since: number;
  /** A complete or discard is proposed. */
  ending: boolean;
}

export interface ModelDelivery {
  readonly consumer: number;
  readonly offset: number;
  readonly number: number;
  readonly attempt: number;
  readonly redelivered: boolean;
}

export class DispatchModel {
  readonly messages: ModelMessage[] = [];
  /** Consumers that can take a message, in the order of their turns. */
  #ready: number[] = [];
  readonly #credits = new Map<number, number>();
  #number = 0;
  readonly #span: number;
  readonly #visibilityMs: number;
  term: number;

  constructor(term: number, span: number, visibilityMs: number) {
    this.term = term;
    this.#span = span;
    this.#visibilityMs = visibilityMs;
  }

  /** A new leader: who is known to be settled or requeued stays so, all else is forgotten. */
  restart(): void {
    this.term += 1;
    this.#number = 0;
    this.#ready = [];
    this.#credits.clear();
    for (const message of this.messages) {
      if (message.state === 'settled') continue;
      message.state = message.attempts > 0 ? 'waiting' : 'new';
      message.redelivered = message.attempts > 0;
      message.ending = false;
      message.consumer = -1;
      message.number = 0;
    }
  }

  tell(effects: readonly SeenEffect[]): void {
    for (const effect of effects) {
      if (effect.kind === 'enqueued') {
        this.messages.push({
          state: 'new',
          attempts: 0,
          notBefore: 0,
          redelivered: false,
          consumer: -1,
          number: 0,
          since: 0,
          ending: false,
        });
      } else if (effect.kind === 'settled') {
        this.#at(effect.offset).state = 'settled';
      } else if (effect.kind === 'requeued') {
        const message = this.#at(effect.offset);
        message.attempts = effect.attempts;
        message.notBefore = effect.notBefore;
        message.redelivered = true;
        message.number = 0;
        message.state = message.ending ? 'settling' : 'waiting';
      }
    }
  }

  get consumers(): number[] {
    return [...this.#credits.keys()];
  }

  attach(consumer: number, credit: number): void {
    this.#credits.set(consumer, 0);
    this.grant(consumer, credit);
  }

  grant(consumer: number, credit: number): void {
    const had = this.#credits.get(consumer);
    if (had === undefined || credit === 0) return;
    this.#credits.set(consumer, had + credit);
    if (had === 0) this.#ready.push(consumer);
  }

  close(consumer: number, how: 'lost' | 'returned'): number[] {
    this.#credits.delete(consumer);
    this.#ready = this.#ready.filter((each) => each !== consumer);
    const held = this.#held().filter((offset) => this.#at(offset).consumer === consumer);
    for (const offset of held) {
      const message = this.#at(offset);
      if (how === 'lost') message.state = 'settling';
      else this.#due(message, true);
    }
    return how === 'lost' ? held : [];
  }

  claim(now: number, max: number): ModelDelivery[] {
    const deliveries: ModelDelivery[] = [];
    const floor = this.messages.findIndex(({ state }) => state !== 'settled');
    while (deliveries.length < max && this.#ready.length > 0) {
      let offset = this.messages.findIndex((m) => m.state === 'waiting' && m.notBefore <= now);
      const isAgain = offset !== -1;
      if (!isAgain) offset = this.messages.findIndex(({ state }) => state === 'new');
      if (offset === -1 || (!isAgain && offset - floor >= this.#span)) break;
      const message = this.#at(offset);
      let turn = 0;
      if (isAgain && message.consumer === this.#ready[0] && this.#ready.length > 1) turn = 1;
      const consumer = this.#ready.splice(turn, 1)[0] as number;
      const credit = (this.#credits.get(consumer) as number) - 1;
      this.#credits.set(consumer, credit);
      if (credit > 0) this.#ready.push(consumer);
      this.#number += 1;
      Object.assign(message, { state: 'held', consumer, number: this.#number, since: now });
      const { redelivered, attempts } = message;
      deliveries.push({
        consumer,
        offset,
        number: this.#number,
        attempt: attempts + 1,
        redelivered,
      });
    }
    return deliveries;
  }

  settle(offset: number, term: number, number: number, outcome: SettleOutcome): SettleVerdict {
    const message = this.messages[offset];
    if (message === undefined) return 'stale';
    if (outcome !== 'complete') {
      const isCurrent = term === this.term && number === message.number;
      if (message.state !== 'held' || !isCurrent) return 'stale';
      message.ending = outcome === 'discard';
    } else {
      if (message.state === 'settled' || message.ending) return 'settled';
      if (message.state === 'new') message.redelivered = true;
      message.ending = true;
    }
    message.state = 'settling';
    return 'propose';
  }

  expire(now: number): number[] {
    const expired = this.#held().filter((o) => this.#at(o).since + this.#visibilityMs <= now);
    for (const offset of expired) this.#at(offset).state = 'settling';
    return expired;
  }

  proposalFailed(offset: number, now: number): void {
    const message = this.#at(offset);
    if (message.state !== 'settling') return;
    message.ending = false;
    if (message.number === 0) message.state = 'waiting';
    else if (this.#credits.has(message.consumer)) {
      message.state = 'held';
      message.since = now;
    } else this.#due(message, true);
  }

  unclaim(offset: number): void {
    const message = this.#at(offset);
    this.#repeat(message.consumer);
    message.consumer = -1;
    this.#due(message, false);
  }

  withhold(offset: number): void {
    const message = this.#at(offset);
    this.#repeat(message.consumer);
    message.state = 'withheld';
    message.number = 0;
    message.notBefore = 0;
  }

  stateOf(offset: number): string {
    return this.#at(offset).state;
  }

  count(...states: string[]): number {
    return this.messages.filter(({ state }) => states.includes(state)).length;
  }

  /** Held messages in the order of their deliveries' ages. */
  #held(): number[] {
    return [...this.messages.keys()]
      .filter((offset) => this.#at(offset).state === 'held')
      .sort((a, b) => this.#at(a).since - this.#at(b).since || a - b);
  }

  /** The credit comes back, and the turn is next. */
  #repeat(consumer: number): void {
    this.#credits.set(consumer, (this.#credits.get(consumer) as number) + 1);
    this.#ready = [consumer, ...this.#ready.filter((each) => each !== consumer)];
  }

  #due(message: ModelMessage, redelivered: boolean): void {
    message.state = 'waiting';
    message.notBefore = 0;
    message.number = 0;
    message.redelivered ||= redelivered;
  }

  #at(offset: number): ModelMessage {
    return this.messages[offset] as ModelMessage;
  }
}
