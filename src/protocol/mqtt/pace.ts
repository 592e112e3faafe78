/**
 * How fast one client may send: PUBLISH packets and bytes a second, each saved up for a while. Who
 * is too fast is not read until it may again, so that TCP slows it down and nothing is lost; or it
 * is disconnected (0x96), as configured. Of a connection: who connects anew begins with what a
 * burst allows, and how often he may do so is for the door.
 */

import { type Rate, TokenBucket } from '../token-bucket.ts';
import type { Ending, MqttContext } from './context.ts';
import type { MqttOptions } from './options.ts';
import { ReasonCode } from './reason-codes.ts';

type TooFast = Ending<typeof ReasonCode.messageRateTooHigh>;

const TOO_MANY_MESSAGES: TooFast = {
  reasonCode: ReasonCode.messageRateTooHigh,
  text: 'more messages a second than a client may send',
  limit: 'message-rate',
};
const TOO_MANY_BYTES: TooFast = {
  reasonCode: ReasonCode.messageRateTooHigh,
  text: 'more bytes a second than a client may send',
  limit: 'byte-rate',
};

export interface PaceHooks {
  readonly end: (ending: TooFast) => void;
  /** It may be read again. */
  readonly go: () => void;
}

/** Undefined where clients may send as fast as they can. */
export function paceOf(context: MqttContext, hooks: PaceHooks): Pace | undefined {
  const { maxMessageRate, maxByteRate } = context.options;
  return maxMessageRate === 0 && maxByteRate === 0 ? undefined : new Pace(context, hooks);
}

export class Pace {
  readonly #context: MqttContext;
  readonly #hooks: PaceHooks;
  readonly #messages: TokenBucket | undefined;
  readonly #bytes: TokenBucket | undefined;
  #held = false;

  constructor(context: MqttContext, hooks: PaceHooks) {
    const { options, broker } = context;
    const now = broker.clock.now();
    const bucketOf = (perSecond: number): TokenBucket | undefined =>
      perSecond === 0 ? undefined : new TokenBucket(rateOf(perSecond, options), now);
    this.#context = context;
    this.#hooks = hooks;
    this.#messages = bucketOf(options.maxMessageRate);
    this.#bytes = bucketOf(options.maxByteRate);
  }

  /** It is not to be read. */
  get held(): boolean {
    return this.#held;
  }

  /** Bytes came. False: that ended the connection. */
  received(count: number): boolean {
    if (this.#bytes === undefined) return true;
    const now = this.#context.broker.clock.now();
    this.#bytes.spend(count, now);
    return this.#bytes.has(0, now) || this.#tooFast(TOO_MANY_BYTES);
  }

  /** A PUBLISH came. False: that ended the connection, and it is not to be taken. */
  published(): boolean {
    if (this.#messages === undefined) return true;
    const now = this.#context.broker.clock.now();
    if (this.#context.options.onRate === 'disconnect' && !this.#messages.has(1, now)) {
      return this.#tooFast(TOO_MANY_MESSAGES);
    }
    this.#messages.spend(1, now);
    if (this.#context.options.onRate === 'disconnect' || this.#messages.has(1, now)) return true;
    return this.#tooFast(TOO_MANY_MESSAGES);
  }

  /** Time has passed. */
  look(now: number): void {
    if (this.#messages?.has(1, now) === false || this.#bytes?.has(0, now) === false) return;
    this.close();
    this.#hooks.go();
  }

  /** Holds nothing any more. */
  close(): void {
    this.#held = false;
    this.#context.held.delete(this);
  }

  #tooFast(ending: TooFast): boolean {
    if (this.#context.options.onRate === 'disconnect') {
      this.#hooks.end(ending);
      return false;
    }
    if (this.#held) return true;
    this.#held = true;
    if (ending.limit !== undefined) this.#context.counters.limited[ending.limit]++;
    this.#context.held.add(this);
    return true;
  }
}

/** A burst is never less than one. */
function rateOf(perSecond: number, { rateBurstMs }: MqttOptions): Rate {
  return { perSecond, burst: Math.max(1, (perSecond * rateBurstMs) / 1000) };
}
