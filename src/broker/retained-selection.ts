/**
 * The retained messages of one filter in the order of their offsets, a bounded number of steps a
 * call, and never more of them known than the offsets of one batch.
 *
 * The tree of topics is walked for the lowest offsets, once for each batch; what became of them is
 * looked at when they are asked for. Where this node has something newer of the topic under way,
 * nothing is said until its outcome is known: an older message must not follow a newer one, and
 * must not be missed if that one is refused.
 */

import type { RetainedLog, RetainedSelection, SelectedRetained } from './retained-log.ts';
import type { Retained } from './retained.ts';
import type { RetainedQueue } from './retained-queue.ts';

/** Offsets that are kept of a walk. */
const BATCH = 1_024;
/** So many nodes of the tree are one step. */
const WALK = 64;

export interface SelectionRange {
  readonly filter: string;
  readonly from: number;
  readonly to: number;
}

class QueueSelection implements RetainedSelection {
  readonly #queue: RetainedQueue;
  readonly #shown: Retained;
  readonly #filter: string;
  readonly #to: number;
  #from: number;
  #cursor: ReturnType<Retained['cursor']> | undefined;
  /** Messages that came back while the tree was walked may have been passed over. */
  #restored = 0;
  /** Ascending once the walk is over. */
  #found: number[] = [];
  #at = 0;
  /** There are more above the last of `#found`. */
  #isCut = true;
  /** So many are known below it that those from here on are for another walk. */
  #limit = 0;

  constructor(queue: RetainedQueue, shown: Retained, { filter, from, to }: SelectionRange) {
    this.#queue = queue;
    this.#shown = shown;
    this.#filter = filter;
    this.#from = from;
    this.#to = to;
  }

  next(maxSteps: number): ReturnType<RetainedSelection['next']> {
    if (this.#queue.next < this.#to) return 'wait';
    for (let step = 0; step < maxSteps; step++) {
      const offset = this.#found[this.#at];
      if (this.#cursor !== undefined || offset === undefined) {
        if (this.#cursor === undefined && !this.#isCut) return 'done';
        this.#walk();
        continue;
      }
      const found = this.#look(offset);
      if (found === 'wait') return found;
      this.#at++;
      if (found !== undefined) return { ...found, next: this.#behind(offset) };
    }
    return 'more';
  }

  #look(offset: number): Omit<SelectedRetained, 'next'> | 'wait' | undefined {
    const kept = this.#queue.at(offset);
    if (kept?.origin === undefined) return undefined;
    if (this.#shown.isExpired(kept) || !this.#shown.isAllowed(kept)) return undefined;
    if (this.#queue.isUnderWay(kept.message.topic)) return 'wait';
    return { offset, publication: kept, origin: kept.origin };
  }

  #behind(offset: number): number {
    return this.#found[this.#at] ?? (this.#isCut ? offset + 1 : this.#to);
  }

  /** One step of the walk. */
  #walk(): void {
    if (this.#cursor === undefined) this.#begin();
    for (let left = WALK; left > 0; left--) {
      const found = this.#cursor?.advance(1);
      if (found === 'done') {
        this.#walked();
        return;
      }
      if (found === undefined || found === 'more') continue;
      const { offset, message } = found;
      this.#add(offset >= 0 ? offset : this.#queue.beneath(message.topic));
    }
  }

  #walked(): void {
    for (const { offset, message } of this.#queue.hidden()) {
      if (matches(this.#filter, message.topic)) this.#add(offset);
    }
    this.#cursor = undefined;
    if (this.#restored !== this.#queue.restored) this.#begin();
    else this.#trim();
  }

  #begin(): void {
    const last = this.#found.at(-1);
    if (this.#at > 0 && last !== undefined) this.#from = last + 1;
    this.#found = [];
    this.#at = 0;
    this.#isCut = false;
    this.#limit = this.#to;
    this.#restored = this.#queue.restored;
    this.#cursor = this.#shown.cursor(this.#filter);
  }

  #add(offset: number | undefined): void {
    if (offset === undefined || offset < this.#from || offset >= this.#to) return;
    if (offset >= this.#limit) {
      this.#isCut = true;
      return;
    }
    this.#found.push(offset);
    if (this.#found.length >= 2 * BATCH) this.#trim();
  }

  #trim(): void {
    this.#found.sort((a, b) => a - b);
    if (this.#found.length <= BATCH) return;
    this.#limit = this.#found[BATCH] ?? this.#to;
    this.#found.length = BATCH;
    this.#isCut = true;
  }
}

export function selectionIn(queue: RetainedQueue, shown: Retained): RetainedLog['between'] {
  return (filter, from, to) => new QueueSelection(queue, shown, { filter, from, to });
}

/** MQTT 5.0 section 4.7. */
function matches(filter: string, topic: string): boolean {
  const names = topic.split('/');
  const levels = filter.split('/');
  if (topic.startsWith('$') && (levels[0] === '#' || levels[0] === '+')) return false;
  for (const [at, level] of levels.entries()) {
    if (level === '#') return true;
    if (at >= names.length || (level !== '+' && level !== names[at])) return false;
  }
  return levels.length === names.length;
}
