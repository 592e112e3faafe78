/**
 * Retained messages on their way into the queue of a durable session, for the SUBSCRIBEs that its
 * client was told of: in the order of their offsets, each in one command with the place where the
 * replay goes on. What is in the queue is delivered from there, as all of the session.
 *
 *     SUBSCRIBE --(log: a replay is owed)--> open --(log: where it ends)--> SUBACK, and steps
 *     claim ----(the log says how far)-----> steps
 *     step ----(stored)--> the next one      ----(refused)--> the same one, later
 *
 * No more are under way than the client may hold: the rest is not even read. A connection that ends
 * leaves nothing undone that the next owner does not find in the log. A step whose outcome is not
 * known is sent again, and is not stored twice.
 *
 * MQTT 5.0 sections 3.3.1.3, 3.8.3.1; docs/decisions/0040-retained-messages-of-sessions.md.
 */

import { setImmediate as turn } from 'node:timers/promises';
import { marked } from '../../broker/copy-mark.ts';
import { remainingExpiry } from '../../broker/message.ts';
import type {
  Acknowledgeable,
  Broker,
  EnqueueRefusal,
  EnqueueWaiter,
  RetainedLog,
  RetainedSelection,
  SelectedRetained,
  SessionReplay,
  StoredReplay,
} from '../../broker/ports.ts';
import type { Ownership } from './session.ts';

/** Steps of a look for the next message: about a millisecond. */
const STEPS = 64;
/** The same of a look whether there is any; who finds out later pays a command for it. */
const GLANCE = 4;
/** Filters of one SUBSCRIBE that are looked at so: all together about a millisecond. */
const GLANCES_A_TURN = 50;
/** Something newer of a topic is under way, or the shard is behind. */
const AGAIN_MS = 50;
/** A step was refused: at first, and at most. */
const REFUSED_MS = 100;
const REFUSED_MAX_MS = 5_000;
/** What was stored and has not come by then has gone another way: it expired, or was purged. */
const COMING_MS = 5_000;
/** Settlements of what the client holds no more may come to the log behind the step. */
const ROOM = 2;
/** Runs of one owner. */
const RUNS = 2 ** 24;

export interface RetainedFeedParts {
  readonly broker: Pick<Broker, 'sessions' | 'clock' | 'writable'>;
  readonly log: RetainedLog;
  readonly owned: Ownership;
  /** What this client may hold unacknowledged at once. */
  readonly maxInflight: number;
  /** How many it holds now. */
  readonly held: () => number;
  /** The store refuses what the session needs of it. */
  readonly refused: (error: unknown) => void;
  readonly tooLarge: (topic: string) => void;
}

interface Owed {
  readonly filter: string;
  readonly run: number;
  readonly end: number;
  /** The log has everything below. */
  next: number;
  /** One below is too large, and left out. */
  skip: number;
}

interface Step {
  readonly owed: Owed;
  readonly found: SelectedRetained;
}

export class RetainedFeed implements EnqueueWaiter {
  readonly #parts: RetainedFeedParts;
  #owed: Owed[] = [];
  /** Of the first that is owed. */
  #selection: RetainedSelection | undefined;
  /** Where the step behind those that are under way begins. */
  #place = 0;
  /** Steps without an outcome, in order. */
  #steps: Step[] = [];
  /** Stored and not delivered yet. */
  #coming = 0;
  /** How many steps may be under way: one after a refusal, and one more after each success. */
  #window = 1;
  #wait: number = REFUSED_MS;
  /** One of those under way was refused, and so are the others: none goes until all are. */
  #hasFailed = false;
  #timer: NodeJS.Timeout | undefined;
  #comingTimer: NodeJS.Timeout | undefined;
  #isFinishing = false;
  #runs = 0;
  #isClosed = false;

  constructor(parts: RetainedFeedParts) {
    this.#parts = parts;
  }

  /** Something is owed, or on its way. */
  get isOn(): boolean {
    return this.#owed.length > 0 || this.#coming !== 0;
  }

