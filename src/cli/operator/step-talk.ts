/**
 * What the steps of a change tell, and how they wait: the same is told once, what passes by itself
 * is waited for within the time that was given, and every other refusal ends the command with its
 * words.
 */

import type { ClusterAdmin, ClusterAnswer, ClusterRefusal } from '../../admin/cluster-port.ts';
import { CliError, ExitCode } from '../exit-codes.ts';
import { visible } from '../text/columns.ts';
import { CLUSTER_REFUSED } from './cluster-refusals.ts';

/** What a step says: `step` for programs, `text` for people. */
export interface Step {
  readonly step: string;
  readonly node: string;
  readonly text: string;
  readonly fields?: Readonly<Record<string, number | string>>;
}

export interface StepsOptions {
  readonly cluster: ClusterAdmin;
  readonly shard: number;
  readonly say: (step: Step) => Promise<void>;
  /** Between two looks. */
  readonly pause: () => Promise<void>;
  /** Whether the time that was given is over. */
  readonly isOver: () => boolean;
}

/** What passes by itself: it is asked for again. */
const PASSING = new Set<ClusterRefusal>([
  'not-leader',
  'no-leader',
  'not-ready',
  'pending',
  'transferring',
  'not-caught-up',
  'has-shards',
]);
/** Somebody else was faster: the next look shows it. */
const DONE = new Set<ClusterRefusal>([
  'already-member',
  'not-learner',
  'not-member',
  'already-leader',
]);

export class StepTalk {
  readonly #options: StepsOptions;
  #lastSaid = '';

  constructor(options: StepsOptions) {
    this.#options = options;
  }

  async say(node: string, step: string, text: string): Promise<void> {
    await this.tell({ node, step, text });
  }

  async tell(step: Step): Promise<void> {
    if (this.#lastSaid === step.text) return;
    this.#lastSaid = step.text;
    await this.#options.say(step);
  }

  async pause(id: string): Promise<void> {
    if (this.#options.isOver()) {
      const text = `${visible(id)}: not done in time; give the command again, and it goes on`;
      throw new CliError(ExitCode.timeout, text);
    }
    await this.#options.pause();
  }

  /** Whether it was made. */
  async asked(answer: ClusterAnswer, id: string): Promise<boolean> {
    if (answer.kind === 'accepted') return true;
    const { code } = answer;
    if (DONE.has(code)) return false;
    if (PASSING.has(code)) {
      await this.say(id, 'waiting', `waits: ${CLUSTER_REFUSED[code]}`);
      return false;
    }
    throw this.refused(code, id);
  }

  refused(code: ClusterRefusal, id: string): CliError {
    const text = `shard ${this.#options.shard}, ${visible(id)}: ${CLUSTER_REFUSED[code]} (${code})`;
    return new CliError(ExitCode.refused, text);
  }
}
