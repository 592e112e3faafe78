/**
 * What is retained, as it is committed in the queue of retained messages, and on top of it what
 * this node has published and not seen there yet.
 *
 * ```
 *   publish ---> shown at once ---(its number is committed, and this node has read so far)---+
 *                     |                                                                      |
 *                     +---(refused)---> shown is what is committed <-------------------------+
 * ```
 *
 * So a SUBSCRIBE on this node never sees less than the live subscribers of before it saw, and a
 * publish that was not stored leaves nothing. For each topic the message with the highest offset
 * counts. What it took the place of, what was removed and what has expired is `garbage`: offsets
 * that nobody needs any more. Once an offset is garbage it always is; and those of one topic become
 * so in their order, which who settles them must keep, or an old message would come back.
 *
 * Bounds are kept for what is published here, before anything is done; what other nodes had under
 * way meanwhile comes on top. All in memory, made anew from the queue at each start.
 */

import type { Clock } from './ports.ts';
import type { LivePublication } from './publication.ts';
import { KeptPublication, type Retained } from './retained.ts';
import type { RetainedPart, StoredRetained } from './retained-source.ts';

/** A topic that this node has published to, and has not read back. */
interface Pending {
  /** As it is in the queue, as far as it was read. */
  committed: KeptPublication | undefined;
  unanswered: number;
  /** Stream numbers up to this one are to be read before `committed` counts again. */
  upTo: number;
}

/** Waits until all that was published before it is read. */
interface Reader {
  readonly published: number;
  /** The highest number of those; undefined while one of them is not answered. */
  upTo: number | undefined;
  readonly done: () => void;
}

export class RetainedQueue {
  readonly #shown: Retained;
  readonly #clock: Clock;
  /** What is committed, by its offset, ascending. */
  readonly #byOffset = new Map<number, KeptPublication>();
  readonly #pending = new Map<string, Pending>();
  /** Topics whose publishes are answered and not read yet, in the order of their numbers. */
  #answered: { readonly topic: string; readonly upTo: number }[] = [];
  #garbage: number[] = [];
  #ownUpTo = 0;
  #next = 0;
  #restored = 0;
  /** Publishes so far, how many of them are answered, and the highest number told of them. */
  #published = 0;
  #answers = 0;
  #lastNumber = 0;
  #readers: Reader[] = [];

  constructor(shown: Retained, clock: Clock) {
    this.#shown = shown;
    this.#clock = clock;
  }

  /** Everything below this offset was read. */
  get next(): number {
    return this.#next;
  }

  /** Goes up when a message is shown again, as what was to take its place was refused. */
  get restored(): number {
    return this.#restored;
  }

  /** Topics of which more is under way than was read. */
  get pending(): number {
    return this.#pending.size;
  }

  /** Takes what became garbage since the last call, in the order in which it became so. */
  takeGarbage(): number[] {
    const garbage = this.#garbage;
    this.#garbage = [];
    return garbage;
  }

  get garbageCount(): number {
    return this.#garbage.length;
  }