  /** What the log is to have of a SUBSCRIBE that wants them. */
  begun(): StoredReplay {
    this.#runs = (this.#runs + 1) % RUNS;
    return { run: this.#parts.owned.handle.ownerEpoch * RUNS + this.#runs, next: 0, end: 0 };
  }

  /** The log has these subscriptions; resolves when it knows where their replays end. */
  async open(begun: readonly SessionReplay[]): Promise<void> {
    const { broker, log, owned } = this.#parts;
    const upTo = await log.end();
    const replays: SessionReplay[] = [];
    for (const [at, { filter, run }] of begun.entries()) {
      if (at > 0 && at % GLANCES_A_TURN === 0) await turn();
      const isEmpty = log.between(filter, 0, upTo).next(GLANCE) === 'done';
      replays.push({ filter, run, next: 0, end: isEmpty ? 0 : upTo });
    }
    await broker.sessions.moveReplays(owned.handle, replays);
    for (const { filter, run, end } of replays) {
      this.drop(filter);
      if (end > 0) this.#owed.push({ filter, run, next: 0, end, skip: 0 });
    }
    this.#go();
  }

  /** What former owners did not come to. */
  resume(replays: readonly SessionReplay[]): void {
    const begun = replays.filter(({ end }) => end === 0);
    for (const { filter, run, next, end } of replays) {
      if (end > 0) this.#owed.push({ filter, run, next, end, skip: 0 });
    }
    if (begun.length > 0) this.open(begun).catch((error: unknown) => this.#refused(error));
    this.#go();
  }

  /** The subscription is gone, or another SUBSCRIBE begins anew. */
  drop(filter: string): void {
    if (this.#owed[0]?.filter === filter) this.#selection = undefined;
    this.#owed = this.#owed.filter((each) => each.filter !== filter);
  }

  /** One that was stored is delivered. */
  arrived(): void {
    this.#coming--;
  }

  /** The client holds less. */
  roomAgain(): void {
    if (this.#owed.length > 0) this.#go();
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#comingTimer);
  }

  #go(): void {
    if (this.#isClosed || this.#timer !== undefined) return;
    if (this.#isFinishing || this.#hasFailed) return;
    const { broker, log, maxInflight, held } = this.#parts;
    const owed = this.#owed[0];
    if (owed === undefined) return;
    if (!broker.writable) {
      this.#later(AGAIN_MS);
      return;
    }
    clearTimeout(this.#comingTimer);
    const underWay = this.#steps.length;
    const room = maxInflight - held() - this.#coming - underWay;
    if (room <= 0) {
      // They may never come.
      if (this.#coming > 0 && underWay === 0) this.#awaitComing();
      return;
    }
    if (this.#selection === undefined) {
      // Of those of another one, nothing is known until they are answered.
      if (underWay > 0) return;
      this.#selection = log.between(owed.filter, Math.max(owed.next, owed.skip), owed.end);
      this.#place = owed.next;
    }
    this.#send(owed, Math.min(room, this.#window - underWay));
  }

  #send(owed: Owed, count: number): void {
    for (let left = count; left > 0 && this.#place < owed.end; left--) {
      const found = this.#selection?.next(STEPS);
      if (found === undefined) return;
      if (found === 'done') {
        if (this.#steps.length === 0) void this.#finish(owed);
        return;
      }
      if (found === 'wait' || found === 'more') {
        this.#later(found === 'wait' ? AGAIN_MS : 0);
        return;
      }
      this.#step({ owed, found }, this.#place);
      this.#place = found.next;
    }
  }

  #step({ owed, found }: Step, from: number): void {
    const { broker, owned, maxInflight } = this.#parts;
    const { filter, run } = owed;
    const { offset, next, publication, origin } = found;
    const { message, publishedAtMs } = publication;
    const left = remainingExpiry(message, publishedAtMs, broker.clock.now());
    this.#steps.push({ owed, found });
    const replayed = {
      message: marked(message, { kind: 'retained', offset, filter }, left),
      origin,
      step: { run, from, at: offset, next, room: ROOM * maxInflight },
    };
    broker.sessions.replay(owned.handle, replayed, this);
  }

  enqueued(_at: number, outcome: Acknowledgeable | EnqueueRefusal): void {
    const step = this.#steps.shift();
    if (step === undefined || this.#isClosed) return;
    const { owed, found } = step;
    if (typeof outcome !== 'string') {
      owed.next = Math.max(owed.next, found.next);
      this.#coming++;
      this.#window = Math.min(this.#window + 1, this.#parts.maxInflight);
    } else if (outcome === 'stale-owner') {
      if (this.#owed[0] === owed) this.drop(owed.filter);
    } else {
      this.#hasFailed = true;
      if (outcome === 'too-large') this.#leaveOut(owed, found);
    }
    if (this.#steps.length === 0) this.#allAnswered();
    else this.#go();
  }

  #leaveOut(owed: Owed, { offset, publication }: SelectedRetained): void {
    owed.skip = Math.max(owed.skip, offset + 1);
    this.#wait = 0;
    this.#parts.tooLarge(publication.message.topic);
  }

  #allAnswered(): void {
    const [first] = this.#owed;
    if (first !== undefined && first.next >= first.end) {
      this.#owed.shift();
      this.#selection = undefined;
    }
    if (!this.#hasFailed) {
      this.#wait = REFUSED_MS;
      this.#go();
      return;
    }
    this.#hasFailed = false;
    this.#selection = undefined;
    this.#window = 1;
    this.#later(this.#wait);
    this.#wait = Math.min(REFUSED_MAX_MS, Math.max(REFUSED_MS, this.#wait * 2));
  }

  /** Nothing of it is left, which the log is to know. */
  async #finish({ filter, run, end }: Owed): Promise<void> {
    const { broker, owned } = this.#parts;
    this.#isFinishing = true;
    try {
      await broker.sessions.moveReplays(owned.handle, [{ filter, run, next: end, end }]);
    } catch (error) {
      this.#refused(error);
      return;
    }
    this.#isFinishing = false;
    if (this.#owed[0]?.run === run) {
      this.#owed.shift();
      this.#selection = undefined;
    }
    this.#go();
  }

  #refused(error: unknown): void {
    if (!this.#isClosed) this.#parts.refused(error);
  }

  #awaitComing(): void {
    this.#comingTimer = setTimeout(() => {
      this.#coming = 0;
      this.#go();
    }, COMING_MS).unref();
  }

  #later(ms: number): void {
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#go();
    }, ms).unref();
  }
}
