/**
 * The two ends of a catch-up, as ports that whoever owns checkpoints implements.
 *
 * A source holds one durable checkpoint still while it is read; nothing that it needs is deleted
 * before `close`. A sink builds in a directory of its own, keeps what it has through restarts and
 * changes of leader, and makes the whole current by one rename of a manifest. A crash before that
 * rename leaves the replica as it was; after it, the new one, whole.
 */

import type { ConfigurationAt } from '../core/configuration.ts';
import type { Entry } from '../core/entry.ts';
import type { LogIndex, Term } from '../core/ids.ts';
import type { HardState } from '../core/ready.ts';

/**
 * For whom the log stays, although a checkpoint covers it: for all who catch up; only for those who
 * have just made a checkpoint current and ask for what follows it; or for nobody any more.
 */
export type HeldFor = 'all' | 'current' | 'nobody';

export interface CheckpointName {
  readonly index: LogIndex;
  /** Of the entry at `index`. */
  readonly term: Term;
  /** In use at `index`. */
  readonly configuration: ConfigurationAt;
}

export interface CatchUpSource {
  /**
   * The last durable checkpoint; undefined: there is none. Where that is older than `least`, a new
   * one should be made if it can: the peer has no use for the older one.
   */
  open(least: LogIndex): Promise<CatchUpReading | undefined>;
}

export interface CatchUpReading {
  readonly checkpoint: CheckpointName;
  readonly summary: Uint8Array;
  /**
   * Ends when it has reached about `maxBytes`, and is never above `CATCH_UP_LIMITS.answerBytesMax`.
   * Rejects when the disk cannot be read, or the question is none.
   */
  answer(question: Uint8Array, maxBytes: number): Promise<Uint8Array>;
  close(): void;
}

export interface CatchUpSink {
  /** Goes on with what an earlier attempt has left, as far as it fits this checkpoint. */
  begin(checkpoint: CheckpointName, summary: Uint8Array): Promise<CatchUpBuilding>;
  /** The log has come past what an earlier attempt was for: what it has left may go. */
  forget(): void;
}

export interface CatchUpBuilding {
  /** `wait`: the answers that are under way decide. */
  next(): Uint8Array | 'wait' | 'complete';
  /** Rejects when it cannot be written, or is no answer to this question. */
  take(question: Uint8Array, answer: Uint8Array): Promise<void>;
  /**
   * Once complete: the highest index at which something was told gone, at least the checkpoint's.
   * To be told as `Recovered.serveFrom` when the replica is opened anew.
   */
  readonly serveFrom: LogIndex;
  /** Into the new log, behind the checkpoint; before `makeCurrent`. */
  keep(entries: readonly Entry[]): Promise<void>;
  /** Durable and current, with the vote of the replica that it replaces. */
  makeCurrent(hardState: HardState): Promise<void>;
  /** Stops for now; what it has stays for the next attempt. */
  close(): void;
}
