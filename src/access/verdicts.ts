/**
 * What another service allows a client that no rule decides about, and what it said lately
 * (docs/access.md). Asked before a packet is taken, so that the question `may` can be answered at
 * once. A failure is no answer: it allows nothing (O4), and is not kept.
 */

import { createHash } from 'node:crypto';

import { Callout, type CalloutSecrets, type CalloutSettings } from './callout.ts';
import { type Kept, Remembered, type RememberedLimits } from './remembered.ts';
import type { Action } from './rules.ts';

export interface VerdictSettings extends CalloutSettings, RememberedLimits {}

/** What is asked about; whether a queue may be declared, rules alone say. */
export type AskedAction = Exclude<Action, 'declare'>;

export interface Question {
  readonly user: string | undefined;
  readonly clientId: string;
  readonly action: AskedAction;
  /** Of `consume` it is `$queue/<name>`. */
  readonly topic: string;
}

export class Verdicts {
  readonly callout: Callout;
  /** Answers from memory to who was about to ask. */
  remembered = 0;
  readonly #known: Remembered;

  /** `now`: milliseconds of a clock that never goes back. */
  constructor(settings: VerdictSettings, now: () => number) {
    this.#known = new Remembered(settings, now);
    this.callout = new Callout(settings, now);
  }

  /** What it said lately; undefined: nothing that still holds. */
  known(question: Question): Kept | undefined {
    return this.#known.find(keyOf(question));
  }

  /** Never rejects. */
  async ask(
    question: Question,
    secrets: CalloutSecrets,
    isGone: () => boolean,
  ): Promise<boolean | 'failed'> {
    const { age } = this.#known;
    const { user = null, clientId, action, topic } = question;
    const body = { version: 1, action, user, client_id: clientId, topic };
    const answer = await this.callout.ask(body, secrets, isGone);
    if (answer === 'failed') return answer;
    this.#known.keep(keyOf(question), answer, age);
    return answer.result === 'allow';
  }

  /** There are other rules or secrets: what was said is asked again. */
  forget(): void {
    this.#known.clear();
  }
}

/** As long for a long topic as for a short one. */
function keyOf({ user, clientId, action, topic }: Question): string {
  const text = JSON.stringify([user ?? null, clientId, action, topic]);
  return createHash('sha256').update(text).digest('base64');
}
