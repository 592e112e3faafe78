/**
 * Checkers that know one queue, asked about each queue of a run by itself: its own operations, and
 * what is of no queue (faults, phases, stalls). A sound run is sound in each of them.
 */

import type { Operation } from '../history/operation.ts';
import type { Asked, Checker, Verdict } from './verdict.ts';

export class HistoryByQueue {
  readonly #all: readonly Operation[];
  readonly #queues = new Map<string, Operation[]>();
  /** Queues that get dead letters, with the rejections that send them. */
  readonly #dead = new Map<string, Operation[]>();

  constructor(history: readonly Operation[]) {
    this.#all = history;
    for (const operation of history) {
      if (operation.f === 'reject') {
        const known = this.#dead.get(operation.dead);
        if (known === undefined) this.#dead.set(operation.dead, [operation]);
        else known.push(operation);
      }
      if ('queue' in operation && !this.#queues.has(operation.queue)) {
        this.#queues.set(operation.queue, []);
      }
    }
    for (const operation of history) {
      if ('queue' in operation) this.#queues.get(operation.queue)?.push(operation);
      else for (const queue of this.#queues.values()) queue.push(operation);
    }
  }

  /** Those that publishers send to; one history at least, so that an empty run is judged too. */
  get sentTo(): ReadonlyMap<string, readonly Operation[]> {
    const sent = [...this.#queues].filter(([, operations]) => {
      return operations.some(({ f }) => f === 'enqueue');
    });
    return new Map(sent.length === 0 ? [['', this.#all]] : sent);
  }

  get all(): ReadonlyMap<string, readonly Operation[]> {
    return this.#queues.size === 0 ? new Map([['', this.#all]]) : this.#queues;
  }

  /** Queues of dead letters, with the rejections that send them. */
  get dead(): Iterable<readonly [queue: string, own: readonly Operation[], rejects: Operation[]]> {
    return [...this.#dead].map(([name, rejects]) => {
      return [name, this.#queues.get(name) ?? [], rejects] as const;
    });
  }
}

/** One verdict of the checker about all of these. */
export function checkEach(
  histories: ReadonlyMap<string, readonly Operation[]>,
  checker: Checker,
  asked: Asked,
): Verdict {
  const verdicts = [...histories].map(([queue, history]) => {
    return [queue, checker(history, asked)] as const;
  });
  return joined(verdicts);
}

/** Figures are added; anomalies say of which one they are, where there are several. */
export function joined(verdicts: readonly (readonly [name: string, Verdict])[]): Verdict {
  const [first] = verdicts;
  if (first === undefined) throw new Error('there is nothing to judge');
  if (verdicts.length === 1) return first[1];
  const figures: Record<string, number> = {};
  for (const [, verdict] of verdicts) {
    for (const [name, value] of Object.entries(verdict.figures)) {
      figures[name] = (figures[name] ?? 0) + value;
    }
  }
  const anomalies = verdicts.flatMap(([name, verdict]) => {
    return verdict.anomalies.map(({ time, text }) => ({ time, text: `${name}: ${text}` }));
  });
  return {
    checker: first[1].checker,
    valid: verdicts.every(([, { valid }]) => valid),
    figures,
    anomalies: anomalies.toSorted((a, b) => a.time - b.time),
    anomalyCount: verdicts.reduce((sum, [, { anomalyCount }]) => sum + anomalyCount, 0),
  };
}
