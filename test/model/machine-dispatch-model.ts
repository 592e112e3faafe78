/**
 * The dispatch policy as one would write it without caring for cost: every message of the queue in
 * a list, looked through from its beginning each time.
 */

import type { SettleOutcome } from '../../src/machine/command.ts';
import type { DispatchStart, SettleVerdict } from '../../src/machine/dispatch-policy.ts';
import { SETTLED_CHUNK } from '../../src/machine/settled-ranges.ts';
import type { SeenEffect } from '../machine/machine-driver.ts';

export interface ModelOptions {
  readonly term: number;
  readonly span: number;
  readonly visibilityMs: number;
  readonly isStream: boolean;
  readonly isSingle: boolean;
  readonly maxPriority: number;
}

interface ModelMessage {
  readonly level: number;
  state: 'new' | 'held' | 'settling' | 'waiting' | 'withheld' | 'settled';
  attempts: number;
  notBefore: number;
  /** `notBefore` as the machine has it. */
  recorded: number;
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
  /** In the order in which they were attached. */
  readonly #credits = new Map<number, number>();
  #number = 0;
  readonly #options: ModelOptions;
  term: number;

  constructor(options: ModelOptions) {
    this.#options = options;
    this.term = options.term;
  }

  /** A new leader: who is known to be settled or requeued stays so, all else is forgotten. */
  restart(): void {
    this.term += 1;
    this.#number = 0;
    this.#ready = [];
    this.#credits.clear();
    for (const message of this.messages) {
      if (message.state !== 'settled') this.#forget(message);
    }
  }

  /** A new policy in the same term: consumers keep their credit, numbers go on. */
  sought(start: DispatchStart): void {
    for (const [offset, message] of this.messages.entries()) {
      const chunk = Math.floor(offset / SETTLED_CHUNK);
      const isSettled = start.settled.get(chunk)?.has(offset % SETTLED_CHUNK) === true;
      message.state = offset < start.floor || isSettled ? 'settled' : 'new';
      if (message.state === 'settled') continue;
      if (!start.requeued.some((each) => each.offset === offset)) message.attempts = 0;
      this.#forget(message);
    }
    this.#ready = this.consumers.filter((consumer) => this.credit(consumer) > 0);
  }

  credit(consumer: number): number {
    return this.#credits.get(consumer) ?? 0;
  }

  tell(effects: readonly SeenEffect[]): void {
    for (const effect of effects) {
      if (effect.kind === 'enqueued') {
        this.messages.push({
          level: Math.min(effect.priority, this.#options.maxPriority),
          state: 'new',
          attempts: 0,
          notBefore: 0,
          recorded: 0,
          redelivered: false,
          consumer: -1,
          number: 0,
          since: 0,
          ending: false,
        });
      } else if (effect.kind === 'settled') {
        this.#at(effect.offset).state = 'settled';
      } else if (effect.kind === 'ranged') {
        for (let offset = effect.from; offset < effect.to; offset += 1) {
          this.#at(offset).state = 'settled';
        }
      } else if (effect.kind === 'requeued') {
        const message = this.#at(effect.offset);
        message.attempts = effect.attempts;
        message.recorded = effect.notBefore;
        // It is of a delivery from before a seek: the present one goes on.
        if (message.state === 'held') continue;
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
      if (how === 'lost' && !this.#options.isStream) message.state = 'settling';
      else this.#due(message, true);
    }
    return how === 'lost' && !this.#options.isStream ? held : [];
  }

  claim(now: number, max: number): ModelDelivery[] {
    const deliveries: ModelDelivery[] = [];
    while (deliveries.length < max) {
      const turns = this.#options.isSingle
        ? this.#ready.filter((consumer) => consumer === this.consumers[0])
        : this.#ready;
      if (turns.length === 0) break;
      let offset = this.messages.findIndex((m) => m.state === 'waiting' && m.notBefore <= now);
      const isAgain = offset !== -1;
      if (!isAgain) offset = this.nextNew();
      if (offset === -1) break;
      const message = this.#at(offset);
      const isAnother = isAgain && message.consumer === turns[0] && turns.length > 1;
      const consumer = turns[isAnother ? 1 : 0] as number;
      this.#ready = this.#ready.filter((each) => each !== consumer);
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

  get floor(): number {
    const floor = this.messages.findIndex(({ state }) => state !== 'settled');
    return floor === -1 ? this.messages.length : floor;
  }

  /** The new message within the span that is next; -1: none. */
  nextNew(): number {
    const { span } = this.#options;
    const { floor } = this;
    let best = -1;
    for (const [offset, { state, level }] of this.messages.entries()) {
      if (state !== 'new' || offset >= floor + span) continue;
      if (best === -1 || level > this.#at(best).level) best = offset;
    }
    return best;
  }

  settle(offset: number, term: number, number: number, outcome: SettleOutcome): SettleVerdict {
    const message = this.messages[offset];
    if (message === undefined) return 'stale';
    if (outcome !== 'complete') {
      const isCurrent = term === this.term && number === message.number;
      if (message.state !== 'held' || !isCurrent) return 'stale';
      if (outcome === 'requeue' && this.#options.isStream) return 'settled';
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
    const { isStream, visibilityMs } = this.#options;
    const expired = this.#held().filter((o) => this.#at(o).since + visibilityMs <= now);
    for (const offset of expired) {
      if (isStream) this.#due(this.#at(offset), true);
      else this.#at(offset).state = 'settling';
    }
    return isStream ? [] : expired;
  }

  extend(offset: number, number: number, now: number): boolean {
    const message = this.#at(offset);
    if (message.state !== 'held' || message.number !== number) return false;
    message.since = now;
    return true;
  }

  passOver(offset: number): void {
    const message = this.#at(offset);
    this.#repeat(message.consumer);
    Object.assign(message, { state: 'settling', ending: true, number: 0, notBefore: 0 });
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

  #forget(message: ModelMessage): void {
    message.state = message.attempts > 0 ? 'waiting' : 'new';
    message.redelivered = message.attempts > 0;
    message.notBefore = message.recorded;
    message.ending = false;
    message.consumer = -1;
    message.number = 0;
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
