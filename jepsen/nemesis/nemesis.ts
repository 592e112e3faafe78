/**
 * The nemesis: deals the cards that were asked for, one or two at a time, a quarter of the time
 * none, and heals before it deals again. Each card of the deck is dealt before any is dealt twice,
 * and in the first deck one of each kind comes first that can be played, so that also a short run
 * has had every kind; how long that takes is chance (`hadEach`).
 *
 * It never stops at a fault that fails: that is written down, and the checker of faults refuses the
 * run. `heal` undoes whatever is still in force, at the end or after an error.
 */

import type { FaultStep } from '../history/operation.ts';
import type { Recorder } from '../history/recorder.ts';
import { sleep } from '../sleep.ts';
import type { Plan, Table } from './fault-kind.ts';
import type { Card } from './kinds.ts';

const NONE_SHARE = 0.25;
/** How often the next fault waits until writes are acknowledged again, and how long at most. */
const CALM_SHARE = 0.75;
const CALM_MAX_MS = 30_000;
const LOOK_MS = 50;
const TWO_SHARE = 0.25;

/** From and up to, in milliseconds. */
export interface Pace {
  /** Before each fault. */
  readonly quietMs: readonly [number, number];
  /** How long it is in force. */
  readonly holdMs: readonly [number, number];
}

export const USUAL_PACE: Pace = { quietMs: [1_500, 6_000], holdMs: [1_000, 8_000] };

interface Installed {
  readonly id: number;
  readonly card: Card;
  readonly plan: Plan;
}

export interface NemesisOptions {
  readonly table: Table;
  readonly recorder: Recorder;
  readonly cards: readonly Card[];
  readonly pace: Pace;
  readonly stop: AbortSignal;
  /** Queues in each of which writes are to be acknowledged before it is calm. */
  readonly queues: readonly string[];
}

export class Nemesis {
  /** Resolves when each kind was dealt once. */
  readonly hadEach: Promise<void>;
  #tellHadEach = (): void => undefined;
  readonly #options: NemesisOptions;
  readonly #installed: Installed[] = [];
  #deck: Card[];
  /** Kinds of which none was dealt yet. */
  readonly #missing: Set<Card['kind']>;
  /** Cards that are dealt before there is a rest. */
  #first: number;
  #faults = 0;
  #said = 'quiet';

  constructor(options: NemesisOptions) {
    this.#options = options;
    this.#deck = options.table.random.shuffled(options.cards);
    this.#missing = new Set(this.#deck.map(({ kind }) => kind));
    this.#first = this.#missing.size;
    this.hadEach = new Promise((resolve) => {
      this.#tellHadEach = resolve;
    });
    if (this.#missing.size === 0) this.#tellHadEach();
  }

  /** For the progress line. */
  get doing(): string {
    return this.#said;
  }

  get faults(): number {
    return this.#faults;
  }

  async run(): Promise<void> {
    const { stop, table, pace } = this.#options;
    const { random } = table;
    while (!stop.aborted) {
      this.#said = 'quiet';
      await sleep(random.whole(...pace.quietMs), stop);
      if (stop.aborted || (this.#first <= 0 && random.fraction() < NONE_SHARE)) continue;
      await this.#deal();
      if (random.fraction() < TWO_SHARE) await this.#deal();
      await sleep(random.whole(...pace.holdMs), stop);
      await this.heal();
      if (random.fraction() < CALM_SHARE) await this.#calm();
    }
  }

  /** Without it the gaps of faults in a row could not be told apart. */
  async #calm(): Promise<void> {
    const { recorder, stop, queues } = this.#options;
    const counts = queues.map((queue) => ({ queue, before: recorder.acknowledged(queue) }));
    const isCalm = (): boolean =>
      counts.every(({ queue, before }) => recorder.acknowledged(queue) > before);
    const deadline = performance.now() + CALM_MAX_MS;
    while (!isCalm() && performance.now() < deadline) {
      await sleep(LOOK_MS, stop);
      if (stop.aborted) return;
    }
  }

  /** Undoes what is in force, the last first. */
  async heal(): Promise<void> {
    for (let fault = this.#installed.pop(); fault !== undefined; fault = this.#installed.pop()) {
      const { id, plan, card } = fault;
      this.#note('heal', fault);
      try {
        await plan.heal();
        this.#note('healed', fault);
      } catch (error) {
        this.#note('refused', { id, card, plan: { ...plan, detail: words(error) } });
      }
    }
    this.#said = 'quiet';
  }

  /** The next card that can be played now; those before it stay in the deck. */
  async #deal(): Promise<void> {
    const { cards, table } = this.#options;
    if (this.#deck.length === 0) this.#deck = table.random.shuffled(cards);
    const isMissing = ({ kind }: Card): boolean => this.#missing.has(kind);
    const isKnown = (card: Card): boolean => !isMissing(card);
    for (const card of [...this.#deck.filter(isMissing), ...this.#deck.filter(isKnown)]) {
      // Two of a kind could not be healed one by one.
      if (this.#installed.some((fault) => fault.card.kind === card.kind)) continue;
      const plan = await card.kind.plan(card.choice, table);
      if (typeof plan === 'string') continue;
      this.#deck = this.#deck.filter((other) => other !== card);
      this.#first -= 1;
      this.#missing.delete(card.kind);
      await this.#install(card, plan);
      if (this.#missing.size === 0) this.#tellHadEach();
      return;
    }
    // Nothing of what is left can be played: better another round than none.
    if (this.#deck.length < cards.length) this.#deck = [];
  }

  async #install(card: Card, plan: Plan): Promise<void> {
    this.#faults += 1;
    const fault: Installed = { id: this.#faults, card, plan };
    this.#note('install', fault);
    // In force as far as it got, also when it fails.
    this.#installed.push(fault);
    this.#said = this.#installed
      .map((each) => `${each.card.kind.name} ${each.plan.nodes.join('+')}`)
      .join(', ');
    try {
      await plan.install();
      this.#note('installed', fault);
    } catch (error) {
      this.#note('refused', { ...fault, plan: { ...plan, detail: words(error) } });
    }
  }

  #note(step: FaultStep, { id, card, plan }: Installed): void {
    this.#options.recorder.add({
      process: 'nemesis',
      type: 'info',
      f: card.kind.name,
      step,
      fault: id,
      nodes: plan.nodes,
      detail: plan.detail,
    });
  }
}

function words(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