  /** Shown at once; `answered` is to be called once. False: above a limit, nothing is changed. */
  publish(publication: LivePublication): boolean {
    const { topic } = publication.message;
    const pending = this.#pending.get(topic);
    const before = pending === undefined ? this.#shown.peek(topic) : undefined;
    if (!this.#shown.set(publication)) return false;
    this.#published++;
    if (pending === undefined) {
      this.#pending.set(topic, { committed: before, unanswered: 1, upTo: 0 });
    } else pending.unanswered++;
    return true;
  }

  /** What became of a publish: its number in the stream of this node; undefined: not stored. */
  answered(topic: string, number: number | undefined): void {
    this.#answers++;
    this.#lastNumber = Math.max(this.#lastNumber, number ?? 0);
    this.#answer(topic, number);
    if (this.#readers.length > 0) this.#tellReaders();
  }

  /**
   * Resolves when all that was published here before is read, or was refused; when `given` says so
   * nobody waits for that any more, and it may not resolve.
   */
  whenRead(given: AbortSignal): Promise<void> {
    return new Promise((done) => {
      const reader = { published: this.#published, upTo: undefined, done };
      this.#readers.push(reader);
      given.addEventListener('abort', () => {
        this.#readers = this.#readers.filter((each) => each !== reader);
      });
      this.#tellReaders();
    });
  }

  /** The outcomes come in the order of the publishes. */
  #tellReaders(): void {
    this.#readers = this.#readers.filter((reader) => {
      if (this.#answers >= reader.published) reader.upTo ??= this.#lastNumber;
      if (reader.upTo === undefined || reader.upTo > this.#ownUpTo) return true;
      reader.done();
      return false;
    });
  }

  #answer(topic: string, number: number | undefined): void {
    const pending = this.#pending.get(topic);
    if (pending === undefined) return;
    pending.unanswered--;
    if (number !== undefined) pending.upTo = Math.max(pending.upTo, number);
    if (pending.unanswered > 0) return;
    if (pending.upTo <= this.#ownUpTo) this.#show(topic, pending);
    else this.#answered.push({ topic, upTo: pending.upTo });
  }

  /** The next part; false: it is not the next one, and nothing was done. */
  take(part: RetainedPart): boolean {
    if (part.from !== this.#next) return false;
    for (const stored of part.messages) this.#takeOne(stored);
    this.#next = part.next;
    this.#ownUpTo = Math.max(this.#ownUpTo, part.ownUpTo);
    let read = 0;
    for (const { topic, upTo } of this.#answered) {
      if (upTo > this.#ownUpTo) break;
      read++;
      const pending = this.#pending.get(topic);
      // Published to again meanwhile, it comes again.
      if (pending?.unanswered === 0 && pending.upTo <= this.#ownUpTo) this.#show(topic, pending);
    }
    this.#answered.splice(0, read);
    if (this.#readers.length > 0) this.#tellReaders();
    return true;
  }

  /** Removes what has expired; looks at up to `maxSteps`. */
  sweep(maxSteps: number): void {
    this.#shown.sweep(maxSteps, (topic, expired) => {
      if (expired.offset >= 0) this.#drop(expired);
      const pending = this.#pending.get(topic);
      if (pending?.committed !== undefined && this.#shown.isExpired(pending.committed)) {
        this.#drop(pending.committed);
        pending.committed = undefined;
      }
    });
  }

  /** What is committed, ascending; what comes and goes meanwhile is seen or not. */
  offsets(): Iterator<number> {
    return this.#byOffset.keys();
  }

  /** Undefined: it is not kept. */
  at(offset: number): KeptPublication | undefined {
    return this.#byOffset.get(offset);
  }

  /** This node has published to the topic, and has not read that back. */
  isUnderWay(topic: string): boolean {
    return this.#pending.has(topic);
  }

  /** What is committed of a topic that shows something newer. */
  beneath(topic: string): number | undefined {
    return this.#pending.get(topic)?.committed?.offset;
  }

  /** What is committed of topics that show nothing, as its removal is under way. */
  *hidden(): Generator<KeptPublication, undefined> {
    for (const [topic, { committed }] of this.#pending) {
      if (committed !== undefined && this.#shown.peek(topic) === undefined) yield committed;
    }
    return undefined;
  }

  has(offset: number): boolean {
    return this.#byOffset.has(offset);
  }

  /** It was read and is not kept any more: something newer that this node did not see ended it. */
  lose(offset: number): void {
    const lost = this.#byOffset.get(offset);
    if (lost === undefined) return;
    this.#byOffset.delete(offset);
    const { topic } = lost.message;
    const pending = this.#pending.get(topic);
    if (pending !== undefined) pending.committed = undefined;
    else this.#shown.put(topic, undefined);
  }

  #takeOne({ offset, message, origin, ageMs }: StoredRetained): void {
    const { topic, payload } = message;
    const pending = this.#pending.get(topic);
    const before = pending === undefined ? this.#shown.peek(topic) : pending.committed;
    if (before !== undefined) this.#drop(before);
    let now: KeptPublication | undefined;
    if (payload.length === 0) this.#garbage.push(offset);
    else {
      now = new KeptPublication(message, this.#clock.now() - ageMs, { origin, owned: true });
      now.offset = offset;
      this.#byOffset.set(offset, now);
    }
    if (pending === undefined) this.#shown.put(topic, now);
    else pending.committed = now;
  }

  /** Something newer of its topic is committed, or its time is over. */
  #drop({ offset }: KeptPublication): void {
    if (!this.#byOffset.delete(offset)) return;
    this.#garbage.push(offset);
  }

  #show(topic: string, { committed }: Pending): void {
    this.#pending.delete(topic);
    if (committed !== undefined) this.#restored++;
    this.#shown.put(topic, committed);
  }
}
