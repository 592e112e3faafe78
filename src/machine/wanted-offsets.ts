/**
 * Which messages of which queues are still needed, counted: the lowest of a queue, and whether one
 * is among them. In memory only; made anew from the records that say why.
 *
 * Per queue a count for each offset, and a heap of offsets whose top is put right when it is asked
 * for: what is no more needed stays in the heap until it comes to the top.
 */

interface Wanted {
  readonly counts: Map<number, number>;
  readonly heap: number[];
}

export class WantedOffsets {
  readonly #queues = new Map<number, Wanted>();

  add(queueId: number, offset: number): void {
    let wanted = this.#queues.get(queueId);
    if (wanted === undefined) {
      wanted = { counts: new Map(), heap: [] };
      this.#queues.set(queueId, wanted);
    }
    const count = wanted.counts.get(offset) ?? 0;
    wanted.counts.set(offset, count + 1);
    if (count === 0) push(wanted.heap, offset);
  }

  remove(queueId: number, offset: number): void {
    const wanted = this.#queues.get(queueId);
    const count = wanted?.counts.get(offset);
    if (wanted === undefined || count === undefined) return;
    if (count > 1) {
      wanted.counts.set(offset, count - 1);
      return;
    }
    wanted.counts.delete(offset);
    if (wanted.counts.size === 0) this.#queues.delete(queueId);
    // What was taken back and comes again lies in the heap twice; it must not grow by that.
    else if (wanted.heap.length > wanted.counts.size * 2 + 64) {
      wanted.heap.length = 0;
      for (const each of [...wanted.counts.keys()].sort((a, b) => a - b)) wanted.heap.push(each);
    }
  }

  has(queueId: number, offset: number): boolean {
    return this.#queues.get(queueId)?.counts.has(offset) === true;
  }

  /** Infinity when there is none. */
  lowest(queueId: number): number {
    const wanted = this.#queues.get(queueId);
    if (wanted === undefined) return Number.POSITIVE_INFINITY;
    const { counts, heap } = wanted;
    while (!counts.has(heap[0] as number)) pop(heap);
    return heap[0] as number;
  }

  /** Different offsets. */
  count(queueId: number): number {
    return this.#queues.get(queueId)?.counts.size ?? 0;
  }

  queues(): number[] {
    return [...this.#queues.keys()].sort((a, b) => a - b);
  }
}

function push(heap: number[], value: number): void {
  heap.push(value);
  let at = heap.length - 1;
  while (at > 0) {
    const parent = (at - 1) >>> 1;
    const above = heap[parent] as number;
    if (above <= value) break;
    heap[at] = above;
    at = parent;
  }
  heap[at] = value;
}

function pop(heap: number[]): void {
  const value = heap.pop() as number;
  const { length } = heap;
  if (length === 0) return;
  let at = 0;
  for (;;) {
    let child = at * 2 + 1;
    if (child >= length) break;
    if (child + 1 < length && (heap[child + 1] as number) < (heap[child] as number)) child += 1;
    const below = heap[child] as number;
    if (below >= value) break;
    heap[at] = below;
    at = child;
  }
  heap[at] = value;
}
