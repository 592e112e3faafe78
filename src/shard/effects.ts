/**
 * From the machine's effects to what a sender hears: one `confirmed` frame for each stream and
 * turn, and, on the sender's side of the port, the proof that frame is.
 *
 * This is the only file that makes a `Committed`. Its shard half runs behind `apply`, which runs
 * behind the sync; its client half needs a frame that the shard half made. So a positive
 * acknowledgement cannot be encoded before the entry is durable and applied. Nothing here does I/O
 * or is kept over a crash.
 */

import { committed } from '../machine/committed.ts';
import type { Committed } from '../machine/committed.ts';
import type { Effects, Outcome } from '../machine/effect.ts';
import type { Stream } from '../machine/streams.ts';
import { REFUSAL_REASONS } from './shard-frames.ts';
import type { Refusal, ShardBatchWriter } from './shard-frames.ts';

type AppliedStream = Pick<Stream, 'last' | 'refusedAbove'>;

/** Outcomes that are no refusals of this number: they say that the sender is out of step. */
type OutOfStep = 'answered' | 'gap' | 'window' | 'stale-boot' | 'unknown-boot';

function isOutOfStep(outcome: Outcome): outcome is OutOfStep {
  return (
    outcome === 'answered' ||
    outcome === 'gap' ||
    outcome === 'window' ||
    outcome === 'stale-boot' ||
    outcome === 'unknown-boot'
  );
}

/** The outcomes of one sender's stream, in the shard, until they are told. */
export class StreamConfirms {
  readonly #boot: number;
  #told = 0;
  #upTo = 0;
  #refusals: Refusal[] = [];

  constructor(boot: number) {
    this.#boot = boot;
  }

  /** Of a stream that goes on: everything above `told` that has its outcome is to be told. */
  static from(boot: number, told: number, stream: AppliedStream): StreamConfirms {
    const confirms = new StreamConfirms(boot);
    confirms.#told = told;
    confirms.#upTo = stream.last;
    for (const { number, outcome } of stream.refusedAbove(told)) {
      const reason = REFUSAL_REASONS.find((each) => each === outcome);
      if (reason !== undefined) confirms.#refusals.push({ number, reason });
    }
    return confirms;
  }

  get boot(): number {
    return this.#boot;
  }

  /** All numbers up to this one have their outcome. */
  get upTo(): number {
    return this.#upTo;
  }

  get waiting(): boolean {
    return this.#upTo > this.#told;
  }

  /** Takes the `confirmed` effect at `at`; those of an earlier boot are for nobody. */
  add(effects: Effects, at: number): void {
    if (effects.boot(at) !== this.#boot) return;
    const number = effects.number(at);
    if (number <= this.#upTo) return;
    if (!effects.accepted(at)) {
      const outcome = effects.outcome(at);
      // A duplicate is stored already: its sender has the proof as for the first.
      if (outcome === 'duplicate') {
        this.#upTo = number;
        return;
      }
      // The leader proposes only numbers in turn, so that none of these can be the first of its
      // number.
      if (isOutOfStep(outcome)) return;
      if (outcome !== 'accepted') this.#refusals.push({ number, reason: outcome });
    }
    this.#upTo = number;
  }

  /** Tells everything that was not told yet, in one frame. */
  tell(writer: ShardBatchWriter): void {
    if (!this.waiting) return;
    writer.confirmed(this.#upTo, this.#refusals);
    this.#told = this.#upTo;
    if (this.#refusals.length > 0) this.#refusals = [];
  }
}

/**
 * The proof for one number of the stream, on the sender's side: the frame says that it is durable
 * and applied. Asking for a number that the frame does not cover is a bug.
 */
export function committedBy(confirmed: { readonly upTo: number }, number: number): Committed {
  if (number > confirmed.upTo) throw new Error(`${number} is not confirmed by ${confirmed.upTo}`);
  return committed(number);
}
