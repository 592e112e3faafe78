/**
 * A binary heap of what is to happen, by (time, sequence of scheduling). What was cancelled stays
 * in it until its time and is passed over then.
 */

export interface Timer {
  cancel(): void;
}

export interface Event {
  readonly timeUs: number;
  readonly run: () => void;
}

class Scheduled implements Event, Timer {
  readonly timeUs: number;
  readonly sequence: number;
  readonly run: () => void;
  cancelled = false;

  constructor(timeUs: number, sequence: number, run: () => void) {
    this.timeUs = timeUs;
    this.sequence = sequence;
    this.run = run;
  }

  cancel(): void {
    this.cancelled = true;
  }

  isBefore(other: Scheduled): boolean {
    return (
      this.timeUs < other.timeUs || (this.timeUs === other.timeUs && this.sequence < other.sequence)
    );
  }
}

export class EventHeap {
  readonly #items: Scheduled[] = [];
  #sequence = 0;

  add(timeUs: number, run: () => void): Timer {
    const item = new Scheduled(timeUs, (this.#sequence += 1), run);
    this.#items.push(item);
    this.#rise(this.#items.length - 1);
    return item;
  }

  /** Takes the first that is due by then. */
  next(untilUs: number): Event | undefined {
    for (;;) {
      const first = this.#items[0];
      if (first === undefined || first.timeUs > untilUs) return undefined;
      this.#removeFirst();
      if (!first.cancelled) return first;
    }
  }

  #removeFirst(): void {
    const last = this.#items.pop();
    if (last === undefined || this.#items.length === 0) return;
    this.#items[0] = last;
    this.#sink();
  }

  #rise(from: number): void {
    const items = this.#items;
    const item = items[from] as Scheduled;
    let at = from;
    while (at > 0) {
      const parentAt = (at - 1) >> 1;
      const parent = items[parentAt] as Scheduled;
      if (!item.isBefore(parent)) break;
      items[at] = parent;
      at = parentAt;
    }
    items[at] = item;
  }

  #sink(): void {
    const items = this.#items;
    const item = items[0] as Scheduled;
    let at = 0;
    for (;;) {
      let childAt = 2 * at + 1;
      const right = items[childAt + 1];
      if (right?.isBefore(items[childAt] as Scheduled) === true) childAt += 1;
      const child = items[childAt];
      if (child === undefined || !child.isBefore(item)) break;
      items[at] = child;
      at = childAt;
    }
    items[at] = item;
  }
}
